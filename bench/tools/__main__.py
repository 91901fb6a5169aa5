"""`python -m bench.tools`: what tools cost with the relay, and whether the time tells what is denied.

Calls of a tool are made of the relay, of a direct connection and of LiteLLM's gateway; chat calls of a relay whose tenant has a manifest of 20 tools, and of one
without a manifest; and requests for what is denied beside those for what nobody has, by every method that names something.

Each round calls all three one after the other, so that a ratio is of the same minutes. The gateway has a core of its own; the tool server
and wrk share the other one. The relay does all that it does for a tenant: it checks the key, the headers and the grant, reads question and
answer, and writes a line of who called what. TOOLS_ROUNDS, TOOLS_SECONDS and TOOLS_PAIRS make it longer or shorter; TOOLS_PARTS chooses
among gateways, chat and timing.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.relay import places, stacks
from bench.relay.tools import install
from bench.relay.tools_cost import BODY, TOOLS
from bench.tools import targets, timing
from bench.tools.targets import Target

ROUNDS: Final = int(os.environ.get("TOOLS_ROUNDS", "5"))
SECONDS: Final = int(os.environ.get("TOOLS_SECONDS", "5"))
PARTS: Final = os.environ.get("TOOLS_PARTS", "gateways,chat,timing").split(",")
CONNECTIONS: Final = (1, 16)
"""One shows the latency, many the calls a second."""
CHAT_BODIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "without tools": BODY,
    "offering 20 tools": {**BODY, "tools": TOOLS},
}


@dataclass(frozen=True, slots=True)
class Measured:
    """Holds the calls a second and the latencies, in microseconds, of one target in one run."""

    per_second: float
    p50_us: float
    p99_us: float


def main() -> int:
    """Prints a line a round, and one for each thing that is compared."""
    rivals, site, provider = install()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        if "gateways" in PARTS:
            with (
                targets.direct(work) as direct,
                targets.relay(site, work, direct) as relay,
                targets.litellm(rivals, work, direct) as litellm,
            ):
                for connections in CONNECTIONS:
                    _compare((direct, relay, litellm), connections)
        if "chat" in PARTS:
            with stacks.provider(provider):
                for kind, body in CHAT_BODIES.items():
                    _compare_chat(site, work / kind.replace(" ", "-"), kind, body)
        if "timing" in PARTS:
            with targets.direct(work) as direct:
                timing.compare(site, work / "timing", direct, _say)
    return 0


def _compare_chat(site: Path, work: Path, kind: str, body: Mapping[str, Any]) -> None:
    work.mkdir()
    with (
        targets.chat_relay(site, work, body, granted=False) as free,
        targets.chat_relay(site, work, body, granted=True) as held,
    ):
        _say(f"chat calls, {kind}, {len(free.body):,} bytes:")
        _compare((free, held), CONNECTIONS[-1])


def _compare(stacks: tuple[Target, ...], connections: int) -> None:
    rounds: list[dict[str, Measured]] = []
    for number in range(ROUNDS):
        # none has the best place in every round
        turned = stacks[number % len(stacks) :] + stacks[: number % len(stacks)]
        rounds.append({one.name: _measure(one, connections) for one in turned})
        _say(f"{connections} connections, round {number + 1}: {_told(rounds[-1])}")
    direct = stacks[0].name
    for stack in stacks[1:]:
        rate = statistics.median(
            one[stack.name].per_second / one[direct].per_second for one in rounds
        )
        added = statistics.median(one[stack.name].p50_us - one[direct].p50_us for one in rounds)
        tail = statistics.median(one[stack.name].p99_us - one[direct].p99_us for one in rounds)
        _say(
            f"{connections} connections: {stack.name} has {rate:.3f} x the calls a second of {direct},"
            f" adds {added:,.0f} us at the median and {tail:,.0f} us at p99 (medians of {ROUNDS} rounds)"
        )


def _told(round_: dict[str, Measured]) -> str:
    return "; ".join(
        f"{name} {one.per_second:,.0f}/s, p50 {one.p50_us:,.0f} us, p99 {one.p99_us:,.0f} us"
        for name, one in sorted(round_.items())
    )


def _measure(target: Target, connections: int) -> Measured:
    """Calls for some time; raises AssertionError if a call failed."""
    _wrk(target, connections, 1)
    return _wrk(target, connections, SECONDS)


def _wrk(target: Target, connections: int, seconds: int) -> Measured:
    command = ["wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s"]
    command += ["--script", str(Path(__file__).with_name("call.lua")), target.url]
    headers = "\n".join(f"{name}: {value}" for name, value in target.headers.items())
    done = subprocess.run(
        places.pinned(places.LOAD_CPU, command),
        env={"PATH": os.environ["PATH"], "BENCH_BODY": target.body, "BENCH_HEADERS": headers},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    results = [line.split() for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert results, f"wrk on {target.name}: {(done.stdout + done.stderr)[-500:]}"
    calls, micros, p50, p99, failed = (float(field) for field in results[0][1:])
    assert calls, f"no call of {target.name} was answered"
    assert not failed, f"{failed:g} of {calls:g} calls of {target.name} failed"
    return Measured(calls / micros * 1e6, p50, p99)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
