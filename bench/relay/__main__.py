"""`python -m bench.relay`: the relay beside Envoy and LiteLLM, one core each, in one run.

Every stack serves the same provider. Rounds interleave the stacks, so that a slow minute of the machine hits all of them;
figures are medians over rounds, and the claims are ratios. Envoy is there twice: as a bare reverse proxy, and (`Envoy+`) with
those of the relay's duties that it has. The relay is there twice as well: `relay+` records every attempt and delivers it to a
ledger. `--ledger` measures these two and Envoy alone, `--outbox` the processor time of an attempt's records, `--tools` that
of a tool manifest. The last line is for machines.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.relay import load, places, stacks, tools
from bench.relay.load import Measured, Shape
from bench.relay.stacks import Stack

ROUNDS: Final = 4
UNARY: Final = Shape("unary 1 KB, 32 connections", 32, 850, 4)
TRACED: Final = Shape("unary 1 KB, each head unlike", 32, 850, 4, traced=True)
BODY_100K: Final = Shape("unary 100 KB, 16 connections", 16, 100_000, 3)
CHAT_100K: Final = Shape("real chat 100 KB, 16 connections", 16, 100_000, 3, chat=True)
STREAM_32: Final = Shape("SSE, 32 streams", 32, 400, 4, stream=True)
STREAM_256: Final = Shape("SSE, 256 streams", 256, 400, 4, stream=True)
ALONE: Final = Shape("unary 1 KB, 1 connection", 1, 850, 3)
RECORDED: Final = Shape("unary 1 KB, ledger off and on", 32, 850, 4)
RECORDED_STREAM: Final = Shape("SSE, 32, ledger off and on", 32, 400, 4, stream=True)
LITELLM_UNARY: Final = Shape(UNARY.name, 8, 850, 5)
"""Eight connections: LiteLLM answers a hundred calls a second, and more connections would only queue."""

Table = dict[tuple[str, str], list[Measured]]


def main() -> int:
    """Measures all stacks; returns 0 if every one was measured."""
    began = time.monotonic()
    rivals, relay_site, provider_binary = tools.install()
    table: Table = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-relay.") as name, ExitStack() as running:
        work = Path(name)
        provider = running.enter_context(stacks.provider(provider_binary))
        relay = running.enter_context(stacks.relay(relay_site, work))
        recording = running.enter_context(stacks.recording_relay(relay_site, work))
        envoy = running.enter_context(stacks.envoy(rivals, work))
        duties = running.enter_context(stacks.envoy_with_duties(rivals, work))
        litellm = running.enter_context(stacks.litellm(rivals, work))
        others = (envoy, duties)
        for number in range(1, ROUNDS + 1):
            _round(table, provider=provider, relay=relay, others=others, litellm=litellm)
            _round_of_records(table, relay=relay, recording=recording)
            _say(f"round {number} of {ROUNDS} after {time.monotonic() - began:.0f} s")
        measured = (relay, recording, envoy, duties, litellm)
        memory = {stack.name: stack.memory_mib() for stack in measured}
    _report(table, memory)
    _say(_summary(table, memory))
    return 0


def records_alone() -> int:
    """Measures what a ledger costs the relay, with Envoy beside them; returns 0 if all were measured."""
    rivals, relay_site, provider_binary = tools.install()
    table: Table = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-relay.") as name, ExitStack() as running:
        work = Path(name)
        running.enter_context(stacks.provider(provider_binary))
        relay = running.enter_context(stacks.relay(relay_site, work))
        recording = running.enter_context(stacks.recording_relay(relay_site, work))
        envoy = running.enter_context(stacks.envoy(rivals, work))
        for _ in range(ROUNDS):
            _measure(table, envoy, RECORDED)
            _round_of_records(table, relay=relay, recording=recording)
        memory = {stack.name: stack.memory_mib() for stack in (relay, recording)}
    _report(table, memory)
    off = _ratio(table, RECORDED, "Envoy", "rate")
    on = _of_recording(table, RECORDED, "rate")
    _say(
        f"ledger: unary_vs_envoy={off:.2f} unary_ledger_on_vs_off={on:.3f}"
        f" unary_load_cpu_on_vs_off={_of_recording(table, RECORDED, 'load_cpu_us'):.3f}"
        f" unary_cpu_on_vs_off={_of_recording(table, RECORDED, 'cpu_us'):.3f}"
        f" sse_cpu_ledger_on_vs_off={_of_recording(table, RECORDED_STREAM, 'cpu_us'):.3f}"
        f" rss_mib_on={memory['relay+']:.0f} rss_mib_off={memory['relay']:.0f}"
    )
    return 0


def outbox_alone() -> int:
    """Measures the processor time that an attempt's records take, which says something on a busy machine too."""
    _, relay_site, _ = tools.install()
    program = places.HERE / "outbox_cost.py"
    environment = {**os.environ, "PYTHONPATH": str(relay_site)}
    return subprocess.run([places.PYTHON, program], env=environment, check=False).returncode


