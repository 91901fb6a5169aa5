"""Versions of a document are the further apart the larger it is; what takes traffic away does not wait for them."""

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.reconcile.publishing.pace import Pace

MIB = 1024 * 1024


def test_the_first_version_and_one_after_a_while_wait_for_nothing() -> None:
    pace = Pace()
    assert pace.wait_seconds(100.0, takes_away=False) == 0
    pace.spend(MIB, 100.0)
    assert pace.wait_seconds(100.0, takes_away=False) == 0.5
    assert pace.wait_seconds(100.5, takes_away=False) == 0


def test_versions_of_a_small_document_wait_for_nothing() -> None:
    pace = Pace()
    pace.spend(8 * 1024, 100.0)
    assert pace.wait_seconds(100.0, takes_away=False) == 0


def test_what_takes_away_waits_for_no_other_change() -> None:
    pace, now = Pace(), 100.0
    for _ in range(100):
        now += pace.wait_seconds(now, takes_away=False)
        pace.spend(MIB, now)
    assert pace.wait_seconds(now, takes_away=False) == 0.5
    for _ in range(4):
        assert pace.wait_seconds(now, takes_away=True) == 0
        pace.spend(MIB, now)
    assert pace.wait_seconds(now, takes_away=True) == 0.5


def test_versions_that_waited_for_nothing_hold_back_what_takes_away_for_one_interval_at_most() -> (
    None
):
    pace, now = Pace(), 100.0
    for _ in range(100):
        now += 0.05
        pace.spend(MIB, now)
    assert pace.wait_seconds(now, takes_away=True) <= 0.5
    assert pace.wait_seconds(now, takes_away=False) <= 5 * 0.5


def test_large_versions_before_a_small_one_hold_back_what_takes_away_no_longer() -> None:
    pace = Pace()
    for _ in range(20):
        pace.spend(MIB, 100.0)
    pace.spend(8 * 1024, 100.0)
    assert pace.wait_seconds(100.0, takes_away=True) <= 0.5


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0, max_value=1), st.booleans(), st.integers(1, MIB), st.booleans()
        ),
        max_size=200,
    )
)
def test_no_more_bytes_than_the_pace_allows_are_made(
    changes: list[tuple[float, bool, int, bool]],
) -> None:
    pace, now, made = Pace(), 100.0, 0
    for seconds, takes_away, size, is_patient in changes:
        now += seconds
        wait = pace.wait_seconds(now, takes_away=takes_away)
        if wait and not is_patient:
            continue
        now += wait
        pace.spend(size, now)
        made += size
    assert made <= 2 * MIB * (now - 100.0) + 8 * MIB + 200 * 0.005 * 2 * MIB
