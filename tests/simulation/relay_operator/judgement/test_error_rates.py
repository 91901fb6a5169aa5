"""How often the judge is wrong, and how soon it is right, on a few seeds of the cases of docs/results/judge.md."""

import math
from functools import partial
from statistics import median

import pytest
from tests.simulation.relay_operator.judgement import cases, judges
from tests.simulation.relay_operator.judgement.streams import Case, stream
from tests.simulation.relay_operator.judgement.table import upper_bound, wald_calls

OURS = partial(judges.ours, increase_points=0.1)
SEEDS = range(12)


@pytest.mark.parametrize(
    "case",
    [
        cases.healthy(0.009, 20),
        cases.bursty(5, 1200, stable_every=1200 / 19),
        *cases.SHARED,
    ],
    ids=lambda case: case.name,
)
def test_a_healthy_canary_is_left_alone(case: Case) -> None:
    assert [seed for seed in SEEDS if OURS(case, stream(case, seed)) is not None] == []


@pytest.mark.parametrize(
    ("case", "seconds", "ratio"),
    [
        (cases.FOUND[0], 6.0, math.inf),
        (cases.FOUND[1], 25.0, 1.75),
        (cases.FOUND[2], 220.0, math.inf),
        (cases.FOUND[4], 5.5, math.inf),
        (cases.FOUND[5], 10.0, math.inf),
        (cases.FOUND[6], 30.0, math.inf),
        (cases.FOUND[7], 75.0, math.inf),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_a_bad_canary_is_found_in_time(case: Case, seconds: float, ratio: float) -> None:
    """Bounds with room for so few seeds; the page has the figures of a thousand."""
    found = [OURS(case, stream(case, seed)) for seed in range(24)]
    rollbacks = [one for one in found if one is not None]
    assert len(rollbacks) == len(found)
    assert median(one.at for one in rollbacks) <= seconds
    failing = case.canary.levels[0][2]
    assert median(one.calls / wald_calls(failing, one) for one in rollbacks) <= ratio


@pytest.mark.parametrize(
    "case", [*cases.SHARED, cases.healthy(0.009, 20)], ids=lambda case: case.name
)
def test_nothing_is_evacuated_by_an_incident_of_both_sides(case: Case) -> None:
    found = [judges.evacuated(stream(case, seed), pods=case.pods) for seed in SEEDS]
    assert [at for at in found if at is not None] == []


@pytest.mark.parametrize(
    ("case", "seconds"),
    [(cases.stable_bad(1.0, 20, 120.0), 25.0), (cases.stable_bad(0.2, 20, 300.0), 60.0)],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_a_stable_side_that_fails_alone_is_left_in_time(case: Case, seconds: float) -> None:
    found = [judges.evacuated(stream(case, seed), pods=case.pods) for seed in SEEDS]
    left = [at - case.onset for at in found if at is not None]
    assert len(left) == len(found)
    assert all(at > 0 for at in left)
    assert median(left) <= seconds


def test_judges_of_other_kinds_roll_back_what_is_healthy() -> None:
    case = cases.healthy(0.005, 20)
    flagger = [judges.flagger_kind(case, stream(case, seed), threshold=5) for seed in range(3)]
    assert all(one is not None for one in flagger)
    argo = [judges.argo_kind(case, stream(case, seed), failure_limit=3) for seed in SEEDS]
    assert sum(one is not None for one in argo) > len(argo) / 3


@pytest.mark.parametrize("case", [cases.FOUND[1], cases.FOUND[5], cases.SHARED[0]])
def test_the_judge_of_a_route_does_as_its_test_of_failures(case: Case) -> None:
    for seed in range(6):
        ticks = list(stream(case, seed))
        whole = judges.ours_whole(case, ticks, increase_points=0.1)
        assert whole == OURS(case, ticks)


def test_the_bound_of_a_probability_is_exact() -> None:
    assert upper_bound(0, 1000) == pytest.approx(0.3, abs=0.01)
    assert upper_bound(10, 1000) == pytest.approx(1.69, abs=0.02)


@pytest.mark.parametrize("case", [cases.FOUND[5], cases.FOUND[6], cases.FOUND[12]])
def test_who_knows_the_fault_is_no_later_than_the_judge_that_does_not(case: Case) -> None:
    ours, best = [], []
    for seed in range(12):
        ticks = list(stream(case, seed))
        found, informed = OURS(case, ticks), judges.informed(case, ticks)
        assert found is not None
        assert informed is not None
        ours.append(found.at)
        best.append(informed.at)
    assert case.onset < median(best) <= median(ours)
