"""`python -m bench.isolation`: how much a neighbour at ten times its load raises a light flow's 99th percentile.

Rounds alone and rounds beside the neighbour alternate within one run; all calls are sent at planned times. The last
line holds the worse of the two cases and the smaller of the two controls.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.isolation import places, rows, watch
from bench.isolation.cases import (
    FLOOD,
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
from bench.isolation.generator import GRACE_SECONDS, Plan
from bench.isolation.intervals import Difference, Pairs, difference
from bench.isolation.rows import Row
from bench.isolation.schedule import Round, rounds
from tests.blackbox.process import python_environment, python_module

PAIRS: Final = 14
ROUND_SECONDS: Final = 8.0
CONTROL_PAIRS: Final = 3
GOAL_MS: Final = 3.0
LATE_SECONDS: Final = 0.001
LATE_PART: Final = 0.001
"""A round in which more than this part of the light calls was sent later than LATE_SECONDS is left out."""
STALL_SECONDS: Final = 0.003
"""A round in which a core was stalled for longer than this is left out."""
START_SECONDS: Final = 3.0
"""Time for both generators to plan their calls."""
SEED: Final = 20261122


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case's result. added is the light flow's latency less the provider's own time."""

    case: Case
    added: Difference
    whole: Difference
    failed: int
    calls: int


def main() -> int:
    """Runs all cases; returns 1 if this machine was too busy for a result."""
    outcomes = []
    for case, control in ((TWO_KEYS, TWO_KEYS_NO_QUEUE), (TWO_TENANTS, TWO_TENANTS_UNDIVIDED)):
        for each, pairs in ((case, PAIRS), (control, CONTROL_PAIRS)):
            outcome = _measure(each, pairs)
            if outcome is None:
                _say(
                    f"{each.name}: no result, because the machine was too busy in most rounds; try again when it is less busy"
                )
                return 1
            _report(outcome)
            outcomes.append(outcome)
    measured = [outcome.added for outcome in outcomes if not outcome.case.control]
    controls = [outcome.added.delta for outcome in outcomes if outcome.case.control]
    worst = max(measured, key=lambda added: added.upper)
    verdict = "met" if worst.upper * 1000 <= GOAL_MS else "missed"
    _say(f"goal: upper bound at most {GOAL_MS:g} ms in both cases: {verdict}")
    _say(
        f"isolation: delta_p99_ms={worst.delta * 1000:.2f} upper95_ms={worst.upper * 1000:.2f} "
        f"control_delta_p99_ms={min(controls) * 1000:.2f}"
    )
    return 0


def _measure(case: Case, pairs: int) -> Outcome | None:
    """Measures a case; returns None if too few rounds were undisturbed."""
    planned = rounds(pairs, seconds=ROUND_SECONDS, seed=SEED)
    seconds = planned[-1].end
    _say(f"{case.name}: {2 * pairs} rounds of {ROUND_SECONDS:g} s, {seconds:.0f} s in all")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with running(case, directory) as setting:
            start_at, light, neighbour = _generate(setting, planned, directory)
        stalls = [
            at - start_at
            for cpu in (places.RELAY_CPU, places.OTHER_CPU)
            for at in watch.stalls(watch_path(directory, cpu), longer_than_seconds=STALL_SECONDS)
        ]
    late = {each.pair for each in planned if _is_late(each, light)}
    stalled = {each.pair for each in planned if _stalls_in(each, stalls)}
    void = late | stalled
    _describe_load(planned, neighbour)
    _say(
        f"  pairs of rounds left out: {len(void)} of {pairs} (the generator was late in {len(late)}, "
        f"a core was stalled in {len(stalled)})"
    )
    if case.control:
        # the effect in a control is hundreds of times larger than the machine's noise
        void.clear()
    if 2 * len(void) > pairs:
        return None
    kept = [each for each in planned if each.pair not in void]
    recorded = [row for row in light if row.round >= 0]
    return Outcome(
        case,
        added=difference(_by_pair(kept, light, "added_seconds"), 0.99, seed=SEED),
        whole=difference(_by_pair(kept, light, "latency_seconds"), 0.99, seed=SEED),
        failed=sum(row.status != 200 for row in recorded),
        calls=len(recorded),
    )


def _generate(
    setting: Setting, planned: Sequence[Round], directory: Path
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
    generators = []
    for name, plan in plans.items():
        path = directory / f"{name}.json"
        plan.save(path)
        generators.append(
            subprocess.Popen(
                python_module("bench.isolation.generator", str(path)),
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
    served = sum(row.status == 200 for row in neighbour)
    refused = sum(row.status in (429, 503) for row in neighbour)
    unsent = sum(row.sent_at == 0 for row in neighbour)
    _say(
        f"  neighbour: {len(neighbour) / seconds:.0f} calls/s, {served / seconds:.0f}/s served, "
        f"{refused / seconds:.0f}/s refused, {unsent} not sent because no connection was free"
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
