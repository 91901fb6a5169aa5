"""The calls of a worker whose streams clients may go on with: whichever request tells of one, and whichever worker has it, it has one record.

The record stays in the worker where the call began, which decides who tells of it: the request that came last. Other workers of the pod ask
it through the supervisor; another pod knows nothing of it.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from mypy_extensions import trait

from relay.calls.tenants.caller import Caller
from relay.calls.tool_use.session_access import holder_of
from relay.calls.tool_use.tool_record import ToolRecord
from relay.random_ids import random_id
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.seats import SharedSeats
from relay_contract.billing.tool_call import ToolOutcome

KEPT_SECONDS: Final = 120.0
"""For a call that no client reads, in all its pauses together: then it is booked as cancelled, and cannot be gone on with any more."""
MOST_KEPT: Final = 64
"""Of a tenant's calls that no client reads; its keys share them as they share seats."""
MOST_ANSWERED: Final = 64
"""Of a key's calls that were answered to the end: an answer that got lost on its way can be told again."""
CLAIM_SECONDS: Final = 2.0
"""For another worker's word on a call of its own."""
_ANSWERED: Final = frozenset({"ok", "tool_error", "protocol_error"})
"""Ends of calls whose answer may be told again: what else is booked as costs nothing, and one that is had later would be free."""
_SEPARATOR: Final = "."
Question = tuple[str, str, str]
"""Whose request a call is, a digest of its session, and the id that it has there."""


@trait
class CallHolder(ABC):
    """Tells a client of a call."""

    @abstractmethod
    def taken_over(self) -> None:
        """Lets the call go: a later request of its caller's goes on with it."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Takes an exception in the handling of what it is told."""


@trait
class ClaimReader(CallHolder):
    """Waits for the word on a call that it is to go on with, and tells of it from then on."""

    @abstractmethod
    def claimed(self, share: "CallShare | None", *, is_known: bool) -> None:
        """Takes whether the call can be gone on with, and what its end is to be told; None where it is booked already."""


