"""The comparison of refusals between the sides."""

import random

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.refusals import Excess, Refusals, excess

RUNS = 300
LOOKS = 60


@st.composite
def sides(draw: st.DrawFn) -> Refusals:
    finished = draw(st.integers(0, 5000))
    return Refusals(draw(st.integers(0, finished)), finished)


@given(canary=sides(), stable=sides(), tolerated=st.floats(0, 1))
def test_a_canary_that_refuses_no_larger_share_than_stable_is_never_in_excess(
    canary: Refusals, stable: Refusals, tolerated: float
) -> None:
    found = excess(canary, stable, tolerated=tolerated)
    if canary.share <= stable.share + tolerated:
        assert found is not Excess.SOME
    if canary.share <= stable.share + 0.5:
        assert found is not Excess.LARGE


@given(canary=sides(), tolerated=st.floats(0, 1))
def test_nothing_is_told_without_calls_of_stable(canary: Refusals, tolerated: float) -> None:
    assert excess(canary, Refusals(0, 0), tolerated=tolerated) is Excess.NONE


def test_equal_sides_are_hardly_ever_told_apart() -> None:
    chance = random.Random(7)
    wrong = 0
    for _ in range(RUNS):
        canary = stable = 0
        for look in range(1, LOOKS + 1):
            canary += sum(chance.random() < 0.05 for _ in range(5))
            stable += sum(chance.random() < 0.05 for _ in range(20))
            found = excess(Refusals(canary, 5 * look), Refusals(stable, 20 * look), tolerated=0.0)
            if found is not Excess.NONE:
                wrong += 1
                break
    assert wrong == 0


def test_a_canary_that_refuses_everything_is_told_within_some_twenty_calls() -> None:
    needed = next(
        calls
        for calls in range(1, 200)
        if excess(Refusals(calls, calls), Refusals(0, 19 * calls), tolerated=0.01) is Excess.LARGE
    )
    assert needed <= 25
