"""A session's stream and its end: GET and DELETE of /mcp (MCP 2025-11-25, basic/transports)."""

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from mypy_extensions import trait

from relay.calls import own_responses
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.call_context import CallContext
from relay.calls.own_request import TenantRequest
from relay.calls.tenants.caller import Caller, identify
from relay.calls.tool_use.answering import BUSY_SECONDS, STREAM_HEADERS, retry_field
from relay.calls.tool_use.message_admission import seat_at, within_rate
from relay.calls.tool_use.server_exchange import RoundReader, ServerExchange, ServerRound
from relay.calls.tool_use.server_receiver import ServerReceiver
from relay.calls.tool_use.session_access import is_of_a_page, session_fields, session_of
from relay.dialect.endpoints import MCP_LABEL
from relay.dialect.refusals import Refusal
from relay.http.connection_pool import Origin
from relay.http.downstream import ClientConnection
from relay.http.headers import Field
from relay.http.message import Request
from relay.http.upstream import UpstreamConnection
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import may_pass
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.event_stream import EventReader, EventTooLarge, event
from relay.tools.reading.messages import SERVER_BOUNDS, Kind, Message, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.seats import Seat, ServerSeats
from relay.tools.server_requests import marked
from relay.tools.sessions import Session

SILENCE_SECONDS: Final = 3600.0
"""A server that says nothing for so long is let go of: its stream may have been cut off where nobody can tell."""
TICK_SECONDS: Final = 1.0
_EVENTS: Final = b"text/event-stream"
_COMMENT: Final = b": waiting\n\n"
_CHANGED: Final = {
    ListKind.TOOLS: "notifications/tools/list_changed",
    ListKind.PROMPTS: "notifications/prompts/list_changed",
    ListKind.RESOURCES: "notifications/resources/list_changed",
}


@trait
class StreamReader(ABC):
    """Takes what the streams of a session's servers bring."""

    @abstractmethod
    def opened(self) -> None:
        """Takes that a server has a stream."""

    @abstractmethod
    def arrived(self, place: int, server: str, data: bytes) -> bool:
        """Takes an event; returns whether it was one that a server may send."""

    @abstractmethod
    def closed(self) -> None:
        """Takes that a server has no stream, or none any more; the last call of its stream."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Takes an exception in the handling of a stream, which has ended it."""


class ServerStream(ServerReceiver):
    """One server's stream of a session."""

    __slots__ = (
        "_events",
        "_origin",
        "_place",
        "_reader",
        "_request",
        "_seat",
        "_server",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        place: int,
        server: str,
        origin: Origin,
        request: bytes,
        seat: Seat,
        reader: StreamReader,
    ) -> None:
        super().__init__(providers)
        self._place = place
        self._server = server
        self._origin = origin
        self._request = request
        self._seat = seat
        self._reader = reader
        self._events: EventReader | None = None

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
            self._events = EventReader(SERVER_BOUNDS.size)
            self._reader.opened()

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

    def _take_event(self, data: bytes) -> None:
        if not self._reader.arrived(self._place, self._server, data) and not self._is_over:
            self._end()

    def _end(self) -> None:
        self.abort()
        self._reader.closed()


