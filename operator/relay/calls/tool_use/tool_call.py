"""A message on its way to a tool server, and what comes back, held to it."""

from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import trait

from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.tool_use.server_receiver import ServerReceiver
from relay.dialect.answers.hidden_secret import without_secret
from relay.http.headers import Field
from relay.http.upstream import Fault, UpstreamConnection
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome, answer_text, bare_text, may_pass, said_outcome
from relay.tools.decisions import Passed
from relay.tools.list_filter import Page
from relay.tools.permissions import Permissions
from relay.tools.reading.event_stream import Event, EventReader, EventTooLarge
from relay.tools.reading.messages import SERVER_BOUNDS, Kind, Message, Unusable, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream"
_NOTHING_DONE: Final = frozenset({400, 401, 403, 404, 405, 406, 413, 415, 429, 503})
"""Statuses by which a server, or what is before it, says that it took no message."""
_PASSED_STATUSES: Final = frozenset({400, 404})
"""Statuses under which a server refuses a request in the protocol's own words (MCP 2026-07-28, basic/transports/streamable-http)."""


@trait
class AnswerReader(ABC):
    """Takes what a client may get of a call's answer."""

    @abstractmethod
    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        """Returns what the caller may use now, for what its server says; None if it could not make this request any more."""

    @abstractmethod
    def reached(self, server_id: str, retry_milliseconds: int, *, says_more: bool) -> None:
        """Takes how far the server's stream has come, by the id that it names, empty without one; the reader may go on from there.

        It comes before what the event says, if it says anything. retry_milliseconds is -1 where the server names no time to wait.
        """

    @abstractmethod
    def resumed(self) -> None:
        """Takes that the server goes on with the stream that was asked for."""

    @abstractmethod
    def message(self, text: str) -> None:
        """Takes a message on the way to the answer."""

    @abstractmethod
    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        """Takes the answer, and how by it the request ended; the last call."""

    def page(self, status: int, page: Page) -> None:
        """Takes a page of the list that was asked for; the last call."""
        self.answered(status, page.text, "ok")

    @abstractmethod
    def failed(self, error: ProtocolError) -> None:
        """Takes the reason why there is none; the last call."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Takes an exception in the handling of the call, which has ended it."""


