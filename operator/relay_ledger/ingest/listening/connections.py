"""Bounds connections: a client that sends its head a byte a second, or opens thousands, costs nobody else anything.

The HTTP library bounds neither the time of a head nor the number of connections. Batches of a tenant are bounded where its token is known (BookingDesk).
"""

import time
from collections import OrderedDict
from collections.abc import Callable
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


PORTS: Final = 2
"""Of the process, which share its descriptors."""
OWN_DESCRIPTORS: Final = 64
"""For the database, the process's own files, and what waits to be taken in."""
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


class _Address:
    """Connections of one address; those without a request in hand in the order in which they began to wait."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: OrderedDict[Connection, None] = OrderedDict()

    @property
    def longest(self) -> Connection:
        """The one that waits for longest; there has to be one."""
        return next(iter(self.waiting))


def places(descriptors: int, *, most: int, most_per_address: int) -> tuple[int, int]:
    """Returns how many connections a port may have and how many of them an address, where the process may open so many files.

    Where these are what bounds a port, half of it is left to others than the address that has most: requests in hand make no room.
    """
    of_port = max(PORTS, (descriptors - OWN_DESCRIPTORS) // PORTS)
    if of_port >= most:
        return most, most_per_address
    return of_port, min(most_per_address, of_port // 2)


class Connections:
    """All of one port. ended is called with the reason and the address of each that is ended, or not let in.

    Finding one to end takes a look at each address that has one waiting, and at no connection: none, where all are busy.
    """

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
        self._addresses: dict[str, _Address] = {}
        self._with_waiting: dict[str, _Address] = {}

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, peer: Peer, address: str) -> Connection | None:
        """Lets a connection in; None where it is full of requests in hand.

        An address that has as many as it may gives one up, and where all places are taken the one that has most of them: one that has no
        request in hand, the one that waits for longest.
        """
        if not self._makes_room(address):
            return None
        connection = Connection(peer, address, self._clock())
        self._open[connection] = None
        own = self._addresses.setdefault(address, _Address())
        own.count += 1
        self._waits(connection, own)
        return connection

    def moves_to(self, connection: Connection, phase: Phase) -> None:
        """Notes that another phase of it begins."""
        connection.moves_to(phase, self._clock())
        if connection in self._open:
            own = self._addresses[connection.address]
            self._waits_no_more(connection, own)
            if phase is not Phase.REQUEST:
                self._waits(connection, own)

    def leaves(self, connection: Connection) -> None:
        """Notes that one is closed; again does no harm."""
        if connection in self._open:
            del self._open[connection]
            own = self._addresses[connection.address]
            self._waits_no_more(connection, own)
            own.count -= 1
            if not own.count:
                del self._addresses[connection.address]

    def look(self) -> None:
        """Ends what lasts too long."""
        now = self._clock()
        for connection in [one for one in self._open if one.is_overdue(now)]:
            self._end(connection, ENDED_BY[connection.phase])

    def _makes_room(self, address: str) -> bool:
        own = self._addresses.get(address)
        if own is not None and own.count >= self._most_per_address:
            return self._gives_up(own if own.waiting else None, "address", address)
        if len(self._open) >= self._most:
            most = min(
                self._with_waiting.values(),
                key=lambda one: (-one.count, one.longest.since),
                default=None,
            )
            return self._gives_up(most, "full", address)
        return True

    def _gives_up(self, giver: _Address | None, reason: str, address: str) -> bool:
        if giver is None:
            self._ended(reason, address)
            return False
        self._end(giver.longest, reason)
        return True

    def _waits(self, connection: Connection, own: _Address) -> None:
        own.waiting[connection] = None
        self._with_waiting[connection.address] = own

    def _waits_no_more(self, connection: Connection, own: _Address) -> None:
        own.waiting.pop(connection, None)
        if not own.waiting:
            self._with_waiting.pop(connection.address, None)

    def _end(self, connection: Connection, reason: str) -> None:
        self.leaves(connection)
        self._ended(reason, connection.address)
        connection.peer.end()
