"""A GET that goes on with the stream of a call, after the last event that its client saw (MCP 2025-11-25, basic/transports, Resumability)."""

import time

from relay.calls.call_context import CallContext
from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.answering import AnsweringRequest, error_answer
from relay.calls.tool_use.message_admission import BUSY_SECONDS, seat_at, within_rate
from relay.calls.tool_use.resumption.call_ids import CallIds
from relay.calls.tool_use.resumption.kept_calls import CallShare, ClaimReader, KeptCalls
from relay.calls.tool_use.resumption.resumable_call import ResumableCall
from relay.calls.tool_use.session_access import (
    LAST_EVENT_HEADER,
    holder_of,
    new_nonce,
    secret_of,
    session_and_access,
    session_binding,
)
from relay.dialect.refusals import Refusal
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.routing.snapshot import ToolAccess
from relay.tools.answers import SaidOutcome
from relay.tools.decisions import Passed, passed_at, permitted_at
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal
from relay.tools.sealed.event_ids import CALL_MARK, MARKED_SINCE, CallPosition, CallPositionSeal
from relay.tools.sealed.sessions import Session
from relay.tools.server_requests import RequestMarks


class ResumedRequest(AnsweringRequest, ClaimReader):
    """Asks the server for the rest of a call's answer, which is held to what the first request was held to and what is granted now."""

    __slots__ = ("_access", "_kept", "_position", "_session")

    def __init__(
        self, context: CallContext, connection: ClientConnection, request: Request, kept: KeptCalls
    ) -> None:
        super().__init__(context, connection, request)
        self._era = Era.LEGACY
        self._kept = kept
        self._position: CallPosition | None = None
        self._session: Session | None = None
        self._access: ToolAccess | None = None

    def tell(self, caller: Caller) -> None:
        opened = session_and_access(self.request, self._context, caller)
        if isinstance(opened, Refusal):
            self.refuse(opened)
            return
        if isinstance(opened, ProtocolError):
            self._send_error(opened)
            return
        session, access = opened
        seal = CallPositionSeal(session_binding(self.request, self._context, caller, access))
        given = [value for name, value in self.request.headers if name == LAST_EVENT_HEADER]
        position = seal.opened(given[0].decode("latin-1")) if len(given) == 1 else None
        if position is None or permitted_at(position, access.permissions) is None:
            self._send_error(ProtocolError.unknown_event)
            return
        self._position, self._session, self._access = position, session, access
        self._id_text = position.id_text
        self._ids = CallIds(seal, position, marks=session.version >= MARKED_SINCE)
        if self._is_admitted(caller, position.server):
            self._kept.claim(position.worker, position.call, holder_of(caller), self)

    def _is_admitted(self, caller: Caller, server: str) -> bool:
        """Takes a seat at the server, within the rate of messages that are no calls; answers one that finds none."""
        rate = within_rate(caller, [server])
        if rate.is_over:
            self._send_error(ProtocolError.limited, retry_after_seconds=rate.wait_seconds)
            return False
        self._seat = seat_at(caller, caller.tenant.tool_seats.calls, server)
        if self._seat is None:
            self._send_error(ProtocolError.busy, retry_after_seconds=BUSY_SECONDS)
            return False
        return True

    # -- relay.calls.tool_use.resumption.kept_calls.ClaimReader ----------------------------------------------------

    def claimed(self, share: CallShare | None, *, is_known: bool) -> None:
        if self._over:
            if share is not None:
                share.left()
            return
        self._share = share
        if not is_known or self._permissions_now() is None:
            self._give_up(ProtocolError.unknown_event)
            return
        position, session, access, caller = (
            self._position,
            self._session,
            self._access,
            self.caller,
        )
        assert position is not None
        assert session is not None
        assert access is not None
        assert caller is not None
        auth = self._context.providers.auth_line(access.upstreams[position.server])
        if auth is None:
            self._give_up(ProtocolError.server_unavailable)
            return
        seal = StateSeal(
            secret=secret_of(self._context, caller, access),
            caller=holder_of(caller),
            now=time.time(),
            new_nonce=new_nonce,
        )
        call = self._call = ResumableCall(
            self._context.providers,
            access,
            passed_at(position, access.permissions.revision),
            b"",
            seal,
            self,
            position.place,
            session.servers[position.place],
            RequestMarks(session_binding(self.request, self._context, caller, access)),
            position.server_id,
        )
        call.start(auth)

    # -- relay.calls.tool_use.tool_call.AnswerReader ---------------------------------------------------------------

    def resumed(self) -> None:
        if not self._streams:
            self._begin_stream()
            self._writer.flush()

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        return self._permissions_now()

    def _permissions_now(self) -> Permissions | None:
        """Returns what the caller may use now; None if what it called is no longer of that."""
        position, caller = self._position, self.caller_now()
        tools = None if caller is None else caller.snapshot.tools
        if position is None or tools is None:
            return None
        return tools.permissions if permitted_at(position, tools.permissions) is not None else None

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        self.resumed()
        super().answered(status, text, outcome)

    def failed(self, error: ProtocolError) -> None:
        if self._streams:
            super().failed(error)
        else:
            self._give_up(error)

    # -- the end ---------------------------------------------------------------------------------------------------

    def _give_up(self, error: ProtocolError) -> None:
        """Refuses the request, and leaves the call to another one."""
        if self._share is not None:
            self._share.left()
            self._share = None
        self._send_error(error)

    def taken_over(self) -> None:
        super().taken_over()
        if not self._over:
            # before its server went on with it
            self._send_error(ProtocolError.unknown_event)

    def _send_error(
        self, error: ProtocolError, data: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        self.send(*error_answer(error, retry_after_seconds))


def is_of_a_call(request: Request) -> bool:
    """Returns whether the last event that a request names was one of a call's stream."""
    return request.fields.get(LAST_EVENT_HEADER, b"").startswith(CALL_MARK.encode())
