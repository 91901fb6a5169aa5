"""The tests of a metric: valid whatever comes, deaf to bursts and shared incidents, quick where it is sure."""

from itertools import product
from math import exp, isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.judgement.betting import LARGEST_SHARE, SMALLEST_SHARE, Odds, Wealth
from relay_operator.decisions.judgement.bound import Bound
from relay_operator.decisions.judgement.metric_test import MetricTest

COUNTS = st.floats(0, 1e9) | st.integers(0, 50)
TICKS = st.lists(st.tuples(st.floats(0, 1e4), COUNTS, COUNTS, COUNTS, COUNTS), max_size=40)


def a_test(
    ticks: list[tuple[float, float, float, float, float]], *, increase: float | None = 0.001
) -> MetricTest:
    test = MetricTest(0.01, increase=increase)
    for seconds, bad, good, stable_bad, stable_good in ticks:
        test.tick(
            seconds,
            bad=bad,
            total=bad + good,
            passed=good,
            stable_bad=stable_bad,
            stable_total=stable_bad + stable_good,
        )
    return test


@pytest.mark.parametrize("share", [SMALLEST_SHARE, 0.01, 0.3, 0.5, 0.9, LARGEST_SHARE])
def test_no_bet_gains_on_average_while_the_hypothesis_holds(share: float) -> None:
    """Every sequence of outcomes, weighted by its probability: the wealth's expectation is at most 1."""
    odds = Odds(share)
    for likely in (share, share / 2, 0.0):
        expected = 0.0
        for outcomes in product((0, 1), repeat=8):
            wealth, probability = Wealth(), 1.0
            for bad in outcomes:
                wealth.bet(odds, bad=bad, good=1 - bad, renewed=0.03)
                probability *= likely if bad else 1 - likely
            expected += probability * exp(wealth.log_wealth)
        assert expected <= 1 + 1e-9


@pytest.mark.parametrize("size", [1.0, 2.5, 10.0])
def test_caps_and_cluster_sizes_only_make_bets_smaller(size: float) -> None:
    """Batches of outcomes through the whole bound, with its cap, tempering and thrown away gains."""
    expected = 0.0
    for batches in product((0, 1, 2, 3), repeat=4):
        bound, probability = Bound(0.2, nats=6.0), 1.0
        for bad in batches:
            bound.tick(bad, 3, seconds=0.5, renewed=0.02, size=size, clock=1.0)
            probability *= (1, 3, 3, 1)[bad] * 0.2**bad * 0.8 ** (3 - bad)
        expected += probability * exp(bound.wealth.log_wealth)
    assert expected <= 1 + 1e-9


def test_an_attempt_that_is_counted_when_it_begins_gives_no_more_evidence() -> None:
    at_once, later = Bound(0.01, nats=6.0), Bound(0.01, nats=6.0)
    for _ in range(4):
        at_once.tick(1, 1, seconds=1, renewed=0.0, size=1.0, clock=1.0)
        later.tick(0, 1, seconds=1, renewed=0.0, size=1.0, clock=1.0)
        later.tick(1, 0, seconds=1, renewed=0.0, size=1.0, clock=1.0)
    assert later.wealth.log_wealth <= at_once.wealth.log_wealth


@given(TICKS, st.none() | st.floats(0, 1))
def test_no_figures_make_the_state_anything_but_numbers(
    ticks: list[tuple[float, float, float, float, float]], increase: float | None
) -> None:
    test = a_test(ticks, increase=increase)
    assert test.absolute is not None
    for bound in (test.absolute, test.excess, test.stable_absolute):
        if bound is not None:
            assert isfinite(bound.wealth.log_wealth)
            assert sum(bound.wealth.weights) == pytest.approx(1.0)
            assert 0 < bound.odds.share < 1
    assert isfinite(test.certificate.nats)
    assert 1 <= test.size <= 10
    assert test.convicted in (None, test.absolute, test.excess)


