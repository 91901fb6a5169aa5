"""The pod's memory of calls that must not be carried out twice: workers claim them, and tell how they ended."""

import asyncio
import time
from collections.abc import Callable

from relay.process.worker_channel import Message
from relay.tools.idempotency.remembered_calls import (
    Answer,
    Claim,
    Claimant,
    RememberedCalls,
    Told,
    Verdict,
)


class PodCallMemory:
    """One per pod; tell sends a message to the worker of a number."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._remembered = RememberedCalls()
        self._timer: asyncio.TimerHandle | None = None

    def take_in(self, worker: int, message: Message) -> None:
        """Takes in what a worker tells."""
        claimant = (worker, message["id"])
        match message["kind"]:
            case "tool_claim":
                claim = Claim(*message["claim"])
                verdict = self._remembered.claim(claimant, claim, time.monotonic())
                if verdict is not None:
                    self._answer(claimant, claim.call, verdict)
            case "tool_ended":
                kept = message["answer"]
                answer = None if kept is None else Answer(*kept)
                call, now = message["call"], time.monotonic()
                self._tell_all(
                    call, self._remembered.end(claimant, call, message["how"], answer, now)
                )
                self._forget_in_time()
            case "tool_left":
                self._remembered.leave(claimant)

    def ended(self, worker: int) -> None:
        """Notes that a worker is gone."""
        self._tell_all("", self._remembered.worker_ended(worker, time.monotonic()))
        self._forget_in_time()

    def _tell_all(self, call: str, told: Told) -> None:
        for claimant, verdict in told:
            self._answer(claimant, call, verdict)

    def _answer(self, claimant: Claimant, call: str, verdict: Verdict) -> None:
        worker, number = claimant
        answer = None if verdict.answer is None else list(verdict.answer)
        found = [verdict.finding, answer, verdict.call_id, verdict.wait_seconds]
        self._tell(worker, "tool_verdict", id=number, call=call, verdict=found)

    def _forget_in_time(self) -> None:
        """Forgets what is over even if no call comes any more: answers are kept no longer than was said."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        next_end = self._remembered.forget_ended(now)
        if next_end is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.1, next_end - now), self._forget_in_time)
