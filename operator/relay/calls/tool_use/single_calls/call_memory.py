"""A worker's way to what its pod remembers of calls that must not be carried out twice.

The supervisor has it, so that a repeat that reaches another worker finds it, and a worker that is killed takes none of it along.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from mypy_extensions import trait

from relay.random_ids import random_id
from relay.tools.idempotency.remembered_calls import Answer, Claim, End, Verdict


@trait
class VerdictReader(ABC):
    """Waits for what is known of a call."""

    @abstractmethod
    def decided(self, verdict: Verdict) -> None:
        """Takes what is known; called once."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Takes an exception in the handling of that."""


class ClaimTicket:
    """Holds one claim: its holder waits for the verdict, and if it was to carry the call out, tells once how that ended."""

    __slots__ = ("_call", "_memory", "_number")

    def __init__(self, memory: "CallMemory", number: int, call: str) -> None:
        self._memory = memory
        self._number = number
        self._call = call

    def leave(self) -> None:
        """Waits no more."""
        self._memory.leave(self._number)

    def end(self, how: End, answer: Answer | None = None) -> None:
        """Tells how the call ended; later ends are none."""
        call, self._call = self._call, ""
        if call:
            self._memory.end(self._number, call, how, answer)


class CallMemory:
    """One per worker. send tells the supervisor; while there is none, nothing can be remembered."""

    __slots__ = ("_number", "_waiting", "send")

    def __init__(self) -> None:
        # a verdict for the worker that had this worker's number before is none on a claim of ours
        self._number = int(random_id(12), 16)
        self._waiting: dict[int, VerdictReader] = {}
        self.send: Callable[..., None] | None = None

    def claim(self, claim: Claim, reader: VerdictReader) -> ClaimTicket | None:
        """Asks whether the call is to be carried out, and tells the reader; None where nobody can be asked."""
        if self.send is None:
            return None
        self._number += 1
        self._waiting[self._number] = reader
        self.send("tool_claim", id=self._number, claim=list(claim))
        return ClaimTicket(self, self._number, claim.call)

    def leave(self, number: int) -> None:
        """Waits no more for this verdict."""
        if self._waiting.pop(number, None) is not None and self.send is not None:
            self.send("tool_left", id=number)

    def end(self, number: int, call: str, how: End, answer: Answer | None) -> None:
        """Tells how a call ended that was to be carried out here."""
        if self.send is not None:
            kept = None if answer is None else list(answer)
            self.send("tool_ended", id=number, call=call, how=how, answer=kept)

    def take_in(self, message: dict[str, Any]) -> None:
        """Takes in a verdict; of one that nobody waits for any more nothing is carried out."""
        number, found = message["id"], message["verdict"]
        answer = None if found[1] is None else Answer(*found[1])
        verdict = Verdict(found[0], answer, found[2], found[3])
        reader = self._waiting.pop(number, None)
        if reader is None:
            if verdict.finding == "first":
                self.end(number, message["call"], "unsent", None)
            return
        try:
            reader.decided(verdict)
        except (
            Exception
        ) as error:  # the reader's own fault: nobody above the channel ends its request
            reader.crashed(error)
