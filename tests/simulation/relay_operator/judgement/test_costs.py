"""How often the limit of cost holds a canary that keeps to it, how soon it holds one that does not, and what comparing means does."""

import math
import random
from collections.abc import Iterator

import pytest

from relay_operator.decisions.judgement.means.cost_test import CostTest

LIMIT = 10.0
LOOK_SECONDS = 15
HOURS_4 = 4 * 3600 // LOOK_SECONDS
SIGMA = 1.2
"""Of a lognormal cost: the dearest of a hundred calls costs some sixteen times the median, as prompts do."""
RUNS = 200


def looks(
    seed: int, *, factor: float, canary_rate: float, stable_rate: float, drift: bool = False
) -> Iterator[tuple[int, float, int, float]]:
    """Yields what each look brings of calls and cost: canary's, then stable's. With drift all costs
    double over the hours, while nearly all calls go over to the canary.
    """
    chance = random.Random(seed)
    for number in range(HOURS_4):
        passed = number / HOURS_4 if drift else 0.0
        level, shares = 1.0 + passed, (0.1 + 1.8 * passed, 1.9 - 1.8 * passed) if drift else (1, 1)
        found = []
        for rate, mean, share in zip(
            (canary_rate, stable_rate), (factor, 1.0), shares, strict=True
        ):
            calls = _poisson(chance, rate * share * LOOK_SECONDS)
            costs = (chance.lognormvariate(0, SIGMA) for _ in range(calls))
            found += [calls, level * mean * sum(costs)]
        yield int(found[0]), found[1], int(found[2]), found[3]


def _poisson(chance: random.Random, mean: float) -> int:
    count, product, least = 0, chance.random(), math.exp(-mean)
    while product > least:
        count, product = count + 1, product * chance.random()
    return count


def held_after(seed: int, **case: float | bool) -> int | None:
    """Returns after how many looks the test holds first, None if it never does."""
    test = CostTest()
    for number, (calls, cost, stable_calls, stable_cost) in enumerate(looks(seed, **case)):  # type: ignore[arg-type]
        test.add(
            canary_calls=calls,
            canary_pico=int(cost * 10**9),
            stable_calls=stable_calls,
            stable_pico=int(stable_cost * 10**9),
        )
        if test.finding(LIMIT).holds is False:
            return number
    return None


def held_by_means(seed: int, **case: float | bool) -> bool:
    """Tells whether the rule that anybody writes first holds once: compare the means, from 100 calls of each on."""
    canary, stable = [0.0, 0.0], [0.0, 0.0]
    for calls, cost, stable_calls, stable_cost in looks(seed, **case):  # type: ignore[arg-type]
        canary = [canary[0] + calls, canary[1] + cost]
        stable = [stable[0] + stable_calls, stable[1] + stable_cost]
        if min(canary[0], stable[0]) < 100:
            continue
        if canary[1] / canary[0] > (1 + LIMIT / 100) * stable[1] / stable[0]:
            return True
    return False


@pytest.mark.parametrize(
    "case",
    [
        {"factor": 1.0, "canary_rate": 0.1, "stable_rate": 0.9},
        {"factor": 1.09, "canary_rate": 0.1, "stable_rate": 0.9},
        {"factor": 1.0, "canary_rate": 0.5, "stable_rate": 0.5, "drift": True},
    ],
    ids=["as stable", "just below the limit", "dearer hours for the canary"],
)
def test_a_canary_that_keeps_to_its_limit_is_not_held(case: dict[str, float | bool]) -> None:
    """In 600 runs of four hours, looked at every 15 s, none: the bound is 1 in 1,000."""
    assert [seed for seed in range(RUNS) if held_after(seed, **case) is not None] == []


def test_comparing_means_holds_most_canaries_that_keep_to_their_limit() -> None:
    case = {"factor": 1.0, "canary_rate": 0.1, "stable_rate": 0.9}
    held = sum(held_by_means(seed, **case) for seed in range(RUNS))
    assert held > RUNS // 4


@pytest.mark.parametrize(
    ("factor", "rate", "most_looks"),
    [(2.0, 1.0, 80), (1.5, 1.0, 250), (1.3, 1.0, HOURS_4)],
    ids=["twice as dear", "half as dear again", "30 % dearer"],
)
def test_a_dearer_canary_is_held_in_time(factor: float, rate: float, most_looks: int) -> None:
    found = [
        held_after(seed, factor=factor, canary_rate=rate, stable_rate=rate) for seed in range(20)
    ]
    in_time = [one for one in found if one is not None and one <= most_looks]
    assert len(in_time) > len(found) // 2
