"""Bounds the connections of the admin port, which aiohttp does not: their number, and the time each request may take.

Whoever reaches the port can open connections and leave requests unfinished. None of that may keep out a probe, a scrape or
the operator's push: they take milliseconds, so at the bound the oldest connection gives way to the newest.
"""

import asyncio
import gc
from collections.abc import Callable
from enum import IntEnum
from typing import Final, cast

MAX_BODIES: Final = 8
"""Requests with a body that are read at a time; each may take a megabyte."""
ANSWER_SECONDS: Final = 30.0
"""From a whole request to the end of its answer: the workers are asked, and the client has to read it."""
COLLECT_AFTER_SECONDS: Final = 0.5
"""From the first connection that gives way to the collection of what it and others leave."""
IDLE_SECONDS: Final = 75.0
"""Without a request; above the interval of usual scrapes."""


class Phase(IntEnum):
    """What a connection waits for, in the order in which connections give way."""

    REQUEST = 0
    BODY = 1
    ANSWER = 2


class AdminConnection(asyncio.Protocol):
    """Stands before the protocol that serves the connection, and watches it."""

    def __init__(self, served: asyncio.Protocol, connections: "AdminConnections") -> None:
        self._served = served
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self.transport: asyncio.Transport | None = None
        self.phase = Phase.REQUEST

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self.enter(Phase.REQUEST, self._connections.request_seconds)
        self._served.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.REQUEST and not self._heard:
            self._heard = True
            self._expire_after(self._connections.request_seconds)
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received()

    def pause_writing(self) -> None:
        self._served.pause_writing()

    def resume_writing(self) -> None:
        self._served.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._connections.remove(self)
        self._served.connection_lost(error)

    def enter(self, phase: Phase, seconds: float) -> None:
        """Notes what the connection waits for from now on, and for how long it may."""
        self.phase = phase
        self._heard = False
        self._expire_after(seconds)

    def read_body(self) -> None:
        """Notes that the head is whole and its body is read; the time of the request goes on."""
        self.phase = Phase.BODY

    def abort(self) -> None:
        """Closes the connection at once, whatever is unsent."""
        if self.transport is not None:
            self.transport.abort()

    def _expire_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)


class AdminConnections:
    """The open connections, oldest first. request_seconds is the time for one whole request."""

    def __init__(self, *, most: int, request_seconds: float) -> None:
        self._most = most
        self.request_seconds = request_seconds
        self._open: dict[AdminConnection, None] = {}
        self._collecting: asyncio.TimerHandle | None = None

    def protocol(self, serve: Callable[[], asyncio.Protocol]) -> Callable[[], AdminConnection]:
        """Makes the factory of watched connections from that of the protocol which serves them."""
        return lambda: AdminConnection(serve(), self)

    def add(self, connection: AdminConnection) -> None:
        """Adds a connection; beyond the bound the oldest of those that have the least to lose is closed."""
        if len(self._open) >= self._most:
            self._close(min(self._open, key=lambda other: other.phase))
        self._open[connection] = None

    def remove(self, connection: AdminConnection) -> None:
        """Forgets a closed connection."""
        self._open.pop(connection, None)

    def reading_body(self, transport: asyncio.BaseTransport | None) -> None:
        """Notes that the body of a request is read; beyond MAX_BODIES the oldest unfinished one is closed."""
        connection = self._of(transport)
        reading = [other for other in self._open if other.phase is Phase.BODY]
        if len(reading) >= MAX_BODIES:
            self._close(reading[0])
        if connection is not None:
            connection.read_body()

    def answering(self, transport: asyncio.BaseTransport | None) -> None:
        """Notes that a request is whole."""
        connection = self._of(transport)
        if connection is not None:
            connection.enter(Phase.ANSWER, ANSWER_SECONDS)

    def answered(self, transport: asyncio.BaseTransport | None) -> None:
        """Notes that an answer is ready to be sent: the connection waits for its next request."""
        connection = self._of(transport)
        if connection is not None:
            connection.enter(Phase.REQUEST, IDLE_SECONDS)
            # the newest last, so that the others give way first
            del self._open[connection]
            self._open[connection] = None

    def _close(self, connection: AdminConnection) -> None:
        del self._open[connection]
        connection.abort()
        if self._collecting is None:
            loop = asyncio.get_running_loop()
            self._collecting = loop.call_later(COLLECT_AFTER_SECONDS, self._collect)

    def _collect(self) -> None:
        """Frees the requests of connections that were closed: each and its exception refer to each other."""
        self._collecting = None
        gc.collect()

    def _of(self, transport: asyncio.BaseTransport | None) -> AdminConnection | None:
        return next((other for other in self._open if other.transport is transport), None)
