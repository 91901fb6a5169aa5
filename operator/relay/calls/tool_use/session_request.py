"""Messages of the era with sessions (MCP 2025-11-25): how a session begins, and what is said in it."""

import hashlib
from typing import Final

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.message_admission import BUSY_SECONDS, seat_at, within_rate
from relay.calls.tool_use.resumption.call_ids import CallIds
from relay.calls.tool_use.resumption.kept_calls import KeptCalls, Question
from relay.calls.tool_use.resumption.resumable_call import ResumableCall
from relay.calls.tool_use.server_exchange import RoundReader, ServerExchange, ServerRound
from relay.calls.tool_use.session_access import (
    SESSION_HEADER,
    holder_of,
    new_nonce,
    permissions_in,
    session_binding,
    session_fields,
    session_of,
    session_seal,
    version_field,
)
from relay.calls.tool_use.single_calls.call_memory import CallMemory
from relay.calls.tool_use.single_calls.repeatable_request import RepeatableRequest
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.decisions import MULTI_ROUND, Decision, Own, Passed
from relay.tools.discovery import result_body
from relay.tools.gate import Gate
from relay.tools.handshake import (
    Greeting,
    common_version,
    greeting_of,
    greeting_text,
    initialized_body,
    version_for,
)
from relay.tools.methods import Rule
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Kind, Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.sealed.event_ids import (
    MARKED_SINCE,
    MAX_EVENT_ID_CHARACTERS,
    CallPosition,
    CallPositionSeal,
)
from relay.tools.sealed.sessions import ServerSession, Session, is_session_id
from relay.tools.server_requests import RequestMarks

RELEASE: Final = "1"
"""The version that clients are told: that of this path, not of the software."""
_INITIALIZE: Final = "initialize"
_SET_LEVEL: Final = "logging/setLevel"
_PROGRESS: Final = "notifications/progress"
_NAMING: Final = frozenset({"notifications/cancelled", _PROGRESS})
"""Messages that name a request by the id or token that one side gave it."""
_READ: Final = "resources/read"
_EVENTS: Final = b"text/event-stream"
_MESSAGE: Final = (
    b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
)


