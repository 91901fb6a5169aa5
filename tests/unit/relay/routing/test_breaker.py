"""The breaker's legal moves, and how much may fail before it acts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.routing.breaker import FAILURES_IN_A_ROW, MOVES, BreakerState, CanaryBreaker
from relay_contract.document import Breaker


def tripped(now: float = 0.0, **config: Any) -> CanaryBreaker:
    breaker = CanaryBreaker(Breaker(**{"min_failures": 1, **config}))
    assert breaker.finished(failed=True, probe=False, now=now)
    return breaker


def test_it_trips_at_the_configured_count_and_share() -> None:
    breaker = CanaryBreaker(Breaker())
    for number in range(18):
        assert not breaker.finished(failed=number % 2 == 0, probe=False, now=0.0)
    assert breaker.finished(failed=True, probe=False, now=0.0)
    assert not breaker.try_pass(0.0)


def test_failures_below_the_share_do_not_trip() -> None:
    breaker = CanaryBreaker(Breaker(min_failures=2, failure_percent=50))
    for number in range(40):
        assert not breaker.finished(failed=number % 3 == 2, probe=False, now=0.0)


def test_failures_outside_the_window_are_forgotten() -> None:
    breaker = CanaryBreaker(Breaker(window_seconds=1.0, min_failures=10))
    for number in range(100):
        assert not breaker.finished(failed=number % 5 != 0, probe=False, now=number * 0.125)


@given(st.lists(st.booleans(), max_size=40), st.floats(0.001, 1000))
def test_failures_in_a_row_trip_it_at_any_rate(before: list[bool], pause: float) -> None:
    breaker, now = CanaryBreaker(Breaker(min_failures=1000)), 0.0
    in_a_row = 0
    for failed in (*before, False, *[True] * FAILURES_IN_A_ROW):
        in_a_row = in_a_row + 1 if failed else 0
        now += pause
        if breaker.state is BreakerState.closed:
            tripped = breaker.finished(failed=failed, probe=False, now=now)
            assert tripped == (in_a_row == FAILURES_IN_A_ROW)
    assert breaker.trips == 1


def test_a_probe_that_fails_while_stable_fails_too_says_nothing_of_the_canary() -> None:
    breaker, now = tripped(), 0.0
    for stable_fails, certain in ((True, 0), (True, 0), (False, 1), (True, 1)):
        now += 60
        assert breaker.try_pass(now)
        breaker.stable_fails = stable_fails
        assert breaker.finished(failed=True, probe=True, now=now)
        assert breaker.failed_probes == certain
        assert breaker.blocks(now)


def test_it_opens_twice_as_long_after_each_failed_probe_up_to_the_configured_time() -> None:
    breaker, now, opened = tripped(open_seconds=10), 0.0, []
    for _ in range(6):
        opened.append(breaker._open_until - now)
        now = breaker._open_until
        assert breaker.try_pass(now)
        breaker.finished(failed=True, probe=True, now=now)
    assert opened == [1, 2, 4, 8, 10, 10]
    assert breaker.failed_probes == 6


def test_a_canary_that_fails_again_soon_after_its_probe_is_kept_away_longer() -> None:
    breaker = tripped(open_seconds=10)
    breaker.try_pass(1.0)
    breaker.finished(failed=False, probe=True, now=1.0)
    breaker.finished(failed=True, probe=False, now=2.0)
    assert not breaker.try_pass(3.9)
    breaker.try_pass(4.0)
    breaker.finished(failed=False, probe=True, now=4.0)
    breaker.finished(failed=True, probe=False, now=14.0)
    assert breaker.try_pass(15.0)


def test_one_probe_that_succeeds_forgets_those_that_failed() -> None:
    breaker = tripped()
    breaker.try_pass(1.0)
    breaker.finished(failed=True, probe=True, now=1.0)
    breaker.try_pass(3.0)
    breaker.finished(failed=False, probe=True, now=3.0)
    assert breaker.failed_probes == 0


def test_after_the_open_time_one_probe_decides() -> None:
    breaker = tripped()
    assert not breaker.try_pass(0.9)
    assert breaker.try_pass(1.0)
    assert not breaker.try_pass(1.0)
    assert breaker.state is BreakerState.half_open
    breaker.finished(failed=False, probe=True, now=2.0)
    assert breaker.try_pass(2.0)


def test_a_failed_probe_opens_it_again() -> None:
    breaker = tripped()
    breaker.try_pass(1.0)
    assert breaker.finished(failed=True, probe=True, now=2.0)
    assert not breaker.try_pass(3.9)
    assert breaker.try_pass(4.0)
    assert breaker.trips == 2


def test_what_began_before_the_trip_does_not_decide_the_probe() -> None:
    breaker = tripped()
    breaker.try_pass(30.0)
    assert not breaker.finished(failed=False, probe=False, now=30.1)
    assert breaker.state is BreakerState.half_open


def test_a_probe_without_a_verdict_lets_the_next_caller_probe() -> None:
    breaker = tripped()
    breaker.try_pass(30.0)
    breaker.cancelled(probe=False)
    assert not breaker.try_pass(30.1)
    breaker.cancelled(probe=True)
    assert breaker.try_pass(30.2)


def test_another_workers_trip_is_followed_and_not_counted() -> None:
    breaker = CanaryBreaker(Breaker())
    breaker.follow(0.0)
    breaker.follow(0.5)
    assert not breaker.try_pass(0.9)
    assert breaker.try_pass(1.0)
    assert breaker.trips == 0


def test_a_disabled_breaker_lets_everything_pass() -> None:
    breaker = CanaryBreaker(Breaker(enabled=False))
    for _ in range(100):
        assert not breaker.finished(failed=True, probe=False, now=0.0)
    assert breaker.try_pass(0.0)


@pytest.mark.parametrize("source", BreakerState)
@pytest.mark.parametrize("target", BreakerState)
def test_no_other_move_is_made(source: BreakerState, target: BreakerState) -> None:
    breaker = CanaryBreaker(Breaker())
    breaker.state = source
    if (source, target) in MOVES:
        breaker._move(target)
        assert breaker.state is target
    else:
        with pytest.raises(AssertionError):
            breaker._move(target)


STEPS = st.tuples(st.sampled_from(["fail", "succeed", "ask", "cancel", "follow"]), st.floats(0, 40))


@given(st.lists(STEPS, max_size=60))
def test_at_most_one_probe_is_under_way(steps: list[tuple[str, float]]) -> None:
    breaker = CanaryBreaker(Breaker(min_failures=2, open_seconds=10))
    now, probing = 0.0, False
    for step, pause in steps:
        now += pause
        match step:
            case "ask":
                passed = breaker.try_pass(now)
                assert not (passed and probing)
                probing = probing or (passed and breaker.state is BreakerState.half_open)
            case "fail" | "succeed":
                breaker.finished(failed=step == "fail", probe=probing, now=now)
                probing = False
            case "cancel":
                breaker.cancelled(probe=probing)
                probing = False
            case "follow":
                probing = probing and breaker.state is not BreakerState.half_open
                breaker.follow(now)


@given(
    steps=st.lists(st.tuples(st.sampled_from(["pass", "fail", "ok", "follow"]), st.floats(0, 20)))
)
def test_what_it_blocks_is_what_it_would_not_let_pass(steps: list[tuple[str, float]]) -> None:
    breaker, now = tripped(), 0.0
    for step, seconds in steps:
        now += seconds
        blocked = breaker.blocks(now)
        if step == "pass":
            assert breaker.try_pass(now) is not blocked
        elif step == "follow":
            breaker.follow(now)
        else:
            breaker.finished(failed=step == "fail", probe=True, now=now)
