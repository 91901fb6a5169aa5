"""Messages whose answers the relay itself reads, to one server or to all of a session."""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import trait

from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.tool_use.server_receiver import ServerReceiver
from relay.http.connection_pool import Origin
from relay.http.headers import Field
from relay.http.upstream import UpstreamConnection
from relay.tools.reading.event_stream import Event, EventReader, EventTooLarge
from relay.tools.reading.json_text import Bounds
from relay.tools.reading.messages import Kind, Message, read_message
from relay.tools.seats import Seat

ANSWER_SECONDS: Final = 10.0
"""For the answers of all servers together; one that takes longer is left out."""
ANSWER_BOUNDS: Final = Bounds(size=256 * 1024, depth=64, brackets=16 * 1024)
"""Of a greeting, with what a server says of itself. Any other answer is not more than its status; a worker may wait for many."""
_EVENTS: Final = b"text/event-stream"


@trait
class ExchangeReader(ABC):
    """Takes the end of an exchange."""

    @abstractmethod
    def exchanged(self) -> None:
        """Called once for each exchange, whatever became of it."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Called after an exception in the handling of an exchange, which has ended it."""


class ServerExchange(ServerReceiver):
    """One request to a server and its answer: status (0 without one), session id, and message if there is one.

    Its seat is free again as soon as it is over, whatever else its round waits for.
    """

    __slots__ = (
        "_body",
        "_crash_reader",
        "_events",
        "_origin",
        "_reader",
        "_request",
        "_seat",
        "answer",
        "server",
        "session_id",
        "status",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        server: str,
        origin: Origin,
        request: bytes,
        seat: Seat,
    ) -> None:
        super().__init__(providers)
        self._origin = origin
        self._request = request
        self._seat = seat
        self._reader: ExchangeReader | None = None
        # stays: the reader itself may have raised
        self._crash_reader: ExchangeReader | None = None
        self._events: EventReader | None = None
        self._body = bytearray()
        self.server = server
        self.status = 0
        self.session_id = ""
        self.answer: Message | None = None

    def start(self, reader: ExchangeReader) -> None:
        """Sends the request as soon as there is a connection."""
        self._reader = self._crash_reader = reader
        self._acquire(self._origin)

    def abort(self) -> None:
        """Ends the exchange without telling so."""
        if self._is_over:
            return
        self._is_over = True
        self._reader = None
        self._seat.leave()
        self._let_go()

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        if self._is_over:
            connection.close()
            return
        self._connection = connection
        connection.send(self, [self._request], now, first_byte=ANSWER_SECONDS, idle=ANSWER_SECONDS)

    def response(self, status: int, headers: list[Field], now: float) -> None:
        self.status = status
        for name, value in headers:
            if name == b"mcp-session-id":
                self.session_id = value.decode("latin-1")
            elif name == b"content-type" and _media_type(value) == _EVENTS:
                self._events = EventReader(ANSWER_BOUNDS.size)

    def body_received(self, data: bytes, now: float) -> None:
        if self._is_over:
            return
        if self._events is not None:
            try:
                self._read_events(self._events, data)
            except EventTooLarge:
                self._end_early()
            return
        self._body += data
        if len(self._body) > ANSWER_BOUNDS.size:
            self._end_early()

    def read_ended(self, now: float, *, completed: bool) -> None:
        if self._is_over or not completed:
            return
        self._connection = None
        if self._events is not None:
            self._end_events()
            return
        if self._body:
            self._take(bytes(self._body))
        self._end()

    def _lost(self) -> None:
        self.status = 0
        self._end()

    def _events_ended(self) -> None:
        self._end()

    def crashed(self, error: Exception) -> None:
        reader = self._crash_reader
        self.abort()
        if reader is not None:
            reader.crashed(error)

    def _take_event(self, event: Event) -> None:
        self._take(event.data)
        if self.answer is not None:
            self._end_early()

    def _take(self, text: bytes) -> None:
        message = read_message(text, ANSWER_BOUNDS)
        if isinstance(message, Message) and message.kind is Kind.RESPONSE:
            self.answer = message

    def _end_early(self) -> None:
        """Ends the exchange while its connection is not free."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._seat.leave()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.exchanged()


@trait
class RoundReader(ABC):
    """Takes the end of a round."""

    @abstractmethod
    def round_ended(self, exchanges: list[ServerExchange]) -> None:
        """Called once, when every server has answered or the time is up."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Called after an exception in the handling of a round, which has ended it."""


class ServerRound(ExchangeReader):
    """Exchanges with several servers at once; it ends with the last of them, or with its time."""

    __slots__ = ("_crash_reader", "_exchanges", "_left", "_reader", "_timer")

    def __init__(self, exchanges: list[ServerExchange], reader: RoundReader) -> None:
        self._exchanges = exchanges
        self._reader: RoundReader | None = reader
        # stays: the reader itself may have raised
        self._crash_reader: RoundReader | None = reader
        self._left = len(exchanges)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Sends the requests."""
        if not self._exchanges:
            self._end()
            return
        self._timer = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._time_up)
        for exchange in self._exchanges:
            exchange.start(self)

    def abort(self) -> None:
        """Ends the round without telling so."""
        self._reader = None
        self._end()

    def crashed(self, error: Exception) -> None:
        reader = self._crash_reader
        self.abort()
        if reader is not None:
            self._crash_reader = None
            reader.crashed(error)

    def _time_up(self) -> None:
        try:
            self._end()
        except Exception as error:  # a fault of our own ends this call: nobody above a timer would
            self.crashed(error)

    def exchanged(self) -> None:
        self._left -= 1
        if not self._left:
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # they refer to the round: let go, or only the collector could free them
        exchanges, self._exchanges = self._exchanges, []
        for exchange in exchanges:
            exchange.abort()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.round_ended(exchanges)


def _media_type(value: bytes) -> bytes:
    return value.partition(b";")[0].strip().lower()
