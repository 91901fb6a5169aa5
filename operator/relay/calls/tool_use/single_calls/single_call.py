"""A call of a tool that must not be carried out twice: it goes on without its caller, and what becomes of it is told to those who make it again."""

import asyncio
import time
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.calls.tool_use.single_calls.call_memory import ClaimTicket
from relay.calls.tool_use.tool_call import AnswerReader, ToolCall
from relay.calls.tool_use.tool_record import ToolRecord
from relay.tools.answers import SaidOutcome
from relay.tools.decisions import Passed
from relay.tools.idempotency.remembered_calls import MAX_ANSWER_BYTES, Answer, End
from relay.tools.permissions import Permissions
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import LIFETIME_SECONDS, StateSeal
from relay.tools.seats import Seat
from relay_contract.billing.tool_call import ToolOutcome
from relay_contract.tools.manifest import MAX_REMEMBERED_SECONDS

ALONE_SECONDS: Final = 60.0
"""For a call whose caller is gone; its seat is taken meanwhile."""


class SingleCall(AnswerReader):
    """Lives from `start` to the end of its call. Until `leave` its reader books it and has its seat."""

    __slots__ = (
        "_call",
        "_exceptions",
        "_permissions",
        "_reader",
        "_record",
        "_seat",
        "_ticket",
        "_timer",
    )

    def __init__(
        self,
        ticket: ClaimTicket,
        reader: AnswerReader,
        exceptions: ExceptionLog,
        permissions: Permissions,
    ) -> None:
        self._ticket = ticket
        self._permissions = permissions
        self._reader: AnswerReader | None = reader
        self._exceptions = exceptions
        self._call: ToolCall | None = None
        self._record: ToolRecord | None = None
        self._seat: Seat | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, call: ToolCall, auth: bytes) -> None:
        """Sends the call. auth is the server's credential as a header line."""
        self._call = call
        call.start(auth)

    def leave(self, record: ToolRecord | None, seat: Seat | None) -> bool:
        """Lets the reader go; returns whether record and seat are this call's from now on, which goes on if its server may have it."""
        self._reader = None
        call = self._call
        if call is None:
            return False
        self._record, self._seat = record, seat
        if call.may_have_run:
            self._timer = asyncio.get_running_loop().call_later(ALONE_SECONDS, self._time_up)
            call.resume()
        else:
            call.abort()
            self._end("unsent")
            self._end_alone("cancelled")
        return True

    def pause(self) -> None:
        """Stops reading the server for now."""
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """Reads the server again."""
        if self._call is not None:
            self._call.resume()

    # -- relay.calls.tool_use.tool_call.AnswerReader ---------------------------------------------------------------

    def permissions_for(self, passed: Passed, seal: StateSeal) -> Permissions | None:
        # alone, it goes on by those that it began with: nobody is told, and whoever asks for its answer is decided on then
        return (
            self._permissions
            if self._reader is None
            else self._reader.permissions_for(passed, seal)
        )

    def reached(self, server_id: str, retry_milliseconds: int, *, says_more: bool) -> None:
        """Does nothing: whoever is cut off makes the call again."""

    def resumed(self) -> None:
        """Does nothing: the call goes on by itself."""

    def message(self, text: str) -> None:
        if self._reader is not None:
            self._reader.message(text)

    def answered(self, status: int, text: str, outcome: SaidOutcome) -> None:
        # a state that is told again has to be good for some time yet
        seconds = LIFETIME_SECONDS // 2 if outcome == "input_required" else MAX_REMEMBERED_SECONDS
        is_kept = len(text) <= MAX_ANSWER_BYTES
        self._let_go()
        try:
            # booked first: an answer that is told again must not be one that no book knows
            if self._reader is not None:
                self._reader.answered(status, text, outcome)
            else:
                self._end_alone(outcome, len(text.encode()))
        finally:
            self._ticket.end("answered", Answer(status, text, seconds) if is_kept else None)

    def failed(self, error: ProtocolError) -> None:
        self._end_as_far_as_known()
        if self._reader is not None:
            self._reader.failed(error)
            return
        if self._record is not None:
            self._record.refused(error, time.monotonic())
        self._end_alone("unavailable")

    def crashed(self, error: Exception) -> None:
        self._end_as_far_as_known()
        if self._reader is not None:
            self._reader.crashed(error)
        else:
            self._exceptions.note(error)
            self._end_alone("crashed")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _time_up(self) -> None:
        call = self._call
        if call is not None:
            call.abort()
            self._end("unknown")
            self._end_alone("cancelled")

    def _end_as_far_as_known(self) -> None:
        call = self._call
        self._end("unsent" if call is not None and not call.may_have_run else "unknown")

    def _end(self, how: End) -> None:
        self._let_go()
        self._ticket.end(how)

    def _let_go(self) -> None:
        # it refers to us: let go, or only the collector could free its text
        self._call = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_alone(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        """Books a call that nobody else does any more, if it is not, and frees its seat."""
        if self._record is not None:
            self._record.ended(outcome, answer_bytes, time.monotonic())
        if self._seat is not None:
            self._seat.leave()