class SessionRequest(RepeatableRequest, RoundReader):
    """One message of a session, or the one that begins it."""

    __slots__ = (
        "_access",
        "_began_by",
        "_kept",
        "_round",
        "_session",
        "_wants_result",
    )

    def __init__(
        self,
        context: CallContext,
        connection: ClientConnection,
        request: Request,
        memory: CallMemory,
        kept: KeptCalls,
    ) -> None:
        super().__init__(context, connection, request, memory)
        self._kept = kept
        self._session: Session | None = None
        self._access: ToolAccess | None = None
        self._began_by: Message | None = None
        self._round: ServerRound | None = None
        self._wants_result = False

    def tell_session(
        self, message: Message, caller: Caller, access: ToolAccess, seal: StateSeal, call_id: str
    ) -> None:
        """Answers the message or sends it on."""
        self._access = access
        self._wants_result = message.kind is Kind.REQUEST
        if message.kind is Kind.REQUEST and message.method == _INITIALIZE:
            self._greet(message, caller, access)
            return
        session = session_of(self.request, self._context, caller, access)
        if isinstance(session, ProtocolError):
            self._send_error(session)
            return
        permissions = permissions_in(session, caller.snapshot.document.tenant, access)
        gate = Gate(permissions, Era.LEGACY, seal, call_id)
        decision = gate.decide(message)
        if self._record is not None:
            self._record.decided(decision)
        if isinstance(decision, Passed) and decision.question.list_kind is not None:
            self._walk_list(
                message,
                decision,
                caller,
                gate,
                permissions,
                lambda passed: self._pass_in_session(passed, session, caller, access, seal),
            )
        elif isinstance(decision, Passed) and decision.server:
            self._pass_in_session(decision, session, caller, access, seal)
        else:
            self._act(message, decision, session, access)

    def _pass_in_session(
        self,
        passed: Passed,
        session: Session,
        caller: Caller,
        access: ToolAccess,
        seal: StateSeal,
    ) -> None:
        place = session.place(passed.server)
        if place < 0:
            self._send_error(ProtocolError.server_unavailable)
            return
        self._session = session
        self._name_events(passed, place, session, caller, access)
        fields = _MESSAGE + session_fields(session.servers[place])
        self._pass_on(passed, caller, access, seal, fields, place)

    def _name_events(
        self,
        passed: Passed,
        place: int,
        session: Session,
        caller: Caller,
        access: ToolAccess,
    ) -> None:
        """Has the events of a call's stream named, if its server names them and its client takes a stream. Of lists nothing is lost by asking again."""
        message = self._message
        if message is None or passed.permitted is None or message.method not in MULTI_ROUND:
            return
        self._kept.ask_anew(self._question(message, caller))
        name = message.params["uri" if message.method == _READ else "name"]
        if len(name) + len(passed.name) > MAX_EVENT_ID_CHARACTERS:
            # no id of an event could hold it
            return
        position = CallPosition(
            worker=self._kept.worker,
            call=passed.question.call_id,
            place=place,
            server=passed.server,
            method=message.method,
            name=name,
            own_name=passed.name,
            id_text=message.id_text,
            server_id="",
        )
        if _EVENTS in self.request.fields.get(b"accept", b"").lower():
            seal = CallPositionSeal(session_binding(self.request, self._context, caller, access))
            self._ids = CallIds(seal, position, marks=session.version >= MARKED_SINCE)

    def _question(self, message: Message, caller: Caller) -> Question:
        session = self.request.fields.get(SESSION_HEADER, b"")
        return holder_of(caller), hashlib.sha256(session).hexdigest(), message.id_text

    def _call_of(
        self,
        passed: Passed,
        access: ToolAccess,
        fields: bytes,
        seal: StateSeal,
        reader: AnswerReader,
        place: int,
    ) -> ToolCall:
        session, caller = self._session, self.caller
        if session is None or caller is None:
            return super()._call_of(passed, access, fields, seal, reader, place)
        return ResumableCall(
            self._context.providers,
            access,
            passed,
            fields,
            seal,
            reader,
            place,
            session.servers[place],
            RequestMarks(session_binding(self.request, self._context, caller, access)),
        )

    def _keep_call(self) -> None:
        ids, record, caller, message = self._ids, self._record, self.caller, self._message
        if self._share is not None or ids is None or record is None:
            return
        if caller is not None and message is not None:
            question = self._question(message, caller)
            self._share = self._kept.keep(ids.call, record, caller, self, question)

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        found = super().permissions_for(passed, seal)
        session, caller = self._session, self.caller
        tools = None if caller is None else caller.snapshot.tools
        if found is None or session is None or caller is None or tools is None:
            return found
        # a cursor leads to servers of the session alone
        return permissions_in(session, caller.snapshot.document.tenant, tools)

    def _act(
        self, message: Message, decision: Decision, session: Session, access: ToolAccess
    ) -> None:
        if isinstance(decision, Passed):
            self._spread(message, decision.text, session, access)
        elif isinstance(decision, Own) and decision.rule is Rule.OWN:
            self.send(200, own_responses.JSON, result_body(self._id_text, {}))
        elif isinstance(decision, Own) and decision.rule is Rule.PAIRED:
            self._answer_server(message, session, access)
        elif isinstance(decision, ProtocolError) and message.kind is Kind.REQUEST:
            self._send_error(decision)
        else:
            # what has no id is answered by a status alone
            self._send_error(ProtocolError.invalid_request)

    # -- the beginning ---------------------------------------------------------------------------------------------

    def _greet(self, message: Message, caller: Caller, access: ToolAccess) -> None:
        """Begins sessions at all servers of the tenant, as far as they can be reached."""
        text = greeting_text(message.params)
        if text is None:
            self._send_error(ProtocolError.invalid_params)
            return
        servers = access.permissions.all_servers()
        if any(self._is_over_limit(caller, one) for one in servers):
            return
        self._began_by = message
        fields = _MESSAGE + version_field(version_for(message.params))
        self._send_round(access, [(server, fields) for server in servers], text)

    def _begin_session(
        self, message: Message, exchanges: list[ServerExchange], access: ToolAccess
    ) -> None:
        assert self.caller is not None
        greetings: dict[str, Greeting] = {}
        servers: list[ServerSession] = []
        for exchange in exchanges:
            greeting = None if exchange.answer is None else greeting_of(exchange.answer)
            if greeting is None or exchange.status != 200 or not is_session_id(exchange.session_id):
                continue
            greetings[exchange.server] = greeting
            has_logging = "logging" in greeting.capabilities
            servers.append(
                ServerSession(exchange.server, exchange.session_id, greeting.version, has_logging)
            )
        if not servers:
            self._send_error(ProtocolError.server_unavailable)
            return
        session = Session(
            version=common_version(greetings),
            granted=access.permissions.all_servers(),
            servers=tuple(servers),
        )
        seal = session_seal(self._context, self.caller, access)
        sealed = seal.sealed(session, new_nonce())
        if sealed is None:
            self._send_error(ProtocolError.server_unavailable)
            return
        body = initialized_body(self._id_text, access.permissions, greetings, RELEASE)
        header = b"%b: %b\r\n" % (SESSION_HEADER, sealed.encode())
        self.send(200, own_responses.JSON + header, body)

    # -- what goes to servers without an answer of theirs ----------------------------------------------------------

    def _spread(self, message: Message, text: str, session: Session, access: ToolAccess) -> None:
        """Sends a message that names no server to those of the session that it concerns."""
        servers = session.servers
        if message.method == _SET_LEVEL:
            servers = tuple(one for one in servers if one.has_logging)
        elif message.method == _PROGRESS and len(servers) > 1:
            # its token is one of several servers', and each might have given it
            servers = ()
        elif message.method in _NAMING:
            # without a session an id may be that of anybody's request
            servers = tuple(one for one in servers if one.id)
        self._send_message(access, servers, text)

    def _answer_server(self, message: Message, session: Session, access: ToolAccess) -> None:
        """Sends what a client answers to the server that asked."""
        assert self.caller is not None
        marks = RequestMarks(session_binding(self.request, self._context, self.caller, access))
        target = marks.unmarked(message, len(session.servers))
        if target is None:
            self._send_error(ProtocolError.invalid_request)
        else:
            place, text = target
            self._send_message(access, (session.servers[place],), text)

    def _send_message(
        self, access: ToolAccess, servers: tuple[ServerSession, ...], text: str
    ) -> None:
        """Sends a message in the session to those of the servers whose rate has room for it."""
        assert self.caller is not None
        rate = within_rate(self.caller, [one.server for one in servers])
        if rate.is_over:
            self._send_error(ProtocolError.limited, retry_after_seconds=rate.wait_seconds)
            return
        targets = [
            (one.server, _MESSAGE + session_fields(one))
            for one in servers
            if one.server in rate.servers
        ]
        self._send_round(access, targets, text)

    def _send_round(self, access: ToolAccess, targets: list[tuple[str, bytes]], text: str) -> None:
        """Sends a message to servers, each with its fields. One that has no seat left for it, or no credential, is left out."""
        assert self.caller is not None
        seats = self.caller.tenant.tool_seats.rounds
        exchanges: list[ServerExchange] = []
        is_busy = False
        body = text.encode()
        for server, fields in targets:
            upstream = access.upstreams[server]
            auth = self._context.providers.auth_line(upstream)
            if auth is None:
                continue
            head = access.heads[server] + auth + fields + b"content-length: %d\r\n\r\n" % len(body)
            seat = seat_at(self.caller, seats, server)
            if seat is None:
                is_busy = True
                continue
            exchanges.append(
                ServerExchange(self._context.providers, server, upstream.origin, head + body, seat)
            )
        if is_busy and not exchanges:
            self._send_error(ProtocolError.busy, retry_after_seconds=BUSY_SECONDS)
            return
        self._round = ServerRound(exchanges, self)
        self._round.start()

    def round_ended(self, exchanges: list[ServerExchange]) -> None:
        access, began_by = self._access, self._began_by
        if began_by is not None and access is not None:
            self._begin_session(began_by, exchanges, access)
        elif any(exchange.status == 404 for exchange in exchanges):
            self._send_error(ProtocolError.unknown_session)
        elif self._wants_result:
            self.send(200, own_responses.JSON, result_body(self._id_text, {}))
        else:
            self.send(202, b"", b"")

    def _drop_call(self) -> None:
        if self._round is not None:
            self._round.abort()
        super()._drop_call()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        self._round = None
        super()._finish(now, keep_alive=keep_alive)
