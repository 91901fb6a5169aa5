"""`python -m bench.isolation`: how much a neighbour at ten times its load raises a light flow's 99th percentile.

Rounds alone and rounds beside the neighbour alternate within one run; all calls are sent at planned times. No round is
left out: pauses of the machine hit rounds of both kinds and widen the interval. The last line is for machines.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.isolation import places, rows, watch
from bench.isolation.cases import (
    FLOOD,
    LARGE_BODIES,
    LARGE_BODIES_IN_PYTHON,
    LIGHT,
    LIGHT_KEY,
    NEIGHBOUR_KEY,
    TWO_KEYS,
    TWO_KEYS_NO_QUEUE,
    TWO_TENANTS,
    TWO_TENANTS_UNDIVIDED,
    Case,
    Setting,
    running,
    watch_path,
)
from bench.isolation.conclusion import GOAL_SECONDS, Found, last_line, verdict
from bench.isolation.generator import GRACE_SECONDS, Plan
from bench.isolation.intervals import Difference, Pairs, difference
from bench.isolation.rows import Row
from bench.isolation.schedule import Round, rounds
from tests.blackbox.process import python_environment, python_module

PAIRS: Final = 14
ROUND_SECONDS: Final = 8.0
CONTROL_PAIRS: Final = 3
LATE_SECONDS: Final = 0.001
LATE_PART: Final = 0.001
"""A round in which more than this part of the light calls was sent later than LATE_SECONDS is counted as late."""
STALL_SECONDS: Final = 0.003
"""A pause of a core that is longer than this is told."""
START_SECONDS: Final = 3.0
"""Time for both generators to plan their calls."""
SEED: Final = 20261122
CASES: Final = (
    (TWO_KEYS, PAIRS),
    (TWO_KEYS_NO_QUEUE, CONTROL_PAIRS),
    (TWO_TENANTS, PAIRS),
    (TWO_TENANTS_UNDIVIDED, CONTROL_PAIRS),
    (LARGE_BODIES, PAIRS),
    (LARGE_BODIES_IN_PYTHON, CONTROL_PAIRS),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case's result. added is the light flow's latency less the provider's own time."""

    case: Case
    added: Difference
    whole: Difference
    failed: int
    calls: int


def main() -> int:
    """Runs all cases; returns 0, since there is an interval however busy the machine was."""
    found = []
    for case, pairs in CASES:
        outcome = _measure(case, pairs)
        _report(outcome)
        found.append(Found(outcome.added, case.control, case.bodies))
    _say(
        f"goal: upper bound at most {GOAL_SECONDS * 1000:g} ms beside a flood in both cases: {verdict(found)}"
    )
    _say(last_line(found))
    return 0


def _measure(case: Case, pairs: int) -> Outcome:
    """Measures a case."""
    planned = rounds(pairs, seconds=ROUND_SECONDS, seed=SEED)
    seconds = planned[-1].end
    _say(f"{case.name}: {2 * pairs} rounds of {ROUND_SECONDS:g} s, {seconds:.0f} s in all")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running(case, directory) as setting:
            start_at, light, neighbour = _generate(case, setting, planned, directory)
        stalls = [
            at - start_at
            for cpu in (places.RELAY_CPU, places.OTHER_CPU)
            for at in watch.stalls(watch_path(directory, cpu), longer_than_seconds=STALL_SECONDS)
        ]
    _describe_load(planned, neighbour)
    _describe_machine(planned, light, stalls)
    recorded = [row for row in light if row.round >= 0]
    return Outcome(
        case,
        added=difference(_by_pair(planned, light, "added_seconds"), 0.99, seed=SEED),
        whole=difference(_by_pair(planned, light, "latency_seconds"), 0.99, seed=SEED),
        failed=sum(row.status != 200 for row in recorded),
        calls=len(recorded),
    )


