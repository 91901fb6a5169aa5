"""A call in a session whose server names the events of its stream: where the stream ends before the answer, the rest is asked for.

Servers end streams on purpose, to hold no connection while a tool runs (MCP SEP-1699), and lose them by accident.
"""

import asyncio
import time
from typing import Final

from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.tool_use.session_access import STREAM_FIELDS, bodiless_request, session_fields
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.http.headers import Field
from relay.http.upstream import Fault, UpstreamConnection
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import bare_text
from relay.tools.decisions import Passed
from relay.tools.reading.eras import Era
from relay.tools.reading.event_stream import Event, EventReader
from relay.tools.reading.messages import SERVER_BOUNDS, Kind, Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.sealed.event_ids import is_server_id
from relay.tools.sealed.sessions import ServerSession
from relay.tools.server_requests import RequestMarks

WAIT_SECONDS: Final = 1.0
"""Before a stream is asked for again whose server names no time, as the official SDKs wait."""
LEAST_WAIT_SECONDS: Final = 0.5
MOST_WAIT_SECONDS: Final = 60.0
MOST_FAILURES: Final = 3
"""In a row: a server that has refused the rest so often, or could not be reached, does not have it."""
PATIENCE_SECONDS: Final = 600.0
"""Without a single event, over all streams of a call: one that is silent for longer is no longer waited for."""
_NOT_NOW: Final = frozenset({409, 429, 500, 502, 503, 504})
"""Statuses of servers that may go on with the stream a little later: 409 is that of those which do not know yet that its connection is gone."""
_EVENTS: Final = b"text/event-stream"


class ResumableCall(ToolCall):
    """Lives as any call. position is the id after which its stream goes on, empty of a call that begins now."""

    __slots__ = (
        "_again",
        "_began_at",
        "_failures",
        "_goes_on",
        "_heard_at",
        "_marks",
        "_position",
        "_retry_milliseconds",
        "_session",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        access: ToolAccess,
        passed: Passed,
        fields: bytes,
        seal: StateSeal,
        reader: AnswerReader,
        place: int,
        session: ServerSession,
        marks: RequestMarks,
        position: str = "",
    ) -> None:
        super().__init__(providers, access, passed, fields, seal, reader, place)
        self._session = session
        self._marks = marks
        self._position = self._began_at = position
        # False while its request itself may be answered
        self._goes_on = bool(position)
        self._failures = 0
        self._retry_milliseconds = -1
        self._heard_at = time.monotonic()
        self._again: asyncio.TimerHandle | None = None

    @property
    def may_have_run(self) -> bool:
        # what a server says of the rest of a stream says nothing of the call
        return self._goes_on or super().may_have_run

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        if self._is_over or not self._goes_on:
            super().connected(connection, now)
            return
        self._connection = connection
        server = self._passed.server
        fields = self._auth + session_fields(self._session) + STREAM_FIELDS
        request = bodiless_request(b"GET", self._access.heads[server], fields, self._position)
        connection.send(
            self,
            [request],
            now,
            first_byte=self._providers.first_byte_timeout,
            idle=self._providers.idle_timeout,
        )
        if self._is_paused:
            connection.pause()

    def response(self, status: int, headers: list[Field], now: float) -> None:
        if self._is_over:
            return
        if not self._goes_on:
            super().response(status, headers, now)
            if self._events is not None:
                self._events = EventReader(SERVER_BOUNDS.size, with_ids=True)
            return
        media_type = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if status == 200 and media_type == _EVENTS:
            self._status = status
            self._events = EventReader(SERVER_BOUNDS.size, with_ids=True)
            self._reader.resumed()
        elif status == 404:
            self._fail(ProtocolError.unknown_session)
        elif status in _NOT_NOW:
            self._refused(ProtocolError.server_unavailable)
        else:
            self._refused(ProtocolError.unknown_event)

    def body_received(self, data: bytes, now: float) -> None:
        if not self._is_refused:
            super().body_received(data, now)

    def read_ended(self, now: float, *, completed: bool) -> None:
        if not self._is_refused:
            super().read_ended(now, completed=completed)
        elif completed:
            self._connection = None

    @property
    def _is_refused(self) -> bool:
        """True while a server says why it does not go on with the stream."""
        return self._goes_on and self._events is None

    def failed(self, fault: Fault) -> None:
        if self._again is None:
            super().failed(fault)
        else:
            self._connection = None

    def _lost(self) -> None:
        if self._is_refused:
            self._refused(ProtocolError.server_unavailable)
        else:
            self._go_on_later(ProtocolError.server_unavailable)

    # -- what was said ---------------------------------------------------------------------------------------------

    def _events_ended(self) -> None:
        self._go_on_later(ProtocolError.invalid_answer)

    def _take_event(self, event: Event) -> None:
        assert self._events is not None
        self._failures = 0
        self._heard_at = time.monotonic()
        if event.id:
            # after one that cannot be shown again, what comes next could not be asked for by the one before it
            self._position = event.id if is_server_id(event.id) else ""
        if self._events.retry_milliseconds >= 0:
            self._retry_milliseconds = self._events.retry_milliseconds
        self._reader.reached(self._position, self._retry_milliseconds, says_more=bool(event.data))
        if not event.data or self._is_over:
            return
        if not self._goes_on:
            super()._take_event(event)
            return
        message = self._message_in(event.data)
        # servers that keep all events of a session tell those of its other streams too, and empty ones
        if isinstance(message, Message) and not self._is_for_another(message):
            self._take_said(message)

    def _told(self, message: Message) -> str | None:
        return bare_text(message, Era.LEGACY) or self._marks.marked(message, self._place)

    def _is_for_another(self, message: Message) -> bool:
        return message.kind is Kind.RESPONSE and message.id != self._passed.question.id

    # -- once more -------------------------------------------------------------------------------------------------

    def _refused(self, error: ProtocolError) -> None:
        """Takes that a server did not go on with the stream; a client that asked for the rest itself is told at once of an event that is unknown."""
        self._failures += 1
        is_final = error is ProtocolError.unknown_event and self._position == self._began_at
        if self._failures >= MOST_FAILURES or is_final:
            self._fail(error)
        else:
            self._go_on_later(error)

    def _go_on_later(self, error: ProtocolError) -> None:
        """Asks for the rest when it is time; ends the call with the error where nothing can be asked for, or nobody may any more."""
        if self._again is not None:
            return
        is_patient = time.monotonic() - self._heard_at < PATIENCE_SECONDS
        if not self._position or not is_patient:
            self._fail(error)
            return
        told = self._retry_milliseconds
        wait = WAIT_SECONDS if told < 0 else told / 1000
        wait = min(MOST_WAIT_SECONDS, max(LEAST_WAIT_SECONDS, wait))
        self._goes_on = True
        self._again = asyncio.get_running_loop().call_later(wait, self._ask_again, error)

    def _ask_again(self, error: ProtocolError) -> None:
        self._again = None
        try:
            server = self._passed.server
            auth = self._providers.auth_line(self._access.upstreams[server])
            if self._reader.permissions_for(self._passed, self._seal) is None:
                self._fail(ProtocolError.withdrawn)
                return
            if auth is None:
                self._fail(error)
                return
            # a receiver that has had its answer, or lost it, waits for another one
            self._let_go()
            self._events = None
            self._has_ended = self._is_lost = self._is_sent_twice = False
            self.start(auth)
        except Exception as raised:  # the call's own fault: no caller of the timer ends it
            self.crashed(raised)

    def _let_go(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        super()._let_go()