class SessionStream(TenantRequest, StreamReader):
    """The client's stream, of everything that the servers of its session say of themselves.

    Each message is held to the manifest that is in force when it comes.
    """

    __slots__ = (
        "_live",
        "_permissions",
        "_quiet_since",
        "_streams",
        "_timer",
        "_was_kept_alive",
        "_writes",
    )

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request
    ) -> None:
        super().__init__(context, connection, request, MCP_LABEL)
        self._permissions: Permissions | None = None
        self._streams: list[ServerStream] = []
        self._live = 0
        self._writes = False
        # one that was not can be told nothing by it
        self._was_kept_alive = False
        self._quiet_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, caller: Caller) -> None:
        opened = _opened(self.request, self._context, caller)
        if isinstance(opened, Refusal):
            self.refuse(opened)
        elif isinstance(opened, ProtocolError):
            self.send(*_error_answer(opened))
        else:
            session, access = opened
            self._permissions = access.permissions
            requests = _requests(
                self._context, session, access, b"GET", b"accept: text/event-stream\r\n"
            )
            seated = _seated(caller, caller.tenant.tool_seats.streams, requests)
            if isinstance(seated, list):
                self._start(session, access, seated)
            else:
                self.send(*_error_answer(seated.error, seated.retry_after_seconds))

    def _start(
        self, session: Session, access: ToolAccess, seated: list[tuple[str, bytes, Seat]]
    ) -> None:
        self._streams = [
            ServerStream(
                self._context.providers,
                session.place(server),
                server,
                access.upstreams[server].origin,
                request,
                seat,
                self,
            )
            for server, request, seat in seated
        ]
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        self._live = len(self._streams)
        if not self._streams:
            self._end()
        for stream in list(self._streams):
            stream.start()

    # -- StreamReader ----------------------------------------------------------------------------------------------

    def opened(self) -> None:
        if self._writes or self._over:
            return
        now = time.monotonic()
        self._writes = True
        self._was_kept_alive = self._connection.keeps_alive(self.request, now)
        self._writer.begin(
            200,
            STREAM_HEADERS,
            self._common_fields(now),
            stream=True,
            hold=False,
            rewritten=True,
            keep_alive=self._was_kept_alive,
        )
        self._write(_COMMENT)

    def arrived(self, place: int, server: str, data: bytes) -> bool:
        message = read_message(data, SERVER_BOUNDS)
        if not isinstance(message, Message) or message.kind is Kind.RESPONSE:
            return False
        if not self._is_in_force():
            self._end()
            return True
        if self._permissions is not None and may_pass(
            message, Era.LEGACY, server, self._permissions
        ):
            text = marked(message, place)
            if text is not None:
                self._write(event(text))
        return True

    def closed(self) -> None:
        self._live -= 1
        if not self._live and not self._over:
            self._end()

    # -- what changes under way ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._over:
            return
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
        try:
            self._look_around(time.monotonic())
        except Exception as error:  # the stream's own fault: no caller of the timer ends it
            self.crashed(error)

    def _look_around(self, now: float) -> None:
        is_due = self._was_kept_alive and not self._connection.keeps_alive(self.request, now)
        if not self._is_in_force() or is_due:
            self._end()
        elif self._writes and now - self._quiet_since >= self._context.stream_keepalive_seconds:
            self._write(_COMMENT)

    def _is_in_force(self) -> bool:
        """Returns whether the key and the session still are; tells the client of lists that may have changed."""
        caller = self.caller
        if caller is None or not caller.up_to_date:
            found = identify(self.request, self._context.tenants)
            if isinstance(found, Refusal):
                return False
            caller = self.caller = found
        opened = _opened(self.request, self._context, caller)
        if isinstance(opened, Refusal | ProtocolError):
            return False
        _, access = opened
        before, self._permissions = self._permissions, access.permissions
        if before is not None and before.revision != access.permissions.revision:
            self._tell_changes(before, access.permissions)
        return True

    def _tell_changes(self, before: Permissions, after: Permissions) -> None:
        if not self._writes:
            return
        for kind, method in _CHANGED.items():
            if before.servers(kind) or after.servers(kind):
                self._write(event(f'{{"jsonrpc":"2.0","method":"{method}"}}'))

    # -- the end ---------------------------------------------------------------------------------------------------

    def client_gone(self) -> None:
        self._drop()
        super().client_gone()

    def crashed(self, error: Exception) -> None:
        self._drop()
        if self._writes and not self._over:
            self._context.exceptions.note(error)
            self._writer.abort()
            self._finish(time.monotonic(), keep_alive=False)
        else:
            super().crashed(error)

    def pause(self) -> None:
        for stream in self._streams:
            stream.pause()

    def resume(self) -> None:
        for stream in self._streams:
            stream.resume()

    def _write(self, data: bytes) -> None:
        self._quiet_since = time.monotonic()
        self._writer.body(data)
        self._writer.flush()

    def _end(self) -> None:
        """Ends the stream in order; one that never began is refused as a server without streams refuses it."""
        if self._over:
            return
        self._drop()
        if not self._writes:
            self.refuse(Refusal.method_not_allowed, fields=b"allow: POST, DELETE\r\n")
            return
        self._writer.end()
        self._finish(time.monotonic(), keep_alive=self._writer.keep_alive)

    def _drop(self) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.abort()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super()._finish(now, keep_alive=keep_alive)


