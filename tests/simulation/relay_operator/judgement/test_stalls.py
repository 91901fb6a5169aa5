"""A canary that hangs is found as soon as its calls usually allow; calls that take their time are none of that."""

from statistics import median

import pytest
from tests.simulation.relay_operator.judgement.calls_that_take_time import (
    Case,
    Lane,
    Seconds,
    constant,
    heavy_tailed,
    mixed,
    quick,
    ticks,
)

from relay_operator.decisions.judgement.stall import StallWatch

SEEDS = range(6)


def alike(name: str, per_second: float, seconds: Seconds, **lane: float) -> Case:
    """Both sides serve calls of one kind, stable five times as many."""
    batch = int(lane.pop("batch", 1))
    return Case(
        name=f"{name}, {per_second:g}/s",
        canary=Lane(per_second=per_second, seconds=seconds, batch=batch, **lane),
        stable=Lane(per_second=5 * per_second, seconds=seconds, batch=batch, **lane),
        rests=((600.0, 900.0), (1500.0, 1560.0)),
    )


KINDS = {
    "0.3 s": quick(0.3),
    "2 s": quick(2.0),
    "40 s": quick(40.0),
    "heavy tailed, 1 s": heavy_tailed(1.0),
    "heavy tailed, 8 s": heavy_tailed(8.0),
    "a tenth takes a minute": mixed(0.5, 60.0, 0.1),
    "half takes half a minute": mixed(0.5, 30.0, 0.5),
    "25 s each": constant(25.0),
}
HEALTHY = (
    *(alike(name, rate, seconds) for name, seconds in KINDS.items() for rate in (0.05, 0.5, 5.0)),
    *(
        alike(f"six at once, {name}", rate, seconds, batch=6)
        for name, seconds in KINDS.items()
        for rate in (0.1, 1.0)
    ),
    alike("clients leave after 5 s, heavy tailed, 8 s", 1.0, heavy_tailed(8.0), patience=5.0),
    *(
        Case(
            name=f"a canary that takes {times} times as long, {rate:g}/s",
            canary=Lane(per_second=rate, seconds=quick(float(times))),
            stable=Lane(per_second=5 * rate, seconds=quick(1.0)),
        )
        for times in (5, 20)
        for rate in (0.2, 2.0)
    ),
    *(
        Case(
            name=f"a canary that always takes 25 s beside 1 s, {rate:g}/s",
            canary=Lane(per_second=rate, seconds=constant(25.0)),
            stable=Lane(per_second=5 * rate, seconds=quick(1.0)),
        )
        for rate in (0.2, 2.0)
    ),
    *(alike("10 min each", rate, constant(600.0)) for rate in (0.05, 0.5)),
    alike("heavy tailed, 2 min", 0.5, heavy_tailed(120.0)),
    *(
        Case(
            name=f"chat at {rate:g}/s, and jobs of six calls of {takes:g} s",
            canary=Lane(per_second=rate, seconds=quick(1.0), jobs_every=1200.0, job_seconds=takes),
            stable=Lane(
                per_second=19 * rate, seconds=quick(1.0), jobs_every=120.0, job_seconds=takes
            ),
        )
        for rate in (0.02, 0.1)
        for takes in (45.0, 90.0, 240.0)
    ),
    Case(
        name="long calls in batches beside quick ones, 0.5/s",
        canary=Lane(per_second=0.5, seconds=mixed(0.5, 40.0, 0.2), batch=4),
        stable=Lane(per_second=2.5, seconds=mixed(0.5, 40.0, 0.2), batch=4),
    ),
)


def stalled_at(case: Case, seed: int) -> float | None:
    """Returns when the watch finds that calls do not end; None if it never does."""
    watch = StallWatch()
    for increments in ticks(case, seed):
        if watch.tick(increments) is not None:
            return increments.now - 1e9
    return None


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_calls_that_take_their_time_are_no_stall(case: Case) -> None:
    assert [at for seed in SEEDS if (at := stalled_at(case, seed)) is not None] == []


@pytest.mark.parametrize(
    ("seconds", "patience", "within"),
    [(0.3, 1e9, 20.0), (1.0, 1e9, 20.0), (1.0, 10.0, 20.0), (5.0, 1e9, 60.0), (20.0, 1e9, 220.0)],
)
def test_a_canary_that_hangs_is_found_by_how_long_its_calls_usually_take(
    seconds: float, patience: float, within: float
) -> None:
    case = Case(
        name=f"hangs after 10 min, {seconds} s",
        canary=Lane(per_second=5, seconds=quick(seconds), hangs_at=600, patience=patience),
        stable=Lane(per_second=25, seconds=quick(seconds)),
        seconds=1200,
    )
    found = [stalled_at(case, seed) for seed in SEEDS]
    times = [at - 600 for at in found if at is not None]
    assert len(times) == len(found)
    assert min(times) > 10
    assert median(times) <= within


def test_a_canary_that_never_answered_gets_half_a_minute() -> None:
    case = Case(
        name="hangs from the start",
        canary=Lane(per_second=5, seconds=quick(1.0), hangs_at=0.0),
        stable=Lane(per_second=25, seconds=quick(1.0)),
        seconds=300,
    )
    times = [at for seed in SEEDS if (at := stalled_at(case, seed)) is not None]
    assert len(times) == len(SEEDS)
    assert 30 <= median(times) <= 40
