"""Seats at tool servers: there are never more than stated, and whoever holds less than its own part gets one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.tools.seats import MOST_CALLS, MOST_ROUNDS, Seat, SharedSeats, ToolSeats

fast = settings(deadline=None, database=None)


def filled(seats: ToolSeats, server: str, key: str, *, servers: int, keys: int) -> list[Seat]:
    """Takes seats for calls until there are none."""
    found: list[Seat] = []
    while (seat := seats.calls.take(server, key, servers=servers, keys=keys)) is not None:
        found.append(seat)
    return found


@fast
@given(
    most=st.integers(1, 64),
    parties=st.integers(1, 40),
    moves=st.lists(st.tuples(st.booleans(), st.integers(0, 39)), max_size=300),
)
def test_nobody_takes_what_is_kept_for_another(
    most: int, parties: int, moves: list[tuple[bool, int]]
) -> None:
    seats = SharedSeats()
    held = dict.fromkeys((str(number) for number in range(parties)), 0)
    kept = most // (2 * parties)
    for leaves, number in moves:
        party = str(number % parties)
        if leaves and held[party]:
            seats.give_back(party)
            held[party] -= 1
        elif seats.has_room(party, parties=parties, most=most):
            seats.take(party)
            held[party] += 1
        assert sum(held.values()) <= most
        for one, count in held.items():
            if count < kept:
                assert seats.has_room(one, parties=parties, most=most)


@pytest.mark.parametrize("servers", [2, 3, 16])
def test_a_server_that_keeps_all_it_can_leaves_every_other_one_its_part(servers: int) -> None:
    seats = ToolSeats()
    kept = MOST_CALLS // (2 * servers)
    flood = filled(seats, "silent", "production", servers=servers, keys=1)
    assert len(flood) == MOST_CALLS - kept * (servers - 1)
    for number in range(servers - 1):
        assert len(filled(seats, f"s{number}", "production", servers=servers, keys=1)) == kept
    flood[0].leave()
    flood[0].leave()
    assert len(filled(seats, "silent", "production", servers=servers, keys=1)) == 1


def test_one_server_and_one_key_have_all_seats() -> None:
    assert len(filled(ToolSeats(), "erp", "production", servers=1, keys=1)) == MOST_CALLS


def test_a_key_leaves_the_others_their_part_of_a_server() -> None:
    seats = ToolSeats()
    assert len(filled(seats, "erp", "production", servers=1, keys=4)) == MOST_CALLS - 3 * 8
    for key in ("staging", "batch", "night"):
        assert len(filled(seats, "erp", key, servers=1, keys=4)) == 8


def test_rounds_at_one_server_take_none_of_anothers() -> None:
    rounds = ToolSeats().rounds
    for server in ("silent", "erp"):
        for _ in range(MOST_ROUNDS):
            assert rounds.take(server, "production", servers=2, keys=1) is not None
        assert rounds.take(server, "production", servers=2, keys=1) is None


def test_fewer_servers_than_before_leave_seats_that_can_be_left() -> None:
    seats = ToolSeats()
    taken = [*filled(seats, "erp", "a", servers=1, keys=1)]
    assert seats.calls.take("mail", "a", servers=2, keys=2) is None
    for seat in taken:
        seat.leave()
    assert len(filled(seats, "mail", "a", servers=2, keys=1)) == MOST_CALLS - 16
