"""A session's stream and its end: GET and DELETE of /mcp (MCP 2025-11-25, basic/transports)."""

import asyncio
import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from relay.calls.call_context import CallContext
from relay.calls.own_request import TenantRequest
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.answering import COMMENT, STREAM_HEADERS, error_answer
from relay.calls.tool_use.message_admission import TooMany, with_seats
from relay.calls.tool_use.server_exchange import RoundReader, ServerExchange, ServerRound
from relay.calls.tool_use.server_stream import ServerStream, StreamReader
from relay.calls.tool_use.session_access import (
    LAST_EVENT_HEADER,
    STREAM_FIELDS,
    bodiless_request,
    session_and_access,
    session_binding,
    session_fields,
)
from relay.dialect.endpoints import MCP_LABEL
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import bare_text, may_pass
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.event_stream import Event, mark
from relay.tools.reading.event_stream import event as event_of
from relay.tools.reading.messages import SERVER_BOUNDS, Kind, Message, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.sealed.event_ids import MARKED_SINCE, PositionSeal, is_server_id
from relay.tools.sealed.sealing import NONCE_BYTES
from relay.tools.sealed.sessions import Session
from relay.tools.seats import Seat
from relay.tools.server_requests import RequestMarks

TICK_SECONDS: Final = 1.0
NOWHERE: Final[Mapping[int, str]] = MappingProxyType({})
"""Of requests that begin no stream, or begin it anew."""
_CHANGED: Final = {
    ListKind.TOOLS: "notifications/tools/list_changed",
    ListKind.PROMPTS: "notifications/prompts/list_changed",
    ListKind.RESOURCES: "notifications/resources/list_changed",
}


class SessionStream(TenantRequest, StreamReader):
    """The client's stream, of everything that the servers of its session say of themselves.

    Each message is held to the manifest that is in force when it comes.
    """

    __slots__ = (
        "_live",
        "_marks",
        "_permissions",
        "_position_seal",
        "_positions",
        "_quiet_since",
        "_request_marks",
        "_resumes",
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
        # by places of servers: the last id that each has named
        self._positions: dict[int, str] = {}
        self._position_seal: PositionSeal | None = None
        self._request_marks: RequestMarks | None = None
        self._resumes = self._marks = False
        self._writes = False
        # one that was not can be told nothing by it
        self._was_kept_alive = False
        self._quiet_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, caller: Caller) -> None:
        opened = session_and_access(self.request, self._context, caller)
        if isinstance(opened, Refusal):
            self.refuse(opened)
        elif isinstance(opened, ProtocolError):
            self.send(*error_answer(opened))
        else:
            session, access = opened
            self._permissions = access.permissions
            self._request_marks = RequestMarks(
                session_binding(self.request, self._context, caller, access)
            )
            self._marks = session.version >= MARKED_SINCE
            if not self._takes_up(caller, access):
                self.send(*error_answer(ProtocolError.unknown_event))
                return
            requests = _requests(
                self._context,
                session,
                access,
                b"GET",
                STREAM_FIELDS,
                self._positions,
            )
            seated = with_seats(caller, caller.tenant.tool_seats.streams, requests)
            if isinstance(seated, list):
                self._start(session, access, seated)
            else:
                self.send(*error_answer(seated.error, seated.retry_after_seconds))

    def _takes_up(self, caller: Caller, access: ToolAccess) -> bool:
        """Returns whether the stream begins, or goes on where an id of this session's says that it was."""
        seal = self._position_seal = PositionSeal(
            session_binding(self.request, self._context, caller, access)
        )
        given = [value for name, value in self.request.headers if name == LAST_EVENT_HEADER]
        if not given:
            return True
        positions = seal.opened(given[0].decode("latin-1")) if len(given) == 1 else None
        if positions is None:
            return False
        self._positions = positions
        self._resumes = True
        return True

    def _start(
        self, session: Session, access: ToolAccess, seated: list[tuple[str, bytes, Seat]]
    ) -> None:
        self._streams = [
            ServerStream(
                self._context.providers,
                session.place(server),
                server,
                access.upstreams[server],
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
        self._write(COMMENT)

    def arrived(self, place: int, server: str, event: Event) -> bool:
        if is_server_id(event.id):
            self._positions[place] = event.id
        else:
            # what comes next could not be asked for by the id before it
            self._positions.pop(place, None)
        if not event.data:
            self._mark()
            return True
        message = read_message(event.data, SERVER_BOUNDS)
        if not isinstance(message, Message) or message.kind is Kind.RESPONSE:
            return False
        if not self._is_in_force():
            self._end()
            return True
        permissions, marks = self._permissions, self._request_marks
        if permissions is None or marks is None:
            return True
        if may_pass(message, Era.LEGACY, server, permissions):
            text = bare_text(message, Era.LEGACY) or marks.marked(message, place)
            if text is not None:
                self._write(event_of(text, self._event_id()))
        return True

    def _mark(self) -> None:
        """Tells the client how far the stream has come, for it to go on from there."""
        event_id = self._event_id() if self._marks and self._writes and not self._over else ""
        if event_id:
            self._write(mark(event_id))

    def _event_id(self) -> str:
        seal = self._position_seal
        return "" if seal is None else seal.sealed(self._positions, os.urandom(NONCE_BYTES))

    def closed(self, place: int) -> None:
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
            self._write(COMMENT)

    def _is_in_force(self) -> bool:
        """Returns whether the key and the session still are; tells the client of lists that may have changed."""
        caller = self.caller_now()
        if caller is None:
            return False
        opened = session_and_access(self.request, self._context, caller)
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
                self._write(event_of(f'{{"jsonrpc":"2.0","method":"{method}"}}'))

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
        is_taken = any(stream.is_taken for stream in self._streams)
        self._drop()
        if not self._writes and is_taken:
            self.send(*error_answer(ProtocolError.stream_taken))
            return
        if not self._writes and self._resumes:
            # no server goes on where it was
            self.send(*error_answer(ProtocolError.unknown_event))
            return
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
        opened = session_and_access(self.request, self._context, caller)
        if isinstance(opened, Refusal):
            self.refuse(opened)
            return
        if isinstance(opened, ProtocolError):
            self.send(*error_answer(opened))
            return
        session, access = opened
        requests = _requests(self._context, session, access, b"DELETE", b"")
        seated = with_seats(caller, caller.tenant.tool_seats.rounds, requests)
        if isinstance(seated, TooMany):
            self.send(*error_answer(seated.error, seated.retry_after_seconds))
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
            self.send(*error_answer(ProtocolError.unknown_session))
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


def _requests(
    context: CallContext,
    session: Session,
    access: ToolAccess,
    method: bytes,
    fields: bytes,
    positions: Mapping[int, str] = NOWHERE,
) -> list[tuple[str, bytes]]:
    """Returns the servers of the session, each with its request; a server without its credential is left out.

    positions are those at which streams go on, by the servers' places.
    """
    requests: list[tuple[str, bytes]] = []
    for place, one in enumerate(session.servers):
        auth = context.providers.auth_line(access.upstreams[one.server])
        if auth is not None:
            request = bodiless_request(
                method,
                access.heads[one.server],
                auth + session_fields(one) + fields,
                positions.get(place, ""),
            )
            requests.append((one.server, request))
    return requests
