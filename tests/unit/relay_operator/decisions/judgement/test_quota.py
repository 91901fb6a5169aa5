"""A provider's quota: a material part of answers 429 holds, a few do not, and the hold ends when they cease."""

import pytest

from relay_operator.decisions.judgement.quota import QuotaWatch, interval


def watch(throttled: float, ended: float, *, times: int) -> QuotaWatch:
    found = QuotaWatch()
    for _ in range(times):
        found.tick(1.0, throttled=throttled, ended=ended)
    return found


@pytest.mark.parametrize(
    ("throttled", "ended", "holds"),
    [(2, 10, True), (0.2, 1, True), (1, 10, True), (0.5, 10, False), (0.1, 10, False)],
)
def test_a_material_part_holds_and_a_few_do_not(
    throttled: float, ended: float, holds: bool
) -> None:
    assert watch(throttled, ended, times=300).holds is holds


def test_one_call_that_met_the_quota_proves_nothing() -> None:
    found = QuotaWatch()
    found.tick(1.0, throttled=1, ended=1)
    assert not found.holds
    found.tick(1.0, throttled=3, ended=3)
    assert found.holds


@pytest.mark.parametrize("ended", [0, 1, 50], ids=["no calls", "few calls", "many calls"])
def test_the_hold_ends_a_few_minutes_after_the_quota_suffices(ended: float) -> None:
    found = watch(2, 10, times=60)
    held = []
    for _ in range(400):
        held.append(found.holds)
        found.tick(1.0, throttled=0, ended=ended)
    assert 5 < sum(held) < 300
    assert held == sorted(held, reverse=True)


def test_a_share_between_its_two_bounds_goes_on_as_it_was() -> None:
    assert not watch(0.4, 10, times=300).holds
    found = watch(2, 10, times=60)
    for _ in range(600):
        found.tick(1.0, throttled=0.4, ended=10)
    assert found.holds


def test_the_interval_of_a_share_holds_it_and_narrows() -> None:
    low, high = interval(25, 100, deviations=2.0)
    assert 0.17 < low < 0.25 < high < 0.35
    narrow = interval(250, 1000, deviations=2.0)
    assert narrow[1] - narrow[0] < high - low
    assert interval(0, 10, deviations=2.0)[0] == 0.0
    assert interval(10, 10, deviations=2.0)[1] == 1.0
