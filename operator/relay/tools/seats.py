"""Seats of messages to tool servers: what a silent, slow or endless server keeps is its own, and what one API key leaves there is its own.

Half of the seats are kept, in equal parts for each party, and nobody else takes them; the other half is for whoever comes.
"""

from typing import Final

MOST_CALLS: Final = 64
"""Calls to all tool servers that a worker has under way for a tenant; answers of each may take some MiB."""
MOST_ROUNDS: Final = 64
"""Messages of sessions under way at one server, beside the calls, which may be waiting for just these."""
MOST_STREAMS: Final = 64
"""Streams of sessions that are open at one server."""


def kept_for_each(parties: int, most: int) -> int:
    """Returns how many of so many seats are kept for each of so many parties."""
    return most // (2 * parties)


class SharedSeats:
    """Seats that parties share. How many of both there are is said with each question: a manifest may change meanwhile."""

    __slots__ = ("_held", "_taken")

    def __init__(self) -> None:
        self._taken = 0
        self._held: dict[str, int] = {}

    def has_room(self, party: str, *, parties: int, most: int) -> bool:
        """Returns whether the party, one of so many, may take one of so many seats now."""
        free = most - self._taken
        kept = kept_for_each(parties, most)
        if self._held.get(party, 0) < kept:
            return free > 0
        return free > kept * parties - sum(min(held, kept) for held in self._held.values())

    def take(self, party: str) -> None:
        """Takes a seat for the party."""
        self._taken += 1
        self._held[party] = self._held.get(party, 0) + 1

    def give_back(self, party: str) -> None:
        """Frees a seat of the party."""
        self._taken -= 1
        left = self._held[party] - 1
        if left:
            self._held[party] = left
        else:
            del self._held[party]


class Seat:
    """A seat at a server, until it is left; to leave it again changes nothing."""

    __slots__ = ("_pools",)

    def __init__(self, pools: list[tuple[SharedSeats, str]]) -> None:
        self._pools = pools
        for pool, party in pools:
            pool.take(party)

    def leave(self) -> None:
        """Frees the seat."""
        pools, self._pools = self._pools, []
        for pool, party in pools:
            pool.give_back(party)


class ServerSeats:
    """Seats for messages of one kind, for each server, where the tenant's keys share them.

    of_all says that there are no more for all servers together either, and each has what is not kept for the others.
    """

    __slots__ = ("_common", "_most", "_servers")

    def __init__(self, most: int, *, of_all: bool) -> None:
        self._most = most
        self._common = SharedSeats() if of_all else None
        self._servers: dict[str, SharedSeats] = {}

    def take(self, server: str, key: str, *, servers: int, keys: int) -> Seat | None:
        """Takes a seat at a server for a key, each one of so many of the tenant's; None where there is none for them."""
        most = self._most
        taken: list[tuple[SharedSeats, str]] = []
        if self._common is not None:
            if not self._common.has_room(server, parties=servers, most=most):
                return None
            taken.append((self._common, server))
            most -= kept_for_each(servers, most) * (servers - 1)
        own = self._servers.setdefault(server, SharedSeats())
        if not own.has_room(key, parties=keys, most=most):
            return None
        taken.append((own, key))
        return Seat(taken)


class ToolSeats:
    """All seats of one tenant in one worker, by what they are for."""

    __slots__ = ("calls", "rounds", "streams")

    def __init__(self) -> None:
        self.calls = ServerSeats(MOST_CALLS, of_all=True)
        self.rounds = ServerSeats(MOST_ROUNDS, of_all=False)
        self.streams = ServerSeats(MOST_STREAMS, of_all=False)
