"""Runs wrk against one stack and measures the stack's cost."""

import os
import subprocess
from dataclasses import dataclass

from bench.relay import places
from bench.relay.chat_body import chat_body
from bench.relay.stacks import Stack

CHAT_BODIES = 16
"""Each is another conversation."""


class LoadFailed(Exception):
    """wrk did not run, or calls failed, so there are no valid figures."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of load. duration in whole seconds. traced: each call's head differs from the one before.

    chat: bodies of real chats in place of one repeated sentence; body_bytes then only describes them.
    """

    name: str
    connections: int
    body_bytes: int
    duration: int
    stream: bool = False
    traced: bool = False
    chat: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """A run's result: answered calls, seconds, latency quantiles in microseconds, CPU of the stack per call: with what it does later, and
    while the calls run."""

    calls: int
    seconds: float
    p50_us: float
    p99_us: float
    cpu_us: float
    load_cpu_us: float

    @property
    def rate(self) -> float:
        """Returns calls per second."""
        return self.calls / self.seconds


def run(stack: Stack, shape: Shape) -> Measured:
    """Runs the shape's load on this stack, after a short warm-up; what it does for these calls later is part of their cost."""
    _wrk(stack, shape, seconds=1)
    stack.settle()
    before = stack.cpu_seconds()
    calls, seconds, p50, p99 = _wrk(stack, shape, seconds=shape.duration)
    meanwhile = stack.cpu_seconds()
    stack.settle()
    cpu, load_cpu = ((end - before) / calls * 1e6 for end in (stack.cpu_seconds(), meanwhile))
    return Measured(calls, seconds, p50, p99, cpu, load_cpu)


def _chat_bodies() -> str:
    """Returns the name of a file with different chat bodies, one a line; made once."""
    file = places.CACHE / "chat-bodies.jsonl"
    bodies = [chat_body(places.MODEL, seed=seed) for seed in range(CHAT_BODIES)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\n".join(bodies) + b"\n")
    return str(file)


def _wrk(stack: Stack, shape: Shape, *, seconds: int) -> tuple[int, float, float, float]:
    command = ["wrk", "--threads", "1", "--connections", str(shape.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s"]
    command += ["--script", str(places.HERE / "call.lua")]
    bodies = _chat_bodies() if shape.chat else ""
    command.append(f"http://127.0.0.1:{stack.port}{places.PATH}")
    environment = {
        **os.environ,
        "BENCH_BODIES": bodies,
        "BENCH_BODY_BYTES": str(shape.body_bytes),
        "BENCH_STREAM": "1" if shape.stream else "0",
        "BENCH_TRACED": "1" if shape.traced else "0",
        "BENCH_MODEL": places.MODEL,
        "BENCH_KEY": places.API_KEY,
    }
    done = subprocess.run(
        places.pinned(places.LOAD_CPU, command),
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    results = [line.split() for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        raise LoadFailed(f"wrk on {stack.name}: {(done.stdout + done.stderr)[-500:]}")
    calls, micros, p50, p99, failed = (float(field) for field in results[0][1:])
    if failed or not calls:
        raise LoadFailed(f"{failed:g} of {calls:g} calls to {stack.name} failed ({shape.name})")
    return int(calls), micros / 1e6, p50, p99
