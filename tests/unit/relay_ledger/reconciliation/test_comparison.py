"""Differences: flagged by integers, and divided among causes that always sum to them."""

from hypothesis import given
from hypothesis import strategies as st

from relay_ledger.reconciliation.comparison import (
    CAUSES,
    Evidence,
    explained,
    is_apart,
    multiple_of,
    summed,
)

COUNTS = st.integers(0, 10**15)
EVIDENCE = st.dictionaries(
    st.sampled_from(CAUSES[:-1]), st.builds(Evidence, more=COUNTS, less=COUNTS), max_size=6
)


def test_one_percent_is_not_apart_and_one_more_is() -> None:
    assert not is_apart(10_100, 10_000)
    assert not is_apart(9_900, 10_000)
    assert is_apart(10_101, 10_000)
    assert is_apart(9_899, 10_000)
    assert not is_apart(0, 0)
    assert is_apart(1, 0)
    # a float would not see it
    assert is_apart(10**17 * 101 + 1, 10**19)


@given(COUNTS, COUNTS, EVIDENCE)
def test_causes_sum_to_the_difference(
    ours: int, theirs: int, evidence: dict[str, Evidence]
) -> None:
    one = explained("x", ours=ours, theirs=theirs, evidence=evidence)  # type: ignore[arg-type]
    assert sum(one.parts.values()) == one.amount
    assert all((part > 0) == (one.amount > 0) for part in one.parts.values())
    for cause, part in one.parts.items():
        found = evidence.get(cause, Evidence())
        assert cause == "unexplained" or part <= found.more
        assert cause == "unexplained" or -part <= found.less


@given(st.lists(st.tuples(COUNTS, COUNTS, EVIDENCE), max_size=8))
def test_causes_of_a_month_sum_too(rows: list[tuple[int, int, dict[str, Evidence]]]) -> None:
    month = summed(
        "x",
        [
            explained("x", ours=ours, theirs=theirs, evidence=evidence)  # type: ignore[arg-type]
            for ours, theirs, evidence in rows
        ],
    )
    assert sum(month.parts.values()) == month.amount


def test_a_multiple_of_cached_tokens_is_known_to_one_percent() -> None:
    assert multiple_of(200_100, 100_000) == Evidence(more=200_000)
    assert multiple_of(-100_000, 100_000) == Evidence(less=100_000)
    assert multiple_of(150_000, 100_000) == Evidence()
    assert multiple_of(400_000, 100_000) == Evidence()
    assert multiple_of(1, 0) == Evidence()
    assert multiple_of(0, 5) == Evidence()
