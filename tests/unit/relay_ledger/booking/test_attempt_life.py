"""What records change, in whatever order they come: the numbers agree after every step."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_ledger.booking.attempt_life import LedgerPhase, Tally, change_of

HEARD: tuple[LedgerPhase, ...] = ("opened", "closed")
SWEPT: tuple[LedgerPhase, ...] = ("opened", "swept", "closed")
ORDERS = [*permutations(HEARD), *permutations(SWEPT)]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_every_order_ends_the_same_and_the_numbers_agree_on_the_way(
    order: tuple[LedgerPhase, ...],
) -> None:
    tally, in_flight = Tally(), 0
    known: set[LedgerPhase] = set()
    for phase in order:
        change = change_of(known, [phase])
        tally, in_flight = tally + change.tally, in_flight + change.in_flight
        known.add(phase)
        assert tally.in_flight == in_flight
        assert in_flight in (0, 1)
    assert tally == Tally(opened=1, closed=1)


@given(
    known=st.sets(st.sampled_from(["opened", "closed", "swept"])),
    new=st.sets(st.sampled_from(["opened", "closed", "swept"])),
)
def test_records_that_come_together_change_what_they_change_one_by_one(
    known: set[LedgerPhase], new: set[LedgerPhase]
) -> None:
    together = change_of(known, new)
    tally, in_flight, seen = Tally(), 0, set(known)
    for phase in sorted(new):
        change = change_of(seen, [phase])
        tally, in_flight = tally + change.tally, in_flight + change.in_flight
        seen.add(phase)
    assert (together.tally, together.in_flight) == (tally, in_flight)
    assert change_of(known | new, new) == change_of(known, ())


@pytest.mark.parametrize(
    ("phases", "tally", "in_flight"),
    [
        (["opened"], Tally(opened=1), 1),
        (["closed"], Tally(closed=1, unopened=1), 0),
        (["opened", "closed"], Tally(opened=1, closed=1), 0),
        (["opened", "swept"], Tally(opened=1, swept=1), 0),
    ],
)
def test_what_is_open_is_in_flight(phases: list[LedgerPhase], tally: Tally, in_flight: int) -> None:
    change = change_of(set(), phases)
    assert (change.tally, change.in_flight) == (tally, in_flight)