@given(st.integers(0, 60), st.integers(0, 60))
def test_more_failures_are_never_less_evidence(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    found = []
    for bad in (fewer, more):
        bound = Bound(0.01, nats=6.0)
        bound.tick(bad, 60, seconds=2, renewed=0.001, size=1.0, clock=1.0)
        found.append(bound.wealth.log_wealth)
    assert found[0] <= found[1] + 1e-12


@given(TICKS)
def test_one_tick_of_whatever_kind_never_convicts(
    ticks: list[tuple[float, float, float, float, float]],
) -> None:
    healthy = [(1.0, 0.0, 20.0, 0.0, 380.0)] * 5
    assert a_test([*healthy, *ticks[:1]]).convicted is None


def test_one_failure_proves_nothing_and_three_in_a_row_at_the_start_do() -> None:
    failed = (1.0, 1.0, 0.0, 0.0, 19.0)
    assert a_test([failed]).convicted is None
    assert a_test([failed, failed]).convicted is None
    assert a_test([failed, failed, failed]).convicted is not None


def test_a_burst_convicts_nobody_and_the_same_rate_for_longer_does() -> None:
    good, burst = (1.0, 0.0, 20.0, 0.0, 380.0), (0.7, 7.0, 7.0, 0.0, 266.0)
    before = [good] * 60
    assert a_test([*before, *[burst] * 3, *[good] * 60]).convicted is None
    assert a_test([*before, *[burst] * 12]).convicted is not None


def test_an_incident_of_both_sides_convicts_nobody_and_leaves_no_evidence_behind() -> None:
    good, incident = (1.0, 0.0, 20.0, 0.0, 380.0), (1.0, 2.0, 18.0, 38.0, 342.0)
    test = a_test([*[good] * 60, *[incident] * 120])
    assert test.convicted is None
    assert test.suspected is not None
    assert test.absolute is not None
    assert test.absolute.exceeded
    assert test.absolute.shared
    assert test.stable_exceeds
    after = a_test(
        [*[good] * 60, *[incident] * 120, *[good] * 300, *[(1.0, 2.0, 18.0, 0.0, 380.0)]]
    )
    assert after.convicted is None
    assert after.absolute is not None
    assert not after.absolute.exceeded
    assert not after.stable_exceeds


def test_a_canary_that_is_worse_after_a_shared_incident_is_found() -> None:
    good, incident = (1.0, 0.0, 20.0, 0.0, 380.0), (1.0, 2.0, 18.0, 38.0, 342.0)
    worse = (1.0, 6.0, 14.0, 0.0, 380.0)
    assert a_test([*[good] * 60, *[incident] * 60, *[good] * 300, *[worse] * 20]).convicted


def test_a_canary_with_all_calls_can_still_be_convicted() -> None:
    test = a_test([(1.0, 2.0, 8.0, 0.0, 0.0)] * 30, increase=None)
    assert test.convicted is test.absolute


def test_the_excess_test_finds_below_the_limit_what_stable_does_better() -> None:
    test = a_test([(1.0, float(tick % 10 == 0), 15.0, 0.0, 300.0) for tick in range(3000)])
    assert test.convicted is test.excess


def test_certificates_need_calls_that_ended_well() -> None:
    test = MetricTest(0.01)
    for _ in range(1000):
        test.tick(1, bad=0, total=1, passed=0, stable_bad=0, stable_total=19)
    before = test.is_certified
    for _ in range(1000):
        test.tick(1, bad=0, total=1, passed=1, stable_bad=0, stable_total=19)
    after = test.is_certified
    test.begin_step()
    assert (before, after, test.is_certified) == (False, True, False)


def test_no_certificate_for_a_canary_at_its_limit() -> None:
    test = MetricTest(0.01)
    for tick in range(3000):
        bad = float(tick % 100 == 0)
        test.tick(1, bad=bad, total=1, passed=1 - bad, stable_bad=0, stable_total=19)
    assert not test.is_certified


@pytest.mark.parametrize(
    ("share", "stable_calls"), [(0.3, 2.0), (0.3, 20.0), (0.05, 2.0), (0.05, 20.0)]
)
def test_the_last_calls_of_stable_do_not_shield_a_canary_that_has_all_others(
    share: float, stable_calls: float
) -> None:
    """Trouble begins while stable has its last calls; it has none any more to do better with."""
    test = MetricTest(0.01)
    for tick in range(120):
        last = stable_calls if tick == 0 else 0.0
        test.tick(
            1.0,
            bad=10 * share,
            total=10.0,
            passed=10 * (1 - share),
            stable_bad=0.0,
            stable_total=last,
            stable_is_leaving=True,
        )
    assert test.convicted is test.absolute


def test_an_incident_that_stable_showed_with_its_last_calls_is_shared_all_the_same() -> None:
    test = MetricTest(0.01)
    for tick in range(20):
        test.tick(
            1.0,
            bad=3.0,
            total=10.0,
            passed=7.0,
            stable_bad=3.0 if tick == 0 else 0.0,
            stable_total=8.0 if tick == 0 else 0.0,
            stable_is_leaving=True,
        )
    assert test.convicted is None
    assert test.suspected is not None
    assert test.suspected.shared
