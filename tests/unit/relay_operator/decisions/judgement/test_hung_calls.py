"""Calls that do not end are told from calls that take long by how often calls of that canary usually end."""

import pytest

from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.judgement.stall import Stalled, StallWatch

Call = tuple[float, float]
"""When it began and how long it takes, in seconds."""


def side(calls: list[Call], since: float, now: float) -> SideIncrements:
    return SideIncrements(
        started=sum(since < begun <= now for begun, _ in calls),
        finished=sum(since < begun + took <= now for begun, took in calls),
        under_way=sum(begun <= now < begun + took for begun, took in calls),
    )


def stalled(canary: list[Call], stable: list[Call], *, until: int) -> tuple[int, Stalled] | None:
    """Returns when the watch finds calls that hang, and which; None if it finds none."""
    watch = StallWatch()
    for now in range(2, until, 2):
        found = watch.tick(
            Increments(
                now=1000.0 + now,
                seconds=2.0 if now > 2 else 0.0,
                canary=side(canary, now - 2, now),
                stable=side(stable, now - 2, now),
                fresh_pods=1,
                expected_pods=1,
                tripped_pods=0,
                moved=True,
            )
        )
        if found is not None:
            return now, found
    return None


STABLE: list[Call] = [(number / 2, 1.5) for number in range(1600)]


def test_a_canary_that_is_silent_as_a_rule_may_take_long_for_a_few_calls_at_once() -> None:
    seldom: list[Call] = [(10.0 * number, 1.5) for number in range(60)]
    long: list[Call] = [(601 + number / 10, 25.0) for number in range(5)]
    assert stalled(seldom + long, STABLE, until=700) is None


def test_calls_that_never_end_are_found_after_half_a_minute_on_such_a_canary() -> None:
    seldom: list[Call] = [(10.0 * number, 1.5) for number in range(60)]
    hung: list[Call] = [(601 + 2 * number, 1e6) for number in range(5)]
    found = stalled(seldom + hung, STABLE, until=700)
    assert found is not None
    assert 638 <= found[0] <= 645


def test_calls_that_began_together_are_of_one_caller_and_may_be_of_a_kind_that_takes_minutes() -> (
    None
):
    seldom: list[Call] = [(10.0 * number, 1.5) for number in range(60)]
    reasoning: list[Call] = [(601 + number / 10, 240.0) for number in range(8)]
    assert stalled(seldom + reasoning, STABLE, until=900) is None
    hung = [(begun, 1e6) for begun, _ in reasoning]
    found = stalled(seldom + hung, STABLE, until=1000)
    assert found is not None
    assert 601 + 300 <= found[0] <= 601 + 310


@pytest.mark.parametrize("seconds", [45.0, 200.0, 900.0])
@pytest.mark.parametrize("stable", [[], [(20.0 * number, 0.5) for number in range(3)]])
def test_long_calls_are_no_stall_where_nothing_says_how_long_calls_take(
    seconds: float, stable: list[Call]
) -> None:
    canary: list[Call] = [(3.0 * number + 1, seconds) for number in range(400)]
    assert stalled(canary, stable, until=1200) is None


def left_at(patience: float, every: float, stable: SideIncrements) -> int:
    """Returns when calls are found that hang, each left by its client after so many seconds; 0 if they never are."""
    watch = StallWatch()
    begun = [every * number for number in range(400)]
    for now in range(2, 700, 2):
        canary = SideIncrements(
            started=sum(now - 2 < at <= now for at in begun),
            cancelled=sum(now - 2 < at + patience <= now for at in begun),
            under_way=sum(at <= now < at + patience for at in begun),
        )
        tick = Increments(
            now=1000.0 + now,
            seconds=2.0,
            canary=canary,
            stable=stable,
            fresh_pods=1,
            expected_pods=1,
        )
        if watch.tick(tick) is not None:
            return now
    return 0


def test_calls_that_their_clients_leave_are_found_where_nothing_says_how_long_calls_take() -> None:
    assert 300 <= left_at(10.0, 1.0, SideIncrements()) <= 310


def test_hung_calls_are_found_however_soon_their_clients_leave() -> None:
    quick = SideIncrements(started=4, finished=4, under_way=1)
    assert 30 <= left_at(5.0, 8.0, quick) <= 80


LONG: list[Call] = [(30.0 * number, 600.0) for number in range(150)]
"""Calls of ten minutes, which a Provider's firstByteTimeout allows."""


def test_calls_of_ten_minutes_are_no_stall() -> None:
    canary = [(begun + 7.0, took) for begun, took in LONG]
    assert stalled(canary, LONG, until=3000) is None


def test_a_canary_that_hangs_is_found_also_where_calls_take_long() -> None:
    stable: list[Call] = [(5.0 * number, 200.0) for number in range(800)]
    canary = [(begun, took if begun < 1500 else 1e6) for begun, took in stable]
    found = stalled(canary, stable, until=3000)
    assert found is not None
    assert 1700 + 3 * 200 <= found[0] <= 1700 + 3 * 200 + 90


@pytest.mark.parametrize("seconds", [45.0, 90.0, 200.0, 600.0])
def test_long_calls_of_a_canary_that_gets_all_in_one_step_are_no_stall(seconds: float) -> None:
    stable: list[Call] = [(-3.0 * number, seconds) for number in range(int(seconds / 3))]
    canary: list[Call] = [(3.0 * number + 1, seconds) for number in range(400)]
    assert stalled(canary, stable, until=1200) is None


def test_a_canary_that_gets_all_in_one_step_and_hangs_is_found_by_what_stable_had_under_way() -> (
    None
):
    stable: list[Call] = [(-3.0 * number, 45.0) for number in range(15)]
    hung: list[Call] = [(3.0 * number + 1, 1e6) for number in range(400)]
    found = stalled(hung, stable, until=1200)
    assert found is not None
    assert 150 <= found[0] <= 310


def test_long_calls_after_hours_without_any_are_known_to_take_long() -> None:
    before: list[Call] = [(10.0 * number, 45.0) for number in range(60)]
    # the canary has all traffic; one short call comes before the others
    later: list[Call] = [(9000.0, 1.0), *((9010.0, 45.0) for _ in range(6))]
    assert stalled(before + later, [], until=9100) is None


def test_a_clock_that_is_set_back_makes_nobody_deaf() -> None:
    watch, found = StallWatch(), None
    for now in range(2, 200, 2):
        quick = side([(number / 2, 1.5) for number in range(400)], now - 2, now)
        hung = side(
            [(number / 2, 1.5 if number < 200 else 1e6) for number in range(400)], now - 2, now
        )
        back = 5000.0 if now > 80 else 0.0
        found = found or watch.tick(
            Increments(
                now=10_000.0 + now - back,
                seconds=2.0 if now not in (2, 82) else 0.0,
                canary=hung,
                stable=quick,
                fresh_pods=1,
                expected_pods=1,
                tripped_pods=0,
                moved=True,
            )
        )
    assert found is not None