class ToolCall(ServerReceiver):
    """Lives from `start` to the reader's last call or `abort`. place is its server's in the session, -1 without one."""

    __slots__ = (
        "_access",
        "_auth",
        "_body",
        "_events",
        "_fields",
        "_is_sent",
        "_passed",
        "_place",
        "_reader",
        "_seal",
        "_secret",
        "_status",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        access: ToolAccess,
        passed: Passed,
        fields: bytes,
        seal: StateSeal,
        reader: AnswerReader,
        place: int = -1,
    ) -> None:
        super().__init__(providers)
        self._access = access
        self._passed = passed
        self._fields = fields
        self._seal = seal
        self._reader = reader
        self._place = place
        self._auth = self._secret = b""
        self._is_sent = False
        self._status = 0
        self._body = bytearray()
        self._events: EventReader | None = None

    def start(self, auth: bytes) -> None:
        """Sends the message as soon as there is a connection. auth is the server's credential as a header line."""
        self._auth = auth
        upstream = self._access.upstreams[self._passed.server]
        self._secret = auth[len(upstream.auth_prefix) :].strip()
        self._acquire(upstream.origin)

    def _message_in(self, data: bytes) -> Message | Unusable:
        """Reads what the server says, without the credential that it was shown."""
        return read_message(without_secret(self._secret, data), SERVER_BOUNDS)

    @property
    def may_have_run(self) -> bool:
        """True unless the server cannot have done anything of what it was asked."""
        return self._is_sent and self._status not in _NOTHING_DONE

    def abort(self) -> None:
        """Ends a call whose answer nobody wants any more: to the server that cancels it."""
        if not self._is_over:
            self._is_over = True
            self._let_go()

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        if self._is_over:
            connection.close()
            return
        self._connection = connection
        self._is_sent = True
        body = self._passed.text.encode()
        head = self._access.heads[self._passed.server] + self._auth + self._fields
        connection.send(
            self,
            [head + b"content-length: %d\r\n\r\n" % len(body) + body],
            now,
            first_byte=self._providers.first_byte_timeout,
            idle=self._providers.idle_timeout,
        )

    def response(self, status: int, headers: list[Field], now: float) -> None:
        self._status = status
        if status == 404 and self._place >= 0:
            # its server has lost the session, so the client needs another one
            self._fail(ProtocolError.unknown_session)
            return
        media_type = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
        if status == 200 and media_type == _EVENTS:
            self._events = EventReader(SERVER_BOUNDS.size)
        elif media_type != _JSON or (status != 200 and status not in _PASSED_STATUSES):
            self._fail(ProtocolError.server_unavailable)

    def body_received(self, data: bytes, now: float) -> None:
        if self._is_over:
            return
        if self._events is not None:
            try:
                self._read_events(self._events, data)
            except EventTooLarge:
                self._fail(ProtocolError.invalid_answer)
            return
        self._body += data
        if len(self._body) > SERVER_BOUNDS.size:
            self._fail(ProtocolError.invalid_answer)

    def failed(self, fault: Fault) -> None:
        if fault == "undelivered":
            self._is_sent = False
        super().failed(fault)

    def read_ended(self, now: float, *, completed: bool) -> None:
        if self._is_over or not completed:
            return
        self._connection = None
        if self._events is not None:
            self._end_events()
        else:
            self._take_answer(self._message_in(bytes(self._body)))

    def _lost(self) -> None:
        self._fail(ProtocolError.server_unavailable)

    def crashed(self, error: Exception) -> None:
        # it may have been raised by the reader, after the last call
        self._is_over = True
        self._let_go()
        self._reader.crashed(error)

    # -- what was said ---------------------------------------------------------------------------------------------

    def _events_ended(self) -> None:
        self._fail(ProtocolError.invalid_answer)

    def _take_event(self, event: Event) -> None:
        message = self._message_in(event.data)
        if isinstance(message, Message):
            self._take_said(message)
        else:
            self._fail(ProtocolError.invalid_answer)

    def _take_said(self, message: Message) -> None:
        if message.kind is Kind.RESPONSE:
            self._take_answer(message)
        else:
            self._take_message(message)

    def _take_message(self, message: Message) -> None:
        permissions = self._reader.permissions_for(self._passed, self._seal)
        question = self._passed.question
        if permissions is None:
            self._fail(ProtocolError.withdrawn)
        elif may_pass(message, question.era, question.server, permissions):
            text = self._told(message)
            if text is not None:
                self._reader.message(text)

    def _told(self, message: Message) -> str | None:
        """Returns a request or notification as the client gets it; None of one that it cannot be told."""
        return bare_text(message, self._passed.question.era) or message.text

    def _take_answer(self, message: object) -> None:
        text: str | Page | ProtocolError = ProtocolError.invalid_answer
        outcome: SaidOutcome = "protocol_error"
        permissions = self._reader.permissions_for(self._passed, self._seal)
        if permissions is None:
            text = ProtocolError.withdrawn
        elif isinstance(message, Message):
            outcome = said_outcome(message, self._passed.question.era)
            text = answer_text(message, self._passed.question, permissions, self._seal)
            if self._status != 200 and message.member("error") is None:
                text = ProtocolError.invalid_answer
        if isinstance(text, ProtocolError):
            self._fail(text)
            return
        self._is_over = True
        self._let_go()
        if isinstance(text, Page):
            self._reader.page(self._status, text)
        else:
            self._reader.answered(self._status, text, outcome)

    def _fail(self, error: ProtocolError) -> None:
        self._is_over = True
        self._let_go()
        self._reader.failed(error)
