"""The stream in which a tool server says what changes there, for as long as somebody reads it."""

from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import trait

from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.tool_use.server_receiver import ServerReceiver
from relay.dialect.answers.hidden_secret import without_secret
from relay.http.headers import Field
from relay.http.upstream import UpstreamConnection
from relay.routing.snapshot import Upstream
from relay.tools.reading.event_stream import Event, EventReader, EventTooLarge
from relay.tools.reading.messages import SERVER_BOUNDS
from relay.tools.seats import Seat

SILENCE_SECONDS: Final = 3600.0
"""A server that says nothing for so long is let go of: its stream may have been cut off where nobody can tell."""
_EVENTS: Final = b"text/event-stream"


@trait
class StreamReader(ABC):
    """Takes what the streams of servers bring."""

    @abstractmethod
    def opened(self) -> None:
        """Takes that a server has a stream."""

    @abstractmethod
    def arrived(self, place: int, server: str, event: Event) -> bool:
        """Takes an event, perhaps one that only names an id; returns whether it was one that a server may send."""

    @abstractmethod
    def closed(self, place: int) -> None:
        """Takes that a server has no stream, or none any more; the last call of its stream."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Takes an exception in the handling of a stream, which has ended it."""


class ServerStream(ServerReceiver):
    """One server's stream of what changes there. place is what its reader knows it by; is_taken says that its server has another one."""

    __slots__ = (
        "_credential",
        "_events",
        "_origin",
        "_place",
        "_reader",
        "_request",
        "_seat",
        "_server",
        "is_taken",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        place: int,
        server: str,
        upstream: Upstream,
        request: bytes,
        seat: Seat,
        reader: StreamReader,
    ) -> None:
        super().__init__(providers)
        self._place = place
        self._server = server
        self._origin = upstream.origin
        self._credential = providers.credential(upstream)
        self._request = request
        self._seat = seat
        self._reader = reader
        self._events: EventReader | None = None
        self.is_taken = False

    def start(self) -> None:
        """Asks the server for its stream."""
        self._acquire(self._origin)

    def abort(self) -> None:
        """Ends the stream without telling so."""
        self._is_over = True
        self._seat.leave()
        self._let_go()

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        if self._is_over:
            connection.close()
            return
        self._connection = connection
        connection.send(
            self,
            [self._request],
            now,
            first_byte=self._providers.first_byte_timeout,
            idle=SILENCE_SECONDS,
        )

    def response(self, status: int, headers: list[Field], now: float) -> None:
        media_type = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if self._is_over:
            return
        if status == 200 and media_type == _EVENTS:
            self._events = EventReader(SERVER_BOUNDS.size, with_ids=True)
            self._reader.opened()
        self.is_taken = status == 409

    def body_received(self, data: bytes, now: float) -> None:
        if self._is_over or self._events is None:
            return
        try:
            self._read_events(self._events, data)
        except EventTooLarge:
            self._end()

    def read_ended(self, now: float, *, completed: bool) -> None:
        if not self._is_over and (completed or self._events is None):
            if completed:
                self._connection = None
            self._end_events()

    def _lost(self) -> None:
        self._end()

    def _events_ended(self) -> None:
        self._end()

    def crashed(self, error: Exception) -> None:
        self.abort()
        self._reader.crashed(error)

    def _take_event(self, event: Event) -> None:
        event = event._replace(data=without_secret(self._credential, event.data))
        if not self._reader.arrived(self._place, self._server, event) and not self._is_over:
            self._end()

    def _end(self) -> None:
        self.abort()
        self._reader.closed(self._place)
