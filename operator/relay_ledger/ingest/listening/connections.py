"""Bounds connections: a client that sends its head a byte a second, or opens thousands, costs nobody else anything.

The HTTP library bounds neither the time of a head nor the number of connections. Batches of a tenant are bounded where its token is known (BookingDesk).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, Protocol

HEAD_SECONDS: Final = 10.0
"""From the first byte of a head to its last."""
IDLE_SECONDS: Final = 75.0
"""Without a byte, before the first request and between two."""
REQUEST_SECONDS: Final = 300.0
"""From a head to the end of its answer; bodies and databases have closer bounds, readers that do not read have this one."""


class Phase(Enum):
    """A phase of a connection, by the seconds that it may last."""

    IDLE = IDLE_SECONDS
    HEAD = HEAD_SECONDS
    REQUEST = REQUEST_SECONDS


ENDED_BY: Final = {Phase.IDLE: "idle", Phase.HEAD: "slow_head", Phase.REQUEST: "slow_request"}
"""Reasons for ending a connection that lasts too long, by its phase."""
REASONS: Final = (*ENDED_BY.values(), "address", "full")
"""Every reason: address has as many as it may, or it made room where all places are taken."""


class Peer(Protocol):
    """A connection that can be ended at once."""

    def end(self) -> None: ...


class Connection:
    """Notes of one connection: whose it is, what it does, and since when."""

    __slots__ = ("address", "peer", "phase", "since")

    def __init__(self, peer: Peer, address: str, now: float) -> None:
        self.peer: Final = peer
        self.address: Final = address
        self.phase = Phase.IDLE
        self.since = now

    def moves_to(self, phase: Phase, now: float) -> None:
        """Notes that another phase begins."""
        self.phase = phase
        self.since = now

    def is_overdue(self, now: float) -> bool:
        """Tells whether its phase lasts too long."""
        return now - self.since > self.phase.value


class Connections:
    """All of one port. ended is called with the reason and the address of each that is ended, or not let in."""

    def __init__(
        self,
        *,
        most: int,
        most_per_address: int,
        ended: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._ended = ended
        self._clock = clock
        self._open: dict[Connection, None] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, peer: Peer, address: str) -> Connection | None:
        """Lets a connection in; None where its address has as many as it may.

        Where all places are taken, the address that has most of them gives one up: one that has no request in hand, the one that waits
        for longest.
        """
        if self._by_address[address] >= self._most_per_address:
            self._ended("address", address)
            return None
        if len(self._open) >= self._most and not self._makes_room():
            self._ended("full", address)
            return None
        connection = Connection(peer, address, self._clock())
        self._open[connection] = None
        self._by_address[address] += 1
        return connection

    def moves_to(self, connection: Connection, phase: Phase) -> None:
        """Notes that another phase of it begins."""
        connection.moves_to(phase, self._clock())

    def leaves(self, connection: Connection) -> None:
        """Notes that one is closed; again does no harm."""
        if connection in self._open:
            del self._open[connection]
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]

    def look(self) -> None:
        """Ends what lasts too long."""
        now = self._clock()
        for connection in [one for one in self._open if one.is_overdue(now)]:
            self._end(connection, ENDED_BY[connection.phase])

    def _makes_room(self) -> bool:
        for address, _ in self._by_address.most_common():
            waiting = min(self._waiting(address), key=lambda one: one.since, default=None)
            if waiting is not None:
                self._end(waiting, "full")
                return True
        return False

    def _waiting(self, address: str) -> Iterator[Connection]:
        return (
            one for one in self._open if one.address == address and one.phase is not Phase.REQUEST
        )

    def _end(self, connection: Connection, reason: str) -> None:
        self.leaves(connection)
        self._ended(reason, connection.address)
        connection.peer.end()