class SessionEnd(TenantRequest, RoundReader):
    """The end of a session, which its servers are told."""

    __slots__ = ("_round",)

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request
    ) -> None:
        super().__init__(context, connection, request, MCP_LABEL)
        self._round: ServerRound | None = None

    def tell(self, caller: Caller) -> None:
        opened = _opened(self.request, self._context, caller)
        if isinstance(opened, Refusal):
            self.refuse(opened)
            return
        if isinstance(opened, ProtocolError):
            self.send(*_error_answer(opened))
            return
        session, access = opened
        requests = _requests(self._context, session, access, b"DELETE", b"")
        seated = _seated(caller, caller.tenant.tool_seats.rounds, requests)
        if isinstance(seated, _TooMany):
            self.send(*_error_answer(seated.error, seated.retry_after_seconds))
            return
        exchanges = [
            ServerExchange(
                self._context.providers,
                server,
                access.upstreams[server].origin,
                request,
                seat,
            )
            for server, request, seat in seated
        ]
        self._round = ServerRound(exchanges, self)
        self._round.start()

    def round_ended(self, exchanges: list[ServerExchange]) -> None:
        self._round = None
        if exchanges and all(exchange.status == 404 for exchange in exchanges):
            self.send(*_error_answer(ProtocolError.unknown_session))
        else:
            self.send(204, b"", b"")

    def client_gone(self) -> None:
        self._abort()
        super().client_gone()

    def crashed(self, error: Exception) -> None:
        self._abort()
        super().crashed(error)

    def _abort(self) -> None:
        if self._round is not None:
            self._round.abort()
            self._round = None


def _opened(
    request: Request, context: CallContext, caller: Caller
) -> tuple[Session, ToolAccess] | Refusal | ProtocolError:
    """Returns the request's session and what it may reach, or why there is none."""
    access = caller.snapshot.tools
    if access is None:
        return Refusal.unknown_url
    if is_of_a_page(request):
        return ProtocolError.forbidden_origin
    session = session_of(request, context, caller, access)
    return session if isinstance(session, ProtocolError) else (session, access)


def _requests(
    context: CallContext, session: Session, access: ToolAccess, method: bytes, fields: bytes
) -> list[tuple[str, bytes]]:
    """Returns the servers of the session, each with its request; a server without its credential is left out."""
    requests: list[tuple[str, bytes]] = []
    for one in session.servers:
        auth = context.providers.auth_line(access.upstreams[one.server])
        if auth is not None:
            head = method + access.heads[one.server].removeprefix(b"POST")
            requests.append((one.server, head + auth + session_fields(one) + fields + b"\r\n"))
    return requests


class _TooMany(NamedTuple):
    """Why none of a request's servers is sent anything."""

    error: ProtocolError
    retry_after_seconds: float


def _seated(
    caller: Caller, seats: ServerSeats, requests: list[tuple[str, bytes]]
) -> list[tuple[str, bytes, Seat]] | _TooMany:
    """Returns the requests with a seat for each; a server whose rate or whose seats are used up is left out."""
    rate = within_rate(caller, [server for server, _ in requests])
    if rate.is_over:
        return _TooMany(ProtocolError.limited, rate.wait_seconds)
    found = [
        (server, request, seat_at(caller, seats, server))
        for server, request in requests
        if server in rate.servers
    ]
    seated = [(server, request, seat) for server, request, seat in found if seat is not None]
    return seated if seated or not found else _TooMany(ProtocolError.busy, BUSY_SECONDS)


def _error_answer(
    error: ProtocolError, retry_after_seconds: float | None = None
) -> tuple[int, bytes, bytes]:
    """Returns status, fields and body of an error without an id."""
    retry = b"" if retry_after_seconds is None else retry_field(retry_after_seconds)
    return error.status(Era.LEGACY), own_responses.JSON + retry, error.body("", Era.LEGACY)