def _generate(
    case: Case, setting: Setting, planned: Sequence[Round], directory: Path
) -> tuple[float, list[Row], list[Row]]:
    """Runs both generators; returns the start time, the light flow's rows and the neighbour's."""
    start_at = time.monotonic() + START_SECONDS
    plans = {
        "light": Plan(
            port=setting.light_port,
            key=LIGHT_KEY,
            light=True,
            load=LIGHT,
            rounds=tuple(planned),
            start_at=start_at,
            seed=SEED,
            retries=5,
            rows_path=str(directory / "light.rows"),
            cpu=places.OTHER_CPU,
        ),
        "neighbour": Plan(
            port=setting.neighbour_port,
            key=NEIGHBOUR_KEY,
            light=False,
            load=FLOOD,
            rounds=tuple(planned),
            start_at=start_at,
            seed=SEED,
            retries=0,
            rows_path=str(directory / "neighbour.rows"),
            cpu=places.OTHER_CPU,
        ),
    }
    modules = {"light": "generator", "neighbour": "bodies" if case.bodies else "generator"}
    generators = []
    for name, plan in plans.items():
        path = directory / f"{name}.json"
        plan.save(path)
        generators.append(
            subprocess.Popen(
                python_module(f"bench.isolation.{modules[name]}", str(path)),
                env=python_environment(),
                stdout=subprocess.DEVNULL,
            )
        )
    limit = planned[-1].end + START_SECONDS + GRACE_SECONDS + 30
    try:
        for generator in generators:
            if generator.wait(limit):
                raise RuntimeError("a load generator failed; see its error above")
    finally:
        for generator in generators:
            generator.kill()
    light, neighbour = (rows.read(directory / f"{name}.rows") for name in plans)
    return start_at, light, neighbour


def _is_late(each: Round, light: Sequence[Row]) -> bool:
    """Returns whether the generator sent too many calls of the round too late."""
    late = [row.late_seconds > LATE_SECONDS for row in light if row.round == each.number]
    return sum(late) > max(1, LATE_PART * len(late))


def _stalls_in(each: Round, stalls: Sequence[float]) -> bool:
    return any(each.begin <= at <= each.end for at in stalls)


def _by_pair(planned: Sequence[Round], light: Sequence[Row], field: str) -> Pairs:
    values: dict[tuple[int, bool], list[float]] = {}
    beside = {each.number: (each.pair, each.beside) for each in planned}
    for row in light:
        arm = beside.get(row.round)
        if arm is not None:
            values.setdefault(arm, []).append(getattr(row, field))
    return [(values[pair, False], values[pair, True]) for pair, is_beside in values if is_beside]


def _describe_load(planned: Sequence[Round], neighbour: Sequence[Row]) -> None:
    seconds = sum(each.end - each.begin for each in planned if each.beside)
    statuses = Counter(row.status for row in neighbour if row.sent_at)
    unsent = sum(row.sent_at == 0 for row in neighbour)
    told = ", ".join(
        f"{count / seconds:.1f}/s {status or 'without an answer'}"
        for status, count in sorted(statuses.items())
    )
    _say(
        f"  neighbour: {len(neighbour) / seconds:.1f} calls/s: {told}; {unsent} not sent because no connection was free"
    )


def _describe_machine(
    planned: Sequence[Round], light: Sequence[Row], stalls: Sequence[float]
) -> None:
    """Tells in how many rounds of either kind the machine itself was in the way."""
    for beside, kind in ((False, "alone"), (True, "beside")):
        arm = [each for each in planned if each.beside == beside]
        late = sum(_is_late(each, light) for each in arm)
        stalled = sum(_stalls_in(each, stalls) for each in arm)
        _say(
            f"  rounds {kind}: {len(arm)}, the generator late in {late}, a core paused in {stalled}"
        )


def _report(outcome: Outcome) -> None:
    kind = "control" if outcome.case.control else "result"
    _say(f"  {kind}: {outcome.calls} light calls, {outcome.failed} failed")
    for name, found in (("added", outcome.added), ("whole", outcome.whole)):
        _say(
            f"  {name} latency p99: alone {found.alone * 1000:.2f} ms, beside {found.beside * 1000:.2f} ms, "
            f"difference {found.delta * 1000:+.2f} ms "
            f"[{found.lower * 1000:+.2f}, {found.upper * 1000:+.2f}]"
        )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
