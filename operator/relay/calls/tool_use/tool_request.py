"""Requests to /mcp: a message of either era of the protocol by POST, and a session's stream and end by GET and DELETE."""

import time
from typing import Final

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.path_table import HandlerFactory
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.answering import COMMENT
from relay.calls.tool_use.message_admission import TooMany, with_seats
from relay.calls.tool_use.resumption.kept_calls import KeptCalls
from relay.calls.tool_use.resumption.resumed_request import ResumedRequest, is_of_a_call
from relay.calls.tool_use.server_stream import ServerStream
from relay.calls.tool_use.session_access import holder_of, is_of_a_page, new_nonce, secret_of
from relay.calls.tool_use.session_request import RELEASE, SessionRequest
from relay.calls.tool_use.session_stream import SessionEnd, SessionStream
from relay.calls.tool_use.single_calls.call_memory import CallMemory
from relay.calls.tool_use.subscription_stream import ListeningReader, SubscriptionStream
from relay.calls.tool_use.tool_record import record_of
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection
from relay.http.headers import Field
from relay.http.message import Request
from relay.http.request_handler import RequestHandler
from relay.random_ids import random_id
from relay.routing.snapshot import ToolAccess
from relay.tools.decisions import Own, Passed, Spread
from relay.tools.discovery import discover_body, unsupported_version_data
from relay.tools.gate import Gate
from relay.tools.methods import Rule
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import MODERN_VERSION, Era
from relay.tools.reading.messages import CLIENT_BOUNDS, Kind, Message, read_message
from relay.tools.reading.mirrored_headers import (
    MirroredHeaders,
    check,
    check_given,
    era_of,
    name_header,
)
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.subscriptions import Subscription

_MEDIA_TYPE: Final = b"application/json"
_PARAMETER: Final = b"mcp-param-"
_ACCEPTED: Final = (
    b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
)


