"""The connection of one message to a tool server, until its answer is read or nobody wants it."""

import asyncio
import time
from abc import abstractmethod
from collections import deque
from typing import Final

from relay.calls.attempts.provider_access import ProviderAccess
from relay.http.connection_pool import Origin, Pool
from relay.http.upstream import Fault, ResponseReceiver, UpstreamConnection
from relay.tools.reading.event_stream import Event, EventReader

MOST_EVENTS: Final = 16
"""Events of a server that are taken at once. Each is decoded in Python, and one read brings thousands of small ones."""
PAUSE_SECONDS: Final = 0.02
"""Before the next ones: other calls of the worker have their turn, whatever a server sends."""


class ServerReceiver(ResponseReceiver):
    """Sends its message again, once, where the server was closing an idle connection and has not a byte of it.

    A server's events are taken a few at a time, and it is not read meanwhile.
    """

    __slots__ = (
        "_connection",
        "_has_ended",
        "_is_lost",
        "_is_over",
        "_is_paused",
        "_is_sent_twice",
        "_pending",
        "_pool",
        "_providers",
        "_timer",
    )

    def __init__(self, providers: ProviderAccess) -> None:
        self._providers = providers
        self._connection: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self._is_over = self._is_sent_twice = False
        self._pending: deque[Event] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # by its reader, which takes no more for now
        self._is_paused = False
        self._has_ended = self._is_lost = False

    def _acquire(self, origin: Origin) -> None:
        """Sends the message as soon as there is a connection."""
        self._pool = self._providers.pool(origin)
        self._pool.acquire(self, time.monotonic())

    @abstractmethod
    def _lost(self) -> None:
        """Called when there will be no answer, or not the rest of one; not after the end."""

    @abstractmethod
    def _take_event(self, event: Event) -> None:
        """Takes one event; not after the end."""

    @abstractmethod
    def _events_ended(self) -> None:
        """Called when every event of an answer that is whole has been taken; not after the end."""

    def _read_events(self, events: EventReader, data: bytes) -> None:
        """Takes the events that are whole now, the first of them at once; raises EventTooLarge."""
        self._pending.extend(events.feed(data))
        if self._timer is None:
            self._take_events()

    def _end_events(self) -> None:
        """Notes that there will be no more events."""
        self._has_ended = True
        if not self._pending:
            self._events_ended()

    def _take_events(self) -> None:
        left = MOST_EVENTS
        while self._pending and left and not self._is_over and not self._is_paused:
            left -= 1
            self._take_event(self._pending.popleft())
        if self._is_over:
            self._pending.clear()
        elif self._pending:
            if not self._is_paused:
                self._wait()
        elif self._is_lost:
            self._lost()
        elif self._has_ended:
            self._events_ended()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._go_on)
        if self._connection is not None:
            self._connection.pause()

    def _go_on(self) -> None:
        self._timer = None
        try:
            self._take_events()
            if not self._pending and not self._is_paused and self._connection is not None:
                self._connection.resume()
        except Exception as error:  # the receiver's own fault: no caller of the timer ends it
            self.crashed(error)

    def pause(self) -> None:
        """Stops reading the server for now."""
        self._is_paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Reads the server again."""
        self._is_paused = False
        if self._timer is None:
            self._go_on()

    def failed(self, fault: Fault) -> None:
        if self._is_over:
            return
        self._connection = None
        pool = self._pool
        if fault == "undelivered" and pool is not None and not self._is_sent_twice:
            self._is_sent_twice = True
            pool.acquire_new(self)
        elif self._pending:
            self._is_lost = True
        else:
            self._lost()

    def _let_go(self) -> None:
        """Drops a connection that is not free by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