def manifest_alone() -> int:
    """Measures the processor time that a tool manifest takes of chat calls, as a ratio."""
    _, relay_site, _ = tools.install()
    program = places.HERE / "tools_cost.py"
    paths = os.pathsep.join((str(relay_site), str(places.REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run([places.PYTHON, program], env=environment, check=False).returncode


def _round(
    table: Table, *, provider: Stack, relay: Stack, others: tuple[Stack, ...], litellm: Stack
) -> None:
    """Runs each shape on each stack, one after another: only one is under load at a time."""
    _measure(table, provider, ALONE)
    for shape in (UNARY, TRACED, ALONE, BODY_100K, CHAT_100K, STREAM_32, STREAM_256):
        for stack in (relay, *others):
            _measure(table, stack, shape)
    _measure(table, litellm, LITELLM_UNARY)


def _round_of_records(table: Table, *, relay: Stack, recording: Stack) -> None:
    """Runs the relay without and with a ledger, next to each other in time, in turns."""
    for shape in (RECORDED, RECORDED_STREAM):
        for stack in (relay, recording):
            _measure(table, stack, shape)


def _measure(table: Table, stack: Stack, shape: Shape) -> None:
    table[stack.name, shape.name].append(load.run(stack, shape))


def _ratio(table: Table, shape: Shape, rival: str, figure: str) -> float:
    """Returns the median over rounds of the relay's figure divided by the other stack's."""
    pairs = zip(table["relay", shape.name], table[rival, shape.name], strict=True)
    return statistics.median(
        float(getattr(ours, figure)) / float(getattr(theirs, figure)) for ours, theirs in pairs
    )


def _of_recording(table: Table, shape: Shape, figure: str) -> float:
    """Returns the median over rounds of the figure with a ledger divided by that without."""
    pairs = zip(table["relay+", shape.name], table["relay", shape.name], strict=True)
    return statistics.median(
        float(getattr(on, figure)) / float(getattr(off, figure)) for on, off in pairs
    )


def _added(table: Table, figure: str) -> float:
    """Returns the time the relay adds to a call that runs alone: the median over rounds; below 0 counts as 0."""
    pairs = zip(table["relay", ALONE.name], table["provider", ALONE.name], strict=True)
    differences = [float(getattr(a, figure)) - float(getattr(b, figure)) for a, b in pairs]
    return max(0.0, statistics.median(differences))


def _report(table: Table, memory: dict[str, float]) -> None:
    _say(f"{'stack':10}{'load':32}{'calls/s':>10}{'p50 us':>10}{'p99 us':>10}{'CPU us':>10}")
    for stack, shape in sorted(table, key=lambda key: (key[1], key[0])):
        runs = table[stack, shape]
        figures = [
            statistics.median(getattr(run, name) for run in runs)
            for name in ("rate", "p50_us", "p99_us", "cpu_us")
        ]
        _say(f"{stack:10}{shape:32}" + "".join(f"{figure:10.0f}" for figure in figures))
    for name, mib in memory.items():
        _say(f"{name:10}memory after the run, shared pages once: {mib:.0f} MiB")


def _summary(table: Table, memory: dict[str, float]) -> str:
    stream_cpu = min(
        1 / _ratio(table, shape, "Envoy", "cpu_us") for shape in (STREAM_32, STREAM_256)
    )
    added = {figure: _added(table, figure) for figure in ("p50_us", "p99_us")}
    return (
        f"relay: unary_vs_envoy={_ratio(table, UNARY, 'Envoy', 'rate'):.2f} "
        f"unary_vs_envoy_with_duties={_ratio(table, UNARY, 'Envoy+', 'rate'):.2f} "
        f"unary_traced_vs_envoy={_ratio(table, TRACED, 'Envoy', 'rate'):.2f} "
        f"unary_vs_litellm={_ratio(table, UNARY, 'LiteLLM', 'rate'):.0f} "
        f"body100k_vs_envoy={_ratio(table, BODY_100K, 'Envoy', 'rate'):.2f} "
        f"chat100k_vs_envoy={_ratio(table, CHAT_100K, 'Envoy', 'rate'):.2f} "
        f"sse_cpu_vs_envoy={stream_cpu:.2f} "
        f"unary_ledger_on_vs_off={_of_recording(table, RECORDED, 'rate'):.3f} "
        f"sse_cpu_ledger_on_vs_off={_of_recording(table, RECORDED_STREAM, 'cpu_us'):.3f} "
        f"added_p50_us={added['p50_us']:.0f} added_p99_us={added['p99_us']:.0f} "
        f"rss_mib={memory['relay']:.0f}"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if "--outbox" in sys.argv[1:]:
        sys.exit(outbox_alone())
    if "--tools" in sys.argv[1:]:
        sys.exit(manifest_alone())
    sys.exit(records_alone() if "--ledger" in sys.argv[1:] else main())
