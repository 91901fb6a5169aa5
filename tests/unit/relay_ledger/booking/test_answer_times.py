"""Times of answers by steps: they add up, and a percentile is never told too short and at most an eighth too long."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_ledger.booking.answer_times import (
    MAX_MILLISECONDS,
    answer_figures,
    failed_calls,
    longest_of,
    percentile,
    step_of,
    time_step,
)

TIMES = st.integers(0, MAX_MILLISECONDS)


@given(TIMES, TIMES)
def test_steps_are_in_the_order_of_times_and_at_most_an_eighth_wide(one: int, other: int) -> None:
    assert time_step(one) <= time_step(other) or one > other
    assert one < longest_of(time_step(one)) <= max(one + 1, one * 9 // 8 + 1)


@given(st.lists(TIMES, min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_is_that_of_the_times(times: list[int], percent: int) -> None:
    told = percentile(Counter(map(time_step, times)), percent)
    exact = sorted(times)[-(-len(times) * percent // 100) - 1]
    assert told == longest_of(time_step(exact))


def test_without_answers_there_is_no_time() -> None:
    assert percentile({}, 99) is None
    assert percentile({4: 0}, 99) is None


def test_longer_than_what_is_counted_is_the_last_step() -> None:
    endless = closed(closed_at=NOON + 10**15)
    assert step_of(endless) == time_step(MAX_MILLISECONDS)


def test_a_call_fails_when_none_of_its_attempts_was_an_answer() -> None:
    first = {"outcome": "failed", "status": 500, "delivered": False, "usage_source": "none"}
    retried = closed(**first, tokens=None)
    second = closed(attempt=2, attempt_id="c0ffee-2")
    timed_out = closed(**first | {"outcome": "timeout"}, tokens=None)
    shown = closed(**first | {"delivered": True}, tokens=None)
    wrong = closed(**first | {"outcome": "client_error", "delivered": True}, tokens=None)
    shadow = closed(side="shadow", delivered=False)
    assert answer_figures(shadow) is None

    def failed(*attempts: object) -> tuple[int, int]:
        return failed_calls([answer_figures(one) for one in attempts])  # type: ignore[arg-type, misc]

    assert failed(retried, second) == (0, 1)
    assert failed(retried, second, timed_out, shown, wrong) == (2, 4)
    assert failed(second) == (0, 0)
