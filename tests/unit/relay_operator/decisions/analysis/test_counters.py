"""Counter histories: increases that faults of the measurement cannot fake."""

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.counters import CounterHistory


def a_history(*samples: tuple[float, float], incarnation: float = 1.0) -> CounterHistory:
    history = CounterHistory(keep_seconds=100)
    for at, value in samples:
        history.observe(at, value, incarnation=incarnation)
    return history


def test_increase_counts_from_the_last_sample_before_the_moment() -> None:
    assert a_history((10, 100), (12, 103), (14, 110)).increase_since(13) == 7


def test_increase_of_a_series_younger_than_the_moment_counts_from_its_first_sample() -> None:
    assert a_history((10, 5), (12, 8)).increase_since(0) == 3


def test_a_restarted_process_begins_at_zero_and_loses_nothing() -> None:
    history = a_history((10, 100), (12, 110))
    history.observe(14, 4, incarnation=2.0)
    history.observe(16, 9, incarnation=2.0)
    assert history.increase_since(12) == 9
    assert history.increase_since(10) == 19


def test_a_step_backwards_of_the_same_process_is_ignored() -> None:
    history = a_history((10, 100), (12, 50), (14, 101))
    assert history.increase_since(0) == 1


def test_samples_out_of_order_are_ignored() -> None:
    assert a_history((10, 100), (14, 110), (12, 500)).increase_since(0) == 10


def test_an_empty_history_counts_nothing_and_is_old() -> None:
    history = CounterHistory(keep_seconds=1)
    assert (history.increase_since(0), history.newest) == (0, 0)


def test_samples_older_than_kept_leave_but_one_to_count_from() -> None:
    history = a_history(*((float(at), float(at)) for at in range(0, 1000, 2)))
    assert len(history.samples) <= 52
    assert history.increase_since(900) == 98


@given(
    st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(0, 50), st.booleans()), min_size=1, max_size=40
    )
)
def test_increase_is_what_was_really_counted(steps: list[tuple[float, float, bool]]) -> None:
    history, at, value, counted, incarnation = CounterHistory(keep_seconds=1e9), 0.0, 0.0, 0.0, 1.0
    history.observe(0.0, 0.0, incarnation=incarnation)
    for gap, increment, restarts in steps:
        at += gap
        if restarts:
            incarnation, value = incarnation + 1, 0.0
        value += increment
        counted += increment
        history.observe(at, value, incarnation=incarnation)
    assert abs(history.increase_since(0.0) - counted) < 1e-6
