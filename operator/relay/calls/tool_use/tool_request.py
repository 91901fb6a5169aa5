"""Requests to /mcp: a message of either era of the protocol by POST, and a session's stream and end by GET and DELETE."""

import time
from typing import Final

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.path_table import HandlerFactory
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.session_access import holder_of, is_of_a_page, secret_of
from relay.calls.tool_use.session_request import RELEASE, SessionRequest
from relay.calls.tool_use.session_stream import SessionEnd, SessionStream
from relay.calls.tool_use.tool_record import record_of
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection, RequestHandler
from relay.http.headers import Field
from relay.http.message import Request
from relay.random_ids import random_id
from relay.routing.snapshot import ToolAccess
from relay.tools.decisions import Own, Passed
from relay.tools.discovery import discover_body, unsupported_version_data
from relay.tools.gate import Gate
from relay.tools.methods import Rule
from relay.tools.reading.eras import MODERN_VERSION, Era
from relay.tools.reading.messages import CLIENT_BOUNDS, Kind, Message, read_message
from relay.tools.reading.mirrored_headers import MirroredHeaders, check, era_of, name_header
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal

_MEDIA_TYPE: Final = b"application/json"
_PARAMETER: Final = b"mcp-param-"
_ACCEPTED: Final = (
    b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
)


class ToolRequest(SessionRequest):
    """One message and its answer."""

    __slots__ = ()

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
        )
        if era is Era.LEGACY:
            self.tell_session(message, caller, access, seal, call_id)
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
        # no header of a notification is defined
        error = check(message, headers) if message.kind is Kind.REQUEST else None
        if error is ProtocolError.unsupported_version:
            self._send_unsupported(access)
            return
        if error is not None:
            self._send_error(error)
            return
        decision = Gate(access.permissions, Era.MODERN, seal, call_id).decide(message)
        if self._record is not None:
            self._record.decided(decision)
        if isinstance(decision, Passed):
            fields = _fields(message, decision, self.request.headers)
            self._pass_on(decision, caller, access, seal, fields)
        elif isinstance(decision, Own) and decision.rule is Rule.OWN:
            body = discover_body(self._id_text, access.permissions, access.versions, RELEASE)
            self.send(200, own_responses.JSON, body)
        elif isinstance(decision, Own) and decision.rule is Rule.DONE:
            self.send(202, b"", b"")
        elif isinstance(decision, ProtocolError):
            self._send_error(decision)
        else:
            # changes are not announced as a capability
            self._send_error(ProtocolError.unknown_method)

    def _send_unsupported(self, access: ToolAccess) -> None:
        asked = self.request.fields.get(b"mcp-protocol-version", b"").decode("latin-1")
        data = unsupported_version_data(asked, access.versions)
        self._send_error(ProtocolError.unsupported_version, data)


class ToolRequests(HandlerFactory):
    """Makes the handlers of requests for tools."""

    __slots__ = ("_context",)

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        if request.method == b"GET":
            return SessionStream(self._context, connection, request)
        if request.method == b"DELETE":
            return SessionEnd(self._context, connection, request)
        return ToolRequest(self._context, connection, request)


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