class ToolRequest(SessionRequest, ListeningReader):
    """One message and its answer."""

    __slots__ = ("_quiet_since", "_subscription", "_was_kept_alive")

    def __init__(
        self,
        context: CallContext,
        connection: ClientConnection,
        request: Request,
        memory: CallMemory,
        kept: KeptCalls,
    ) -> None:
        super().__init__(context, connection, request, memory, kept)
        self._subscription: SubscriptionStream | None = None
        # one that was not can be told nothing by it
        self._was_kept_alive = False
        self._quiet_since = 0.0

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
        self._message = message
        self._id_text = message.id_text
        headers = _mirrored(self.request.headers)
        era = era_of(message, headers)
        if era is not None:
            self._era = era
        call_id = random_id(32)
        self._record = record_of(
            message,
            self._era,
            caller,
            access.permissions,
            call_id=call_id,
            request_id=self._request_id,
            request_bytes=len(self.request.body),
            received_at=self.request.received_at,
        )
        seal = StateSeal(
            secret=secret_of(self._context, caller, access),
            caller=holder_of(caller),
            now=time.time(),
            new_nonce=new_nonce,
        )
        if era is Era.LEGACY:
            error = check_given(message, headers)
            if error is None:
                self.tell_session(message, caller, access, seal, call_id)
            else:
                self._send_error(error)
        elif era is Era.MODERN and MODERN_VERSION in access.versions:
            self._tell_modern(message, headers, caller, access, seal, call_id)
        else:
            self._send_unsupported(access)

    def _tell_modern(
        self,
        message: Message,
        headers: MirroredHeaders,
        caller: Caller,
        access: ToolAccess,
        seal: StateSeal,
        call_id: str,
    ) -> None:
        # a notification need not have any
        is_request = message.kind is Kind.REQUEST
        error = (check(message, headers) if is_request else None) or check_given(message, headers)
        if error is ProtocolError.unsupported_version:
            self._send_unsupported(access)
            return
        if error is not None:
            self._send_error(error)
            return
        gate = Gate(access.permissions, Era.MODERN, seal, call_id)
        decision = gate.decide(message)
        if self._record is not None:
            self._record.decided(decision)
        if isinstance(decision, Passed):
            fields = _fields(message, decision, self.request.headers)
            if decision.question.list_kind is None:
                self._pass_on(decision, caller, access, seal, fields)
                return
            self._walk_list(
                message,
                decision,
                caller,
                gate,
                access.permissions,
                lambda passed: self._pass_on(passed, caller, access, seal, fields),
            )
        elif isinstance(decision, Spread):
            # who listens uses nothing: it is a record where something of it is denied
            self._record = None
            self._listen(message, decision, caller, access)
        elif isinstance(decision, ProtocolError):
            self._send_error(decision)
        else:
            self._answer_itself(decision, access)

    def _answer_itself(self, decision: Own, access: ToolAccess) -> None:
        self._record = None
        if decision.rule is Rule.OWN:
            body = discover_body(self._id_text, access.permissions, access.versions, RELEASE)
            self.send(200, own_responses.JSON, body)
        elif decision.rule is Rule.DONE:
            self.send(202, b"", b"")
        else:
            # a subscription to nothing that this tenant has
            self._send_error(ProtocolError.unknown_method)

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def _listen(self, message: Message, spread: Spread, caller: Caller, access: ToolAccess) -> None:
        """Asks the servers to tell of changes; one without a seat, a credential or room in its rate is left out."""
        requests: list[tuple[str, bytes]] = []
        for part in spread.parts:
            auth = self._context.providers.auth_line(access.upstreams[part.server])
            if auth is not None:
                head = access.heads[part.server] + auth
                head += _fields(message, part, self.request.headers)
                body = part.text.encode()
                length = b"content-length: %d\r\n\r\n" % len(body)
                requests.append((part.server, head + length + body))
        seated = with_seats(caller, caller.tenant.tool_seats.streams, requests)
        if isinstance(seated, TooMany):
            self._send_error(seated.error, retry_after_seconds=seated.retry_after_seconds)
            return
        wanted = Subscription(message.params["notifications"], spread.filters, self._id_text)
        self._was_kept_alive = self._connection.keeps_alive(self.request, time.monotonic())
        stream = self._subscription = SubscriptionStream(wanted, access.permissions, self)
        stream.start(
            [
                ServerStream(
                    self._context.providers,
                    place,
                    server,
                    access.upstreams[server],
                    request,
                    seat,
                    stream,
                )
                for place, (server, request, seat) in enumerate(seated)
            ]
        )

    def permissions_now(self) -> Permissions | None:
        caller = self.caller_now()
        access = None if caller is None else caller.snapshot.tools
        is_served = access is not None and MODERN_VERSION in access.versions
        return access.permissions if access is not None and is_served else None

    def message(self, text: str) -> None:
        self._quiet_since = time.monotonic()
        super().message(text)

    def keep_alive(self, now: float) -> None:
        if self._was_kept_alive and not self._connection.keeps_alive(self.request, now):
            if self._subscription is not None:
                self._subscription.end()
        elif now - self._quiet_since >= self._context.stream_keepalive_seconds:
            self._quiet_since = now
            self._writer.body(COMMENT)
            self._writer.flush()

    def pause(self) -> None:
        super().pause()
        if self._subscription is not None:
            self._subscription.pause()

    def resume(self) -> None:
        super().resume()
        if self._subscription is not None:
            self._subscription.resume()

    def _drop_call(self) -> None:
        if self._subscription is not None:
            self._subscription.abort()
        super()._drop_call()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        # it refers to us: let go, or only the collector could free it
        self._subscription = None
        super()._finish(now, keep_alive=keep_alive)

    def _send_unsupported(self, access: ToolAccess) -> None:
        asked = self.request.fields.get(b"mcp-protocol-version", b"").decode("latin-1")
        data = unsupported_version_data(asked, access.versions)
        self._send_error(ProtocolError.unsupported_version, data)


class ToolRequests(HandlerFactory):
    """Makes the handlers of requests for tools."""

    __slots__ = ("_context", "_kept", "_memory")

    def __init__(self, context: CallContext, memory: CallMemory, kept: KeptCalls) -> None:
        self._context = context
        self._memory = memory
        self._kept = kept

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        if request.method == b"GET" and is_of_a_call(request):
            return ResumedRequest(self._context, connection, request, self._kept)
        if request.method == b"GET":
            return SessionStream(self._context, connection, request)
        if request.method == b"DELETE":
            return SessionEnd(self._context, connection, request)
        return ToolRequest(self._context, connection, request, self._memory, self._kept)


def _unfit(request: Request) -> ProtocolError | None:
    """Returns why a request is refused whatever its message says."""
    if is_of_a_page(request):
        return ProtocolError.forbidden_origin
    media_type = request.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return None if media_type == _MEDIA_TYPE else ProtocolError.unsupported_media_type


def _mirrored(headers: list[Field]) -> MirroredHeaders:
    return MirroredHeaders(
        version=_all_of(headers, b"mcp-protocol-version"),
        method=_all_of(headers, b"mcp-method"),
        name=_all_of(headers, b"mcp-name"),
    )


def _all_of(headers: list[Field], name: bytes) -> str | None:
    """Returns the field's value; of one that stands twice both, which is no value that anything could have."""
    # blanks around a value are not part of it (RFC 9110, section 5.5)
    values = [value.strip(b" \t") for given, value in headers if given == name]
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
