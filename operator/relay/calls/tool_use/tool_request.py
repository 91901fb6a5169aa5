"""POST /mcp: one message of the protocol's stateless era (2026-07-28)."""

import math
import time
from typing import Final

from relay.accounting.tool_call_event import ToolOutcome
from relay.admission.not_admitted import NotAdmitted
from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.own_request import TenantRequest
from relay.calls.path_table import HandlerFactory
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.calls.tool_use.tool_record import ToolRecord, record_of
from relay.dialect.endpoints import MCP_LABEL
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection, RequestHandler
from relay.http.headers import Field
from relay.http.message import Request
from relay.random_ids import random_id
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome
from relay.tools.decisions import Decision, Own, Passed
from relay.tools.discovery import discover_body, unsupported_version_data
from relay.tools.gate import Gate
from relay.tools.methods import Rule
from relay.tools.reading.eras import MODERN_VERSION, Era
from relay.tools.reading.event_stream import event
from relay.tools.reading.messages import CLIENT_BOUNDS, Kind, Message, read_message
from relay.tools.reading.mirrored_headers import MirroredHeaders, check, era_of, name_header
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal

SERVED: Final = (MODERN_VERSION,)
"""Revisions of the protocol that this path takes."""
MOST_CALLS: Final = 64
"""Calls to tool servers that a worker has under way; answers of each may take some MiB."""
RELEASE: Final = "1"
"""The version that clients are told: that of this path, not of the software."""
_MEDIA_TYPE: Final = b"application/json"
_PARAMETER: Final = b"mcp-param-"
_STREAM_HEADERS: Final[list[Field]] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
]
_ACCEPTED: Final = (
    b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
)


class ToolUse:
    """Counts the calls to tool servers that one worker has under way."""

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = 0


