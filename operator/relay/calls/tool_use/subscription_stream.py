"""Streams changes to a client without a session for as long as it listens (subscriptions/listen of MCP 2026-07-28)."""

import asyncio
import time
from abc import abstractmethod
from typing import Final

from mypy_extensions import trait

from relay.calls.tool_use.server_stream import ServerStream, StreamReader
from relay.calls.tool_use.tool_call import AnswerReader
from relay.tools.permissions import Permissions
from relay.tools.reading.event_stream import Event
from relay.tools.reading.messages import SERVER_BOUNDS, Kind, Message, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.subscriptions import Subscription, is_acknowledgement

ACKNOWLEDGED_SECONDS: Final = 5.0
"""For the servers to say what they will tell of; one that takes longer tells of its lists alone."""
TICK_SECONDS: Final = 1.0


@trait
class ListeningReader(AnswerReader):
    """Takes what a listening client gets, and says for how long it may listen."""

    @abstractmethod
    def permissions_now(self) -> Permissions | None:
        """Returns what the caller may use now; None if it may not go on listening."""

    @abstractmethod
    def keep_alive(self, now: float) -> None:
        """Called about once a second while the client listens."""


class SubscriptionStream(StreamReader):
    """Lives from `start` to the reader's last call or `abort`.

    It ends where a server ends its part: the client has missed something from then on, and asks anew. So it does where another
    manifest would have it ask others.
    """

    __slots__ = (
        "_acknowledged",
        "_is_acknowledged",
        "_is_over",
        "_live",
        "_permissions",
        "_reader",
        "_streams",
        "_subscription",
        "_tick_timer",
        "_wait_timer",
    )

    def __init__(
        self, subscription: Subscription, permissions: Permissions, reader: ListeningReader
    ) -> None:
        self._subscription = subscription
        self._permissions = permissions
        self._reader = reader
        self._streams: list[ServerStream] = []
        self._acknowledged: set[int] = set()
        self._live: set[int] = set()
        self._is_acknowledged = self._is_over = False
        self._wait_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None

    def start(self, streams: list[ServerStream]) -> None:
        """Asks the servers; each stream's place is the one that it has in the list."""
        self._streams = streams
        self._live = set(range(len(streams)))
        loop = asyncio.get_running_loop()
        self._wait_timer = loop.call_later(ACKNOWLEDGED_SECONDS, self._time_up)
        self._tick_timer = loop.call_later(TICK_SECONDS, self._tick)
        self._acknowledge_if_all_said()
        for stream in list(self._streams):
            stream.start()

    def abort(self) -> None:
        """Ends it without telling so."""
        self._is_over = True
        for timer in (self._wait_timer, self._tick_timer):
            if timer is not None:
                timer.cancel()
        self._wait_timer = self._tick_timer = None
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.abort()

    def pause(self) -> None:
        """Stops reading the servers for now."""
        for stream in self._streams:
            stream.pause()

    def resume(self) -> None:
        """Reads the servers again."""
        for stream in list(self._streams):
            stream.resume()

    # -- StreamReader ----------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Waits for what the server says first."""

    def arrived(self, place: int, server: str, event: Event) -> bool:
        if not event.data:
            return True
        message = read_message(event.data, SERVER_BOUNDS)
        if not isinstance(message, Message) or message.kind is not Kind.NOTIFICATION:
            return False
        if not self._is_in_force():
            return True
        if place not in self._acknowledged:
            return self._take_acknowledgement(place, server, message)
        if self._is_acknowledged:
            text = self._subscription.told(server, message, self._permissions)
            if text is not None:
                self._reader.message(text)
        return True

    def _take_acknowledgement(self, place: int, server: str, message: Message) -> bool:
        """Takes what a server has to say before anything else; what it says too late the client was not told of."""
        if not is_acknowledgement(message):
            return False
        self._acknowledged.add(place)
        if not self._is_acknowledged:
            self._subscription.honour(server, message)
            self._acknowledge_if_all_said()
        return True

    def closed(self, place: int) -> None:
        self._live.discard(place)
        if self._is_over:
            return
        if self._is_acknowledged and place in self._acknowledged:
            self._end()
        else:
            self._acknowledge_if_all_said()

    def crashed(self, error: Exception) -> None:
        self.abort()
        self._reader.crashed(error)

    # -- what changes under way ------------------------------------------------------------------------------------

    def _acknowledge_if_all_said(self) -> None:
        if not self._is_acknowledged and self._live <= self._acknowledged:
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._subscription.is_empty:
            # no server of it tells of anything that was asked for
            self.abort()
            self._reader.failed(ProtocolError.unknown_method)
            return
        self._is_acknowledged = True
        self._reader.message(self._subscription.acknowledgement())

    def _time_up(self) -> None:
        self._wait_timer = None
        try:
            if not self._is_acknowledged and not self._is_over:
                self._acknowledge()
        except (
            Exception
        ) as error:  # a fault of our own ends this stream: nobody above a timer would
            self.crashed(error)

    def _tick(self) -> None:
        self._tick_timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        try:
            if self._is_in_force() and self._is_acknowledged:
                self._reader.keep_alive(time.monotonic())
        except (
            Exception
        ) as error:  # a fault of our own ends this stream: nobody above a timer would
            self.crashed(error)

    def _is_in_force(self) -> bool:
        """Returns whether the client goes on listening; tells it of lists that may have changed."""
        if self._is_over:
            return False
        permissions = self._reader.permissions_now()
        if permissions is None:
            self._end()
            return False
        before, self._permissions = self._permissions, permissions
        if before.revision == permissions.revision:
            return True
        if self._is_acknowledged:
            for text in self._subscription.changed(before, permissions):
                self._reader.message(text)
        if self._subscription.is_the_same_under(permissions):
            return True
        self._end()
        return False

    def end(self) -> None:
        """Ends it in order."""
        if not self._is_over:
            self._end()

    def _end(self) -> None:
        self.abort()
        self._reader.answered(200, self._subscription.end(), "ok")