@trait
class CallShare(ABC):
    """Takes what becomes of a call; what comes after its end, or after another request took it over, is nothing."""

    @abstractmethod
    def ended(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        """Takes the end of the call."""

    @abstractmethod
    def refused(self, error: ProtocolError) -> None:
        """Takes the end of a call that was answered with an error of the relay's."""

    @abstractmethod
    def left(self) -> None:
        """Takes that no client reads the call any more."""


class KeptCall:
    """A call that began in this worker. Until `_let_go` it has an end to come; reader and worker say who tells of it.

    loan is the number of the other worker's claim by which it has the call; what it says of an earlier one is nothing.
    """

    __slots__ = (
        "_calls",
        "_is_parked",
        "_key",
        "_keys",
        "_left_at",
        "_record",
        "_room",
        "_seconds_left",
        "_timer",
        "id",
        "loan",
        "name",
        "question",
        "reader",
        "worker",
    )

    def __init__(
        self,
        calls: "KeptCalls",
        call: str,
        record: ToolRecord,
        caller: Caller,
        holder: CallHolder,
        question: Question,
    ) -> None:
        tenant = caller.snapshot.document.tenant
        self._calls = calls
        self._record = record
        self._key = caller.key.name
        self._keys = max(1, len(tenant.keys))
        self._room = calls.room_of(tenant.uid)
        self._is_parked = False
        self._left_at = 0.0
        self._seconds_left = KEPT_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self.id = call
        self.name = holder_of(caller)
        self.question = question
        # whoever tells of it now: a request here, or one in the worker with this number
        self.reader: CallHolder | None = holder
        self.worker = -1
        self.loan = 0

    def ended(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        """Books the call."""
        # nobody waited for what was not told: a call ended for its client when that left
        is_told = self.reader is not None or self.worker >= 0
        ended_at = time.monotonic() if is_told else self._left_at
        self._record.ended(outcome, answer_bytes, ended_at)
        self._let_go(is_answered=outcome in _ANSWERED)

    def refused(self, error: ProtocolError) -> None:
        """Books a call that was answered with an error of the relay's."""
        self._record.refused(error, time.monotonic())
        self._let_go(is_answered=False)

    def left(self) -> None:
        """Waits for another request to go on with the call; books it where there is no room for one more, or when the time is up."""
        self.reader, self.worker = None, -1
        if self._is_parked:
            return
        self._left_at = time.monotonic()
        has_room = self._room.has_room(self._key, parties=self._keys, most=MOST_KEPT)
        if not has_room or self._calls.is_stopped or not self.name:
            self.ended("cancelled")
            return
        self._room.take(self._key)
        self._is_parked = True
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds_left, self.ended, "cancelled")

    def taken(self, reader: CallHolder | None, worker: int = -1, loan: int = 0) -> None:
        """Gives the call to another request: one here, or in the worker with this number, by its claim of that number."""
        before, there = self.reader, self.worker
        self.reader, self.worker, self.loan = reader, worker, loan
        self._unpark()
        if before is not None:
            _take_over(before)
        elif there >= 0:
            self._calls.tell(there, "taken", self.id)

    def hide(self) -> None:
        """Lets no request go on with the call any more: another one of its session has its id."""
        self.name = ""
        if self._is_parked:
            self.ended("cancelled")

    def _let_go(self, *, is_answered: bool) -> None:
        self._unpark()
        self.reader = None
        self._calls.forget(self, is_answered=is_answered)

    def _unpark(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_parked:
            self._is_parked = False
            self._seconds_left = max(0.0, self._seconds_left - (time.monotonic() - self._left_at))
            self._room.give_back(self._key)


def _take_over(holder: CallHolder) -> None:
    """Tells whoever told of a call that another request does; its own fault ends its request alone."""
    try:
        holder.taken_over()
    except Exception as error:  # neither the call nor the worker is to end by it
        holder.crashed(error)


class _HeldShare(CallShare):
    """A call of this worker's, as long as it is this request that tells of it."""

    __slots__ = ("_call", "_reader")

    def __init__(self, call: KeptCall, reader: CallHolder) -> None:
        self._call = call
        self._reader = reader

    def ended(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        if self._call.reader is self._reader:
            self._call.ended(outcome, answer_bytes)

    def refused(self, error: ProtocolError) -> None:
        if self._call.reader is self._reader:
            self._call.refused(error)

    def left(self) -> None:
        if self._call.reader is self._reader:
            self._call.left()


class _LentShare(CallShare):
    """A call of another worker's, which is told what becomes of it."""

    __slots__ = ("_call", "_calls", "_loan", "_worker")

    def __init__(self, calls: "KeptCalls", worker: int, call: str, loan: int) -> None:
        self._calls = calls
        self._worker = worker
        self._call = call
        self._loan = loan

    def ended(self, outcome: ToolOutcome, answer_bytes: int = 0) -> None:
        self._give_back("ended", outcome, answer_bytes)

    def refused(self, error: ProtocolError) -> None:
        self._give_back("refused", error.name)

    def left(self) -> None:
        self._give_back("left")

    def _give_back(self, what: str, *said: object) -> None:
        self._calls.give_back(self._worker, self._call, self._loan, what, list(said))


class _Claim:
    """A question to another worker, until that answers or its time is up."""

    __slots__ = ("call", "reader", "timer", "worker")

    def __init__(
        self, worker: int, call: str, reader: ClaimReader, timer: asyncio.TimerHandle
    ) -> None:
        self.worker = worker
        self.call = call
        self.reader = reader
        self.timer = timer


class KeptCalls:
    """One per worker. send tells another worker of the pod, by its number, through the supervisor."""

    __slots__ = (
        "_answered",
        "_asked",
        "_calls",
        "_claims",
        "_instance",
        "_lent",
        "_number",
        "_questions",
        "_rooms",
        "_workers",
        "is_stopped",
        "send",
    )

    def __init__(self) -> None:
        self._number = 0
        self._workers = 1
        # no other process is this one, whatever its number
        self._instance = random_id(16)
        self._calls: dict[str, KeptCall] = {}
        # of each name, the calls whose answer was told, with what was asked
        self._answered: dict[str, deque[tuple[str, Question]]] = {}
        # which of the calls that are known here was asked by which id
        self._asked: dict[Question, str] = {}
        self._rooms: dict[str, SharedSeats] = {}
        # calls of other workers that requests here tell of
        self._lent: dict[str, tuple[CallHolder, int]] = {}
        self._claims: dict[int, _Claim] = {}
        # an answer to the worker that had this number before is none to a question of ours
        self._questions = int(random_id(12), 16)
        self.is_stopped = False
        self.send: Callable[..., None] | None = None

    def begin(self, number: int, workers: int, send: Callable[..., None]) -> None:
        """Takes the worker's number, how many there are, and its way to the others."""
        self._number = number
        self._workers = workers
        self.send = send

    @property
    def worker(self) -> str:
        """What event ids say of whose call it is."""
        return f"{self._number}{_SEPARATOR}{self._instance}"

    def keep(
        self,
        call: str,
        record: ToolRecord,
        caller: Caller,
        holder: CallHolder,
        question: Question,
    ) -> CallShare:
        """Keeps a call from its first event with an id on, and returns what is told of its end."""
        kept = self._calls[call] = KeptCall(self, call, record, caller, holder, question)
        self._asked[question] = call
        return _HeldShare(kept, holder)

    def ask_anew(self, question: Question) -> None:
        """Makes the earlier call of this id unknown, in whichever worker: a server that tells all of a session would answer a request for
        its rest with the answer of the later one, which nobody had paid.
        """
        self._hide(question)
        for other in range(self._workers):
            if other != self._number:
                self.tell(other, "asked", "", list(question))

    def _hide(self, question: Question) -> None:
        call = self._asked.pop(question, None)
        if call is None:
            return
        kept = self._calls.get(call)
        if kept is not None:
            kept.hide()
        answered = self._answered.get(question[0])
        if answered is not None and (call, question) in answered:
            answered.remove((call, question))

    def claim(self, worker: str, call: str, name: str, reader: ClaimReader) -> None:
        """Lets a request go on with a call, whoever told of it before; worker is whose call it is, name whose the request is."""
        if worker == self.worker:
            kept, is_known = self._found(call, name)
            if kept is not None:
                kept.taken(reader)
                reader.claimed(_HeldShare(kept, reader), is_known=True)
            else:
                reader.claimed(None, is_known=is_known)
            return
        number = worker.partition(_SEPARATOR)[0]
        if self.send is None or not number.isdigit() or int(number) == self._number:
            reader.claimed(None, is_known=False)
            return
        self._questions += 1
        question, there = self._questions, int(number)
        timer = asyncio.get_running_loop().call_later(CLAIM_SECONDS, self._claimed, question)
        self._claims[question] = _Claim(there, call, reader, timer)
        self.tell(there, "claim", call, [worker, name, question])

    def stop(self) -> None:
        """Books what no request here tells of any more, then and later: the process is about to end."""
        self.is_stopped = True
        for call in list(self._calls.values()):
            if call.reader is None:
                call.ended("cancelled" if call.worker < 0 else "unknown")

    # -- of a call here --------------------------------------------------------------------------------------------

    def room_of(self, tenant_uid: str) -> SharedSeats:
        """Returns the room for calls of a tenant that no client reads."""
        return self._rooms.setdefault(tenant_uid, SharedSeats())

    def forget(self, call: KeptCall, *, is_answered: bool) -> None:
        """Forgets a call that is over, but for its name where its answer was told."""
        if self._calls.pop(call.id, None) is None:
            return
        if not is_answered or not call.name:
            self._drop_question(call.id, call.question)
            return
        answered = self._answered.setdefault(call.name, deque())
        if len(answered) >= MOST_ANSWERED:
            self._drop_question(*answered.popleft())
        answered.append((call.id, call.question))

    def _drop_question(self, call: str, question: Question) -> None:
        if self._asked.get(question) == call:
            del self._asked[question]

    def _found(self, call: str, name: str) -> tuple[KeptCall | None, bool]:
        """Returns a call of this holder's, None of one that is booked; and whether it is known."""
        kept = self._calls.get(call)
        if kept is not None and kept.name == name:
            return kept, True
        return None, any(call == one for one, _ in self._answered.get(name, ()))

    # -- between workers -------------------------------------------------------------------------------------------

    def tell(self, worker: int, what: str, call: str, said: list[Any] | None = None) -> None:
        """Tells another worker something of a call."""
        if self.send is not None:
            self.send("kept_call", to=worker, what=what, call=call, said=said or [])

    def give_back(self, worker: int, call: str, loan: int, what: str, said: list[Any]) -> None:
        """Tells another worker what became of its call; nothing of a claim that a later one has taken over."""
        lent = self._lent.get(call)
        if lent is not None and lent[1] == loan:
            del self._lent[call]
            self.tell(worker, what, call, [loan, *said])

    def take_in(self, message: dict[str, Any]) -> None:
        """Takes in what another worker says, or that it is gone."""
        sender, what, call, said = message["by"], message["what"], message["call"], message["said"]
        match what:
            case "claim":
                self._lend(sender, call, said)
            case "found":
                self._take_word(sender, call, said)
            case "taken":
                self._give_up(call)
            case "asked":
                name, session, asked = said
                self._hide((name, session, asked))
            case "gone":
                self._leave_all(sender)
            case _:
                self._take_back(sender, what, call, said)

    def _give_up(self, call: str) -> None:
        """Lets go of another worker's call, which another request goes on with."""
        lent = self._lent.pop(call, None)
        if lent is not None:
            _take_over(lent[0])

    def _leave_all(self, worker: int) -> None:
        """Takes back the calls of a worker that is gone."""
        for kept in list(self._calls.values()):
            if kept.worker == worker:
                kept.left()

    def _lend(self, sender: int, call: str, said: list[Any]) -> None:
        worker, name, question = said
        kept, is_known = self._found(call, name) if worker == self.worker else (None, False)
        if kept is not None:
            kept.taken(None, sender, question)
        self.tell(sender, "found", call, [question, is_known, kept is not None])

    def _take_word(self, sender: int, call: str, said: list[Any]) -> None:
        question, is_known, is_shared = said
        if question in self._claims:
            self._claimed(question, is_known=is_known, is_shared=is_shared)
        elif is_shared:
            # its reader has waited long enough
            self.tell(sender, "left", call, [question])

    def _take_back(self, sender: int, what: str, call: str, said: list[Any]) -> None:
        kept = self._calls.get(call)
        if kept is None:
            return
        if what == "ended" and said[1] in _ANSWERED:
            # its client has the answer, whoever was to tell of the call meanwhile
            kept.ended(said[1], said[2])
        elif kept.worker != sender or kept.loan != said[0]:
            return
        elif what == "ended":
            kept.ended(said[1], said[2])
        elif what == "refused":
            kept.refused(ProtocolError[said[1]])
        else:
            kept.left()

    def _claimed(self, question: int, *, is_known: bool = False, is_shared: bool = False) -> None:
        claim = self._claims.pop(question, None)
        if claim is None:
            return
        claim.timer.cancel()
        share = None
        if is_shared:
            share = _LentShare(self, claim.worker, claim.call, question)
            self._lent[claim.call] = (claim.reader, question)
        try:
            claim.reader.claimed(share, is_known=is_known)
        except (
            Exception
        ) as error:  # the reader's own fault: nobody above the channel ends its request
            claim.reader.crashed(error)
