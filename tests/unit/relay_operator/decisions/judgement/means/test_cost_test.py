"""What is said of two sides' costs, and from how many calls on."""

import random

import pytest

from relay_operator.decisions.judgement.means.cost_test import CostTest
from relay_operator.decisions.judgement.means.mean_per_answer import FEWEST_TICKS

PICOS = 10**12


def played(
    *, canary: float, stable: float = 0.001, ticks: int = 100, calls: int = 20, spread: float = 0.3
) -> CostTest:
    """Plays looks at both sides whose calls cost so much in the mean, USD."""
    test, chance = CostTest(), random.Random(7)
    for _ in range(ticks):
        ours, theirs = (
            sum(int(mean * chance.uniform(1 - spread, 1 + spread) * PICOS) for _ in range(calls))
            for mean in (canary, stable)
        )
        test.add(canary_calls=calls, canary_pico=ours, stable_calls=calls, stable_pico=theirs)
    return test


def test_a_canary_that_costs_more_is_held_and_the_figures_are_told() -> None:
    found = played(canary=0.0015).finding(10)
    assert (found.holds, found.reason) == (False, "CostHigher")
    assert "USD a thousand of 2000 calls" in found.message
    assert "the limit is 10 % more; it is certain that the canary costs" in found.message
    assert found.increase_percent == pytest.approx(50, abs=3)


@pytest.mark.parametrize("canary", [0.001, 0.0005, 0.00105, 0.0])
def test_one_that_does_not_is_not(canary: float) -> None:
    found = played(canary=canary).finding(10)
    assert (found.holds, found.reason) == (True, "WithinCost")


def test_a_canary_beside_a_stable_side_that_costs_nothing_costs_more() -> None:
    found = played(canary=0.001, stable=0.0).finding(10)
    assert (found.holds, found.reason) == (False, "CostHigher")
    assert "stable costs nothing" in found.message
    assert played(canary=0.0, stable=0.0).finding(10).holds is True


@pytest.mark.parametrize(("ticks", "calls"), [(FEWEST_TICKS - 1, 1000), (FEWEST_TICKS, 3), (0, 0)])
def test_few_calls_or_few_looks_tell_nothing(ticks: int, calls: int) -> None:
    found = played(canary=0.01, ticks=ticks, calls=calls).finding(10)
    assert (found.holds, found.reason) == (None, "TooFewRequests")
    assert "it takes 100 of each, in 30 looks" in found.message
    assert ("no calls of canary and stable" in found.message) is (calls == 0)


def test_what_attempts_without_an_answer_cost_counts_to_the_next_calls() -> None:
    test = CostTest()
    for _ in range(FEWEST_TICKS):
        test.add(canary_calls=0, canary_pico=10**9, stable_calls=9, stable_pico=10**9)
        test.add(canary_calls=10, canary_pico=10**9, stable_calls=1, stable_pico=10**9)
    found = test.finding(10)
    assert found.holds is True
    assert found.increase_percent == pytest.approx(0)
    assert test.calls == {"canary": 300, "stable": 300}


def test_calls_are_compared_with_those_of_the_same_time() -> None:
    """In the evening calls cost twice as much on both sides, and the canary has most of them."""
    test = CostTest()
    for level, calls, beside in ((1, 2, 18), (2, 18, 2)):
        for _ in range(100):
            test.add(
                canary_calls=calls,
                canary_pico=calls * level * 10**9,
                stable_calls=beside,
                stable_pico=beside * level * 10**9,
            )
    assert test.finding(10).holds is True
    assert test.finding(10).increase_percent == pytest.approx(0)
