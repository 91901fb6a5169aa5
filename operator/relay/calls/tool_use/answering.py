"""Answers requests of the protocol: in its words, whole or as a stream, with a record of each."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.money.tool_money import ToolMoney, reserve_tool_money
from relay.calls.own_request import TenantRequest
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.list_walk import ListWalk
from relay.calls.tool_use.message_admission import BUSY_SECONDS, seat_at
from relay.calls.tool_use.resumption.call_ids import CallIds
from relay.calls.tool_use.resumption.kept_calls import CallHolder, CallShare
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.calls.tool_use.tool_record import ToolRecord
from relay.dialect.endpoints import MCP_LABEL
from relay.http.downstream import ClientConnection
from relay.http.headers import Field
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome
from relay.tools.decisions import Passed, tool_of
from relay.tools.gate import Gate, still_passes
from relay.tools.list_filter import Page
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.event_stream import event
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.seats import Seat
from relay_contract.billing.tool_call import ToolOutcome

COMMENT: Final = b": waiting\n\n"
"""The comment that keeps an event stream alive while it has no message."""
STREAM_HEADERS: Final[list[Field]] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
]


def retry_field(seconds: float) -> bytes:
    """Renders retry-after, which has whole seconds."""
    return b"retry-after: %d\r\n" % max(1, math.ceil(seconds))


def error_answer(
    error: ProtocolError, retry_after_seconds: float | None = None
) -> tuple[int, bytes, bytes]:
    """Returns status, fields and body of an error without an id."""
    retry = b"" if retry_after_seconds is None else retry_field(retry_after_seconds)
    return error.status(Era.LEGACY), own_responses.JSON + retry, error.body("", Era.LEGACY)


class AnsweringRequest(TenantRequest, AnswerReader, CallHolder):
    """A request that is answered with messages of the protocol. Its era is that of its errors.

    From its first event with an id on, a client may go on with its stream in another request: what becomes of the call is then told to its share.
    """

    __slots__ = (
        "_call",
        "_era",
        "_id_text",
        "_ids",
        "_list_timer",
        "_message",
        "_record",
        "_seat",
        "_share",
        "_streams",
        "_walk",
    )

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request
    ) -> None:
        super().__init__(context, connection, request, MCP_LABEL)
        self._era = Era.MODERN
        self._call: ToolCall | None = None
        self._record: ToolRecord | None = None
        self._id_text = ""
        self._message: Message | None = None
        self._seat: Seat | None = None
        self._streams = False
        self._ids: CallIds | None = None
        self._share: CallShare | None = None
        self._walk: ListWalk | None = None
        self._list_timer: asyncio.TimerHandle | None = None

    def _pass_on(
        self,
        passed: Passed,
        caller: Caller,
        access: ToolAccess,
        seal: StateSeal,
        fields: bytes,
        place: int = -1,
    ) -> None:
        """Sends the message on. place is its server's in the session, -1 without one."""
        auth = self._admitted(passed, caller, access)
        if auth is None:
            return
        if self._record is not None:
            self._record.opened()
        call = self._call = self._call_of(passed, access, fields, seal, self, place)
        if self._walk is not None and self._walk.has_others:
            self._stop_list_timer()
            loop = asyncio.get_running_loop()
            seconds = self._walk.page_seconds
            self._list_timer = loop.call_later(seconds, self._list_time_up)
        call.start(auth)

    def _call_of(
        self,
        passed: Passed,
        access: ToolAccess,
        fields: bytes,
        seal: StateSeal,
        reader: AnswerReader,
        place: int,
    ) -> ToolCall:
        """Returns the call that sends the message on, and tells the reader of its answer."""
        return ToolCall(self._context.providers, access, passed, fields, seal, reader, place)

    def _admitted(self, passed: Passed, caller: Caller, access: ToolAccess) -> bytes | None:
        """Takes a seat at the message's server, within the limits, and returns the credential as a header line; None after an error was sent."""
        auth = self._context.providers.auth_line(access.upstreams[passed.server])
        if auth is None:
            self._not_admitted(ProtocolError.server_unavailable)
            return None
        self._leave_seat()
        self._seat = seat_at(caller, caller.tenant.tool_seats.calls, passed.server)
        if self._seat is None:
            self._not_admitted(ProtocolError.busy, BUSY_SECONDS)
            return None
        return None if self._is_over_limit(caller, passed.server, tool_of(passed)) else auth

    def _is_over_limit(self, caller: Caller, server: str, tool: str = "") -> bool:
        """Charges the tenant one request to the server, and reserves what a call costs; answers one that is beyond a limit. tool is the one that is called, empty without one."""
        now = time.monotonic()
        if tool and self._is_beyond_money(caller, server, tool, now):
            return True
        over = caller.tenant.admission.tool_limiter.admit(server, tool, now=now)
        if over is None:
            return False
        if self._record is not None:
            self._record.limited(over.pattern)
        self._not_admitted(ProtocolError.limited, over.retry_after_seconds)
        return True

    def _is_beyond_money(self, caller: Caller, server: str, tool: str, now: float) -> bool:
        """Reserves what a call costs, up to the end of its record; answers one that the tenant's budget or credit does not cover."""
        if self._record is None:
            return False
        reserved = reserve_tool_money(caller.tenant.spender, server, tool, now)
        if reserved is None:
            return False
        if isinstance(reserved, ToolMoney):
            self._record.reserved(reserved)
            return False
        self._record.limited(reserved.limit)
        self._send_error(reserved.error, retry_after_seconds=reserved.retry_seconds)
        return True

    # -- lists -----------------------------------------------------------------------------------------------------

    def _walk_list(
        self,
        message: Message,
        passed: Passed,
        caller: Caller,
        gate: Gate,
        permissions: Permissions,
        send: Callable[[Passed], None],
    ) -> None:
        """Asks for a page of a list, and for those behind it until one has something. send asks for one."""
        kind = passed.question.list_kind
        assert kind is not None
        self._walk = ListWalk(caller, message, passed, gate, permissions.servers(kind), send)
        self._walk.start()

    def _not_admitted(self, error: ProtocolError, retry_after_seconds: float | None = None) -> None:
        """Answers a request that is not sent. A list has what was found before, or goes on at another server."""
        walk = self._walk
        if walk is not None and walk.found is not None:
            self.answered(200, walk.found.text, "ok")
        elif self._list_goes_on(error):
            return
        elif self._streams:
            self._fail_stream(error)
        else:
            self._send_error(error, retry_after_seconds=retry_after_seconds)

    def _list_goes_on(self, error: ProtocolError | None) -> bool:
        """Returns whether this is a list that is told without the server which failed so, or with None answered with an error of its own."""
        walk = self._walk
        if walk is None or not walk.is_of(self.caller):
            return False
        self._stop_list_timer()
        if walk.leaves_out(error):
            return True
        text = walk.last_page(error)
        if text is not None:
            self._walk = None
            self.answered(200, text, "ok")
        return text is not None

    def _list_time_up(self) -> None:
        self._list_timer = None
        try:
            self._drop_call()
            self.failed(ProtocolError.server_unavailable)
        except (
            Exception
        ) as error:  # a fault of our own ends this request: nobody above a timer would
            self.crashed(error)

    def _stop_list_timer(self) -> None:
        if self._list_timer is not None:
            self._list_timer.cancel()
            self._list_timer = None

    # -- relay.calls.tool_use.tool_call.AnswerReader ---------------------------------------------------------------

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        if self.caller is not None and self.caller.up_to_date:
            tools = self.caller.snapshot.tools
            return None if tools is None else tools.permissions
        caller = self.caller_now()
        tools = None if caller is None else caller.snapshot.tools
        if tools is None or self._message is None:
            return None
        is_same = still_passes(self._message, passed, tools.permissions, seal)
        return tools.permissions if is_same else None

    def reached(self, server_id: str, retry_milliseconds: int, *, says_more: bool) -> None:
        if self._ids is None:
            return
        self._ids.reached(server_id, retry_milliseconds)
        mark = b"" if says_more else self._ids.mark()
        if mark:
            self._keep_call()
            self._write(mark)

    def resumed(self) -> None:
        """Does nothing: the client has a stream already, or none for want of a message."""

    def message(self, text: str) -> None:
        self._write(self._event(text))

    def page(self, status: int, page: Page) -> None:
        walk = self._walk
        self._stop_list_timer()
        if walk is None or not walk.is_of(self.caller) or not walk.leads_on(page):
            self.answered(status, page.text, "ok")

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        if outcome == "protocol_error" and self._list_goes_on(None):
            return
        body = text.encode()
        if not self._streams:
            self._book(outcome, len(body))
            self.send(status, own_responses.JSON, body)
        else:
            told = self._event(text)
            self._book(outcome, len(body))
            self._end_stream(told)

    def failed(self, error: ProtocolError) -> None:
        if self._list_goes_on(error):
            return
        if not self._streams:
            self._send_error(error)
        else:
            self._fail_stream(error)

    def _fail_stream(self, error: ProtocolError) -> None:
        self._book_refusal(error)
        self._end_stream(event(error.body(self._id_text, self._era).decode()))

    def _event(self, text: str) -> bytes:
        """Returns a message as an event, with an id where its client may go on after it."""
        if self._ids is None:
            return event(text)
        told, has_id = self._ids.event(text)
        if has_id:
            self._keep_call()
        return told

    def _keep_call(self) -> None:
        """Has the call kept for whoever goes on with it; there is one that may be."""

    def _write(self, data: bytes) -> None:
        if not self._streams:
            self._begin_stream()
        self._writer.body(data)
        self._writer.flush()

    def _begin_stream(self) -> None:
        now = time.monotonic()
        self._streams = True
        self._writer.begin(
            200,
            STREAM_HEADERS,
            self._common_fields(now),
            stream=True,
            hold=False,
            rewritten=True,
            keep_alive=self._connection.keeps_alive(self.request, now),
        )

    def _end_stream(self, told: bytes = b"") -> None:
        if told:
            self._writer.body(told)
        self._writer.end()
        self._finish(time.monotonic(), keep_alive=self._writer.keep_alive)

    # -- the end ---------------------------------------------------------------------------------------------------

    def client_gone(self) -> None:
        if self._share is not None:
            self._share.left()
        else:
            self._book("cancelled")
        self._drop_call()
        super().client_gone()

    def taken_over(self) -> None:
        self._share = self._record = None
        self._drop_call()
        if self._streams and not self._over:
            self._end_stream()

    def crashed(self, error: Exception) -> None:
        self._book("crashed")
        self._drop_call()
        if self._streams and not self._over:
            self._context.exceptions.note(error)
            self._writer.abort()
            self._finish(time.monotonic(), keep_alive=False)
        else:
            super().crashed(error)

    def pause(self) -> None:
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        if self._call is not None:
            self._call.resume()

    def _book(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        if self._share is not None:
            self._share.ended(outcome, answer_bytes)
        elif self._record is not None:
            self._record.ended(outcome, answer_bytes, time.monotonic())

    def _book_refusal(self, error: ProtocolError) -> None:
        if self._share is not None:
            self._share.refused(error)
        elif self._record is not None:
            self._record.refused(error, time.monotonic())

    def _drop_call(self) -> None:
        self._stop_list_timer()
        if self._call is not None:
            self._call.abort()

    def _leave_seat(self) -> None:
        if self._seat is not None:
            self._seat.leave()
            self._seat = None

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        # the call refers to us: let go, or only the collector could free its text
        self._call = None
        self._walk = None
        self._stop_list_timer()
        # it may be large, and the connection may stay
        self._message = None
        self._share = None
        self._leave_seat()
        super()._finish(now, keep_alive=keep_alive)

    def _send_error(
        self, error: ProtocolError, data: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        self._book_refusal(error)
        retry = b""
        if retry_after_seconds is not None:
            retry = retry_field(retry_after_seconds)
        body = error.body(self._id_text, self._era, data)
        self.send(error.status(self._era), own_responses.JSON + retry, body)
