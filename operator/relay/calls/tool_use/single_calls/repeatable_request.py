"""Requests that may be repeats: calls of tools that must not be carried out twice are claimed before they are sent."""

import asyncio
import time
from typing import Final, NamedTuple

from relay.calls import own_responses
from relay.calls.call_context import CallContext
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.answering import AnsweringRequest
from relay.calls.tool_use.message_admission import BUSY_SECONDS
from relay.calls.tool_use.session_access import holder_of
from relay.calls.tool_use.single_calls.call_memory import CallMemory, ClaimTicket, VerdictReader
from relay.calls.tool_use.single_calls.single_call import SingleCall
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.decisions import Passed, tool_of
from relay.tools.idempotency.call_identity import identity_of
from relay.tools.idempotency.remembered_calls import Answer, Claim, Finding, Verdict
from relay.tools.reading.edits import edited, replaced
from relay.tools.reading.messages import SERVER_BOUNDS, Message, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal

WAIT_SECONDS: Final = 30.0
"""For the end of a call that is under way; clients give up after 60 s where nobody told them otherwise."""
_KEY_HEADER: Final = b"idempotency-key"
_REPLAYED: Final = b"idempotent-replayed: true\r\n"
"""Tells an answer that was told before, by the name that other services with such keys use."""
_REFUSED: Final[dict[Finding, ProtocolError]] = {
    "not_kept": ProtocolError.answer_not_kept,
    "unknown": ProtocolError.unknown_outcome,
    "under_way": ProtocolError.still_under_way,
    "other_arguments": ProtocolError.other_arguments,
}


class _Sending(NamedTuple):
    """A message that is ready to be sent."""

    passed: Passed
    caller: Caller
    access: ToolAccess
    seal: StateSeal
    fields: bytes
    place: int


class RepeatableRequest(AnsweringRequest, VerdictReader):
    """A request whose call is sent once, whoever makes it again."""

    __slots__ = ("_memory", "_sending", "_single", "_ticket", "_wait")

    def __init__(
        self,
        context: CallContext,
        connection: ClientConnection,
        request: Request,
        memory: CallMemory,
    ) -> None:
        super().__init__(context, connection, request)
        self._memory = memory
        self._sending: _Sending | None = None
        self._single: SingleCall | None = None
        self._ticket: ClaimTicket | None = None
        self._wait: asyncio.TimerHandle | None = None

    def _pass_on(
        self,
        passed: Passed,
        caller: Caller,
        access: ToolAccess,
        seal: StateSeal,
        fields: bytes,
        place: int = -1,
    ) -> None:
        permitted = passed.permitted
        if permitted is None or not permitted.remembered_seconds or not tool_of(passed):
            super()._pass_on(passed, caller, access, seal, fields, place)
            return
        claim = self._claim(passed, caller, permitted.remembered_seconds)
        if isinstance(claim, ProtocolError):
            self._send_error(claim)
            return
        self._sending = _Sending(passed, caller, access, seal, fields, place)
        self._ticket = self._memory.claim(claim, self)
        if self._ticket is None:
            self._send_error(ProtocolError.busy, retry_after_seconds=BUSY_SECONDS)
            return
        self._wait = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._waited)

    def _claim(self, passed: Passed, caller: Caller, seconds: int) -> Claim | ProtocolError:
        assert self._message is not None
        given = [value for name, value in self.request.headers if name == _KEY_HEADER]
        if len(given) > 1:
            return ProtocolError.header_mismatch
        identity = identity_of(
            self._message,
            caller=holder_of(caller),
            era=self._era,
            server=passed.server,
            header=given[0].decode("latin-1") if given else None,
        )
        if isinstance(identity, ProtocolError):
            return identity
        document = caller.snapshot.document
        return Claim(
            tenant=document.tenant.uid,
            key=caller.key.name,
            keys=max(1, len(document.tenant.keys)),
            call=identity.call,
            arguments=identity.arguments,
            seconds=seconds,
            call_id=passed.question.call_id,
        )

    # -- relay.calls.tool_use.single_calls.call_memory.VerdictReader ------------------------------------------------------------

    def decided(self, verdict: Verdict) -> None:
        sending, ticket = self._sending, self._ticket
        assert sending is not None
        assert ticket is not None
        self._stop_waiting()
        if verdict.finding == "first":
            try:
                self._carry_out(sending, ticket)
            except Exception:
                # else nobody would ever end it
                ticket.end("unsent")
                raise
        elif verdict.answer is not None:
            self._replay(verdict.answer, verdict.call_id)
        elif verdict.finding == "no_room":
            self._send_error(ProtocolError.busy, retry_after_seconds=verdict.wait_seconds)
        else:
            self._send_error(_REFUSED[verdict.finding])

    def _carry_out(self, sending: _Sending, ticket: ClaimTicket) -> None:
        if not sending.caller.up_to_date:
            # it waited meanwhile, and what it may call is perhaps another
            ticket.end("unsent")
            self._send_error(ProtocolError.still_under_way)
            return
        auth = self._admitted(sending.passed, sending.caller, sending.access)
        if auth is None:
            ticket.end("unsent")
            return
        if self._record is not None:
            self._record.opened()
        self._single = SingleCall(
            ticket, self, self._context.exceptions, sending.access.permissions
        )
        # a client that was cut off calls again: its stream has no ids to go on from
        self._ids = None
        call = self._call_of(
            sending.passed,
            sending.access,
            sending.fields,
            sending.seal,
            self._single,
            sending.place,
        )
        self._single.start(call, auth)

    def _replay(self, answer: Answer, call_id: str) -> None:
        """Tells an answer to another request once more: all of it but the id is as it was."""
        message = read_message(answer.text.encode(), SERVER_BOUNDS)
        assert isinstance(message, Message)
        assert self._message is not None
        member = message.member("id")
        text = (
            answer.text
            if member is None
            else edited(answer.text, [replaced(member, self._message.id)])
        )
        body = text.encode()
        if self._record is not None:
            self._record.replayed(call_id, len(body), time.monotonic())
        self.send(answer.status, own_responses.JSON + _REPLAYED, body)

    def _waited(self) -> None:
        try:
            self._stop_waiting(leaves=True)
            self._send_error(ProtocolError.still_under_way)
        except (
            Exception
        ) as error:  # a fault of our own ends this request: nobody above a timer would
            self.crashed(error)

    def _stop_waiting(self, *, leaves: bool = False) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        ticket, self._ticket = self._ticket, None
        if ticket is not None and leaves:
            ticket.leave()
        self._sending = None

    # -- the end ---------------------------------------------------------------------------------------------------

    def client_gone(self) -> None:
        self._leave_call()
        super().client_gone()

    def crashed(self, error: Exception) -> None:
        if self._record is not None:
            self._record.ended("crashed", 0, time.monotonic())
        self._leave_call()
        super().crashed(error)

    def _leave_call(self) -> None:
        """Lets a call that is sent once go on without this request, which then has neither its record nor its seat."""
        single, self._single = self._single, None
        if single is not None and single.leave(self._record, self._seat):
            self._record, self._seat = None, None

    def pause(self) -> None:
        super().pause()
        if self._single is not None:
            self._single.pause()

    def resume(self) -> None:
        super().resume()
        if self._single is not None:
            self._single.resume()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        self._stop_waiting(leaves=True)
        # it refers to us: let go, or only the collector could free it
        self._single = None
        super()._finish(now, keep_alive=keep_alive)
