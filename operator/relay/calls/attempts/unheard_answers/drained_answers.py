"""Reads answers to their end whose callers have left, where the Provider's afterDisconnect says so: what it will bill is in the end alone.

A provider may go on with an answer, and bill it, after its client has left. Cancelled, the relay can only book what had come; read on, it
books the provider's own number (docs/adr/0048-drained-answers.md). For its side and for routing such an attempt is cancelled when its caller leaves, as it is
without all this; its call keeps the seat, since it occupies the provider.
"""

from collections import defaultdict
from typing import Final, Literal

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metric_catalogue import Labels
from relay.accounting.usage_event import UsageEvent
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.unheard_answers.usage_waits import WAIT_SECONDS, UsageWait, UsageWaits
from relay_contract.document import Drain

DrainEnd = Literal["usage", "unreported", "seconds", "tokens", "stopped", "refused"]
"""The ways in which it ends. usage: the provider has reported what the call used. unreported: the answer ended, or broke off, without. seconds, tokens: at
the bounds of the Provider. stopped: the process was about to end. refused: not begun, since as many are read on as may be."""
_NOT_YET: Final = 1e18
"""Monotonic seconds that nobody sees."""


class DrainedAnswer(UsageWait):
    """One answer that is read on.

    Where nothing but the usage was missing it counts for its side as what it becomes within a moment, as usage_waits has it; the time to be
    counted as left is leaves_at.
    """

    __slots__ = ("_end", "_ends", "_leaves_at", "_most_tokens")

    def __init__(
        self,
        caller: Consumer,
        attempt: Attempt,
        waiting: set[UsageWait],
        ends: "defaultdict[Labels, float]",
        drain: Drain,
        now: float,
    ) -> None:
        super().__init__(caller, attempt, waiting, now + drain.max_seconds)
        self._ends = ends
        self._end: DrainEnd | None = None
        self._most_tokens = attempt.streamed_tokens + drain.max_tokens
        self._leaves_at = now + WAIT_SECONDS if attempt.lacks_only_usage else now

    def tick(self, now: float) -> None:
        attempt = self.attempt
        if attempt is not None and now >= self._leaves_at:
            self._leaves_at = _NOT_YET
            self.caller.attempt_left(attempt, attempt.leave(now))
        if now >= self.until:
            self._end_by("seconds")

    def end(self) -> None:
        self._end_by("stopped")

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        if not completed and attempt.streamed_tokens > self._most_tokens:
            self._end_by("tokens")

    def _end_by(self, end: DrainEnd) -> None:
        attempt = self.attempt
        if attempt is not None:
            self._end = end
            attempt.abort()

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        is_reported = event.tokens is not None and not event.estimated
        end = self._end or ("usage" if is_reported else "unreported")
        self._ends[attempt.target.provider, end] += 1
        super().attempt_settled(attempt, event)


class DrainedAnswers(UsageWaits):
    """The answers of one worker that are read on, at most so many. ends counts them by provider and end."""

    __slots__ = ("_ends",)

    def __init__(
        self, exceptions: ExceptionLog, ends: "defaultdict[Labels, float]", *, most: int
    ) -> None:
        super().__init__(exceptions, most=most)
        self._ends = ends

    @property
    def are_any(self) -> bool:
        """True while an answer is read on."""
        return bool(self._waiting)

    def take(self, attempt: Attempt, now: float) -> bool:
        """Reads on for the caller, who has left, where the Provider says so and may still tell of usage; returns whether it does."""
        drain = attempt.target.destination.upstream.provider.drain
        if drain is None or self._stopped or not attempt.may_tell_usage:
            return False
        if not self._has_room_for(attempt):
            self._ends[attempt.target.provider, "refused"] += 1
            return False
        answer = DrainedAnswer(attempt.consumer, attempt, self._waiting, self._ends, drain, now)
        self._waiting.add(answer)
        attempt.read_on_for(answer)
        answer.tick(now)
        return True
