"""Reads on, for a moment, where a caller has left a stream that lacks nothing but its usage.

Many loops over a stream end at the piece that says why the model stopped, and their SDKs close the connection there. Providers tell in the
event after it what they will bill (envoyproxy/ai-gateway#2563): without it the tokens would be an estimate.
"""

from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.usage_event import UsageEvent
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.attempt_outcome import Trouble

WAIT_SECONDS: Final = 1.0
"""The usage comes with the end of the answer, milliseconds later; looked at every second."""
MOST_WAITING: Final = 256
"""In a worker: each keeps a provider's connection."""
MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Of their calls' bodies, which nothing else bounds any more: the caller's connection may bring the next one."""


class UsageWait(Consumer):
    """Reads what is left for nobody. until is in monotonic seconds; caller is whoever read before, and is told of the end. body_bytes is the size of the call."""

    __slots__ = ("_waiting", "attempt", "body_bytes", "caller", "until")

    def __init__(
        self, caller: Consumer, attempt: Attempt, waiting: "set[UsageWait]", until: float
    ) -> None:
        self.caller = caller
        self._waiting = waiting
        self.attempt: Attempt | None = attempt
        self.body_bytes = len(attempt.call.body.raw)
        self.until = until

    def tick(self, now: float) -> None:
        """Ends it where its time is over; called every second."""
        if now >= self.until:
            self.end()

    def end(self) -> None:
        """Lets the provider go; what it has told so far counts."""
        if self.attempt is not None:
            self.attempt.abort()

    def answer_started(self, attempt: Attempt) -> None:
        return

    def answer_body(self, data: bytes) -> None:
        return

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        return

    def may_refuse(self) -> bool:
        return False

    def grant_second_send(self) -> bool:
        return False

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        return

    def crashed(self, error: Exception) -> None:
        # what raises once it is counted settles nothing any more
        self._waiting.discard(self)
        self.caller.crashed(error)

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        self._waiting.discard(self)
        # the attempt refers to us: let go, or only the collector could free it
        self.attempt = None
        self.caller.attempt_settled(attempt, event)


class UsageWaits:
    """The streams of one worker that are read on."""

    __slots__ = ("_exceptions", "_most", "_stopped", "_waiting")

    def __init__(self, exceptions: ExceptionLog, *, most: int = MOST_WAITING) -> None:
        self._exceptions = exceptions
        self._most = most
        self._waiting: set[UsageWait] = set()
        self._stopped = False

    def take(self, attempt: Attempt, now: float) -> bool:
        """Reads on for the caller, who has left, where only the usage is missing; returns whether it does."""
        if self._stopped or not attempt.lacks_only_usage or not self._has_room_for(attempt):
            return False
        wait = UsageWait(attempt.consumer, attempt, self._waiting, now + WAIT_SECONDS)
        self._waiting.add(wait)
        attempt.read_on_for(wait)
        return True

    def _has_room_for(self, attempt: Attempt) -> bool:
        held = sum(wait.body_bytes for wait in self._waiting)
        return (
            len(self._waiting) < self._most
            and held + len(attempt.call.body.raw) <= MOST_WAITING_BYTES
        )

    def tick(self, now: float) -> None:
        """Ends what has waited long enough; call it every second."""
        for wait in list(self._waiting):
            try:
                wait.tick(now)
            except Exception as raised:  # any fault of one: the others are to end all the same
                self._give_up(wait, raised)

    def stop(self) -> None:
        """Ends all of it: the process is about to end."""
        self._stopped = True
        for wait in list(self._waiting):
            try:
                wait.end()
            except Exception as raised:  # as in tick
                self._give_up(wait, raised)

    def _give_up(self, wait: UsageWait, raised: Exception) -> None:
        self._waiting.discard(wait)
        try:
            # frees what its caller holds
            wait.crashed(raised)
        except Exception as again:  # there is nobody left to tell, and the others are to end
            self._exceptions.note(again)