class ToolRequest(TenantRequest, AnswerReader):
    """One message and its answer."""

    __slots__ = ("_call", "_id_text", "_is_counted", "_record", "_streams", "_use")

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request, use: ToolUse
    ) -> None:
        super().__init__(context, connection, request, MCP_LABEL)
        self._use = use
        self._call: ToolCall | None = None
        self._record: ToolRecord | None = None
        self._id_text = ""
        self._is_counted = False
        self._streams = False

    def tell(self, caller: Caller) -> None:
        access = caller.snapshot.tools
        if access is None:
            self.refuse(Refusal.unknown_url)
            return
        error = _unfit(self.request)
        if error is not None:
            self._send_error(error)
            return
        message = read_message(self.request.body, CLIENT_BOUNDS)
        if not isinstance(message, Message):
            self._id_text = message.id_text
            self._send_error(message.error)
            return
        self._id_text = message.id_text
        call_id = random_id(32)
        self._record = record_of(
            message,
            Era.MODERN,
            caller,
            access.permissions,
            call_id=call_id,
            request_id=self._request_id,
            request_bytes=len(self.request.body),
            received_at=self.request.received_at,
        )
        error = self._mismatch(message)
        if error is None:
            self._decide(message, caller, access, call_id)
        elif error is ProtocolError.unsupported_version:
            asked = self.request.fields.get(b"mcp-protocol-version", b"").decode("latin-1")
            self._send_error(error, unsupported_version_data(asked, SERVED))
        else:
            self._send_error(error)

    def _mismatch(self, message: Message) -> ProtocolError | None:
        headers = _mirrored(self.request.headers)
        if era_of(message, headers) is not Era.MODERN:
            return ProtocolError.unsupported_version
        # no header of a notification is defined
        return check(message, headers) if message.kind is Kind.REQUEST else None

    def _decide(self, message: Message, caller: Caller, access: ToolAccess, call_id: str) -> None:
        seal, decision = self._gate(message, caller, access, call_id)
        if self._record is not None:
            self._record.decided(decision)
        if isinstance(decision, Passed):
            self._pass_on(message, decision, caller, access, seal)
        elif isinstance(decision, Own) and decision.rule is Rule.OWN:
            body = discover_body(self._id_text, access.permissions, SERVED, RELEASE)
            self.send(200, own_responses.JSON, body)
        elif isinstance(decision, Own) and decision.rule is Rule.DONE:
            self.send(202, b"", b"")
        elif isinstance(decision, ProtocolError):
            self._send_error(decision)
        else:
            # changes are not announced as a capability
            self._send_error(ProtocolError.unknown_method)

    def _gate(
        self, message: Message, caller: Caller, access: ToolAccess, call_id: str
    ) -> tuple[StateSeal, Decision]:
        secret = self._context.providers.shared_secret(access.upstreams.values())
        # tenants may have one server, and so its credential, in common, and give their keys the same names
        holder = f"{caller.snapshot.document.tenant.uid}/{caller.key.name}"
        seal = StateSeal(secret=secret, caller=holder, now=time.time())
        return seal, Gate(access.permissions, Era.MODERN, seal, call_id).decide(message)

    def _pass_on(
        self,
        message: Message,
        passed: Passed,
        caller: Caller,
        access: ToolAccess,
        seal: StateSeal,
    ) -> None:
        providers = self._context.providers
        auth = providers.auth_line(access.upstreams[passed.server])
        if auth is None:
            self._send_error(ProtocolError.server_unavailable)
            return
        if self._use.under_way >= MOST_CALLS:
            self._send_error(ProtocolError.busy, retry_after_seconds=1.0)
            return
        refused = _over_limit(caller, passed.server)
        if refused is not None:
            self._send_error(ProtocolError.limited, retry_after_seconds=refused.retry_after_seconds)
            return
        self._use.under_way += 1
        self._is_counted = True
        call = self._call = ToolCall(
            providers,
            self._context.exceptions,
            access,
            passed,
            _fields(message, passed, self.request.headers),
            seal,
            self,
        )
        call.start(auth)

    # -- relay.calls.tool_use.tool_call.AnswerReader ---------------------------------------------------------------

    def message(self, text: str) -> None:
        if not self._streams:
            self._begin_stream()
        self._writer.body(event(text))
        self._writer.flush()

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        body = text.encode()
        self._book(outcome, len(body))
        if not self._streams:
            self.send(status, own_responses.JSON, body)
        else:
            self._end_stream(text)

    def failed(self, error: ProtocolError) -> None:
        if not self._streams:
            self._send_error(error)
        else:
            self._book_refusal(error)
            self._end_stream(error.body(self._id_text, Era.MODERN).decode())

    def _begin_stream(self) -> None:
        now = time.monotonic()
        self._streams = True
        self._writer.begin(
            200,
            _STREAM_HEADERS,
            self._common_fields(now),
            stream=True,
            hold=False,
            rewritten=True,
            keep_alive=self._connection.keeps_alive(self.request, now),
        )

    def _end_stream(self, text: str) -> None:
        self._writer.body(event(text))
        self._writer.end()
        self._finish(time.monotonic(), keep_alive=self._writer.keep_alive)

    # -- the end ---------------------------------------------------------------------------------------------------

    def client_gone(self) -> None:
        self._book("cancelled")
        self._drop_call()
        super().client_gone()

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
        if self._record is not None:
            self._record.ended(outcome, answer_bytes, time.monotonic())

    def _book_refusal(self, error: ProtocolError) -> None:
        if self._record is not None:
            self._record.refused(error, time.monotonic())

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.abort()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        # the call refers to us: let go, or only the collector could free its text
        self._call = None
        if self._is_counted:
            self._is_counted = False
            self._use.under_way -= 1
        super()._finish(now, keep_alive=keep_alive)

    def _send_error(
        self, error: ProtocolError, data: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        self._book_refusal(error)
        retry = b""
        if retry_after_seconds is not None:
            retry = b"retry-after: %d\r\n" % max(1, math.ceil(retry_after_seconds))
        body = error.body(self._id_text, Era.MODERN, data)
        self.send(error.status(Era.MODERN), own_responses.JSON + retry, body)


class ToolRequests(HandlerFactory):
    """Makes the handlers of requests for tools."""

    __slots__ = ("_context", "_use")

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self._use = ToolUse()

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        return ToolRequest(self._context, connection, request, self._use)


def _unfit(request: Request) -> ProtocolError | None:
    """Returns why a request is refused whatever its message says.

    A page that a browser shows has no key of a tenant's: whoever names an Origin may be one that was led here by a name of
    its own (DNS rebinding).
    """
    if b"origin" in request.fields:
        return ProtocolError.forbidden_origin
    media_type = request.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return None if media_type == _MEDIA_TYPE else ProtocolError.unsupported_media_type


def _over_limit(caller: Caller, server: str) -> NotAdmitted | None:
    """Charges the caller's tenant one request to the server, or returns why it may not make it now."""
    verdict = caller.tenant.admission.tool_limiter.admit(
        model=server, input_tokens=0, output_tokens=0, now=time.monotonic()
    )
    return verdict if isinstance(verdict, NotAdmitted) else None


def _mirrored(headers: list[Field]) -> MirroredHeaders:
    return MirroredHeaders(
        version=_all_of(headers, b"mcp-protocol-version"),
        method=_all_of(headers, b"mcp-method"),
        name=_all_of(headers, b"mcp-name"),
    )


def _all_of(headers: list[Field], name: bytes) -> str | None:
    """Returns the field's value; of one that stands twice both, which is no value that anything could have."""
    values = [value for given, value in headers if given == name]
    return b", ".join(values).decode("latin-1") if values else None


def _fields(message: Message, passed: Passed, headers: list[Field]) -> bytes:
    """Returns the fields that differ from call to call. Of the client's own only those go on that repeat arguments."""
    lines = [
        _ACCEPTED,
        b"mcp-protocol-version: %b\r\n" % MODERN_VERSION.encode(),
        b"mcp-method: %b\r\n" % message.method.encode(),
    ]
    name = name_header(message, passed.name)
    if name is not None:
        lines.append(b"mcp-name: %b\r\n" % name.encode())
    lines += [b"%b: %b\r\n" % field for field in headers if field[0].startswith(_PARAMETER)]
    return b"".join(lines)
