"""Compares a shadow copy with the call it copies."""

from typing import Final

from relay.accounting.metrics import WorkerMetrics
from relay.accounting.usage_event import FAILURES, UsageEvent
from relay.calls.attempts.attempt import Attempt
from relay.dialect.reported_usage import Tokens

TOKEN_DRIFT: Final = 0.05
"""Input counted this much differently is a difference: the same prompt should cost the same."""
SLOWER: Final = 2.0
"""A copy that takes this many times as long as the call it copies is slower."""


class Comparison:
    """A call and its copy, counted under one outcome when both have ended."""

    __slots__ = ("_copied", "_metrics", "_served")

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._served: tuple[Attempt, UsageEvent] | None = None
        self._copied: tuple[Attempt, UsageEvent] | None = None

    def served(self, attempt: Attempt, event: UsageEvent) -> None:
        """Takes the caller's own attempt when it has ended; of several the last counts."""
        self._served = attempt, event
        self._conclude()

    def copied(self, attempt: Attempt, event: UsageEvent) -> None:
        """Takes the copy when it has ended."""
        self._copied = attempt, event
        self._conclude()

    def _conclude(self) -> None:
        if self._served is None or self._copied is None:
            return
        (served, served_event), (copied, copied_event) = self._served, self._copied
        outcome = compare(served, served_event, copied, copied_event)
        self._served = self._copied = None
        self._metrics.shadow[served_event.subject.route, outcome] += 1


def compare(
    served: Attempt, served_event: UsageEvent, copied: Attempt, copied_event: UsageEvent
) -> str:
    """Names the first difference that counts, in the order of how much it matters; `match` without one."""
    if copied_event.outcome in FAILURES or copied_event.outcome == "throttled":
        return copied_event.outcome
    if served_event.outcome != "ok":
        return "not_comparable"
    if served.status != copied.status or copied_event.outcome == "client_error":
        return "status"
    if _shape(served) != _shape(copied):
        return "shape"
    if _finish_reason(served) != _finish_reason(copied):
        return "finish_reason"
    if _drifts(served_event.tokens, copied_event.tokens):
        return "tokens"
    slower = copied_event.latency_seconds > SLOWER * served_event.latency_seconds
    return "slower" if slower else "match"


def _drifts(served: Tokens | None, copied: Tokens | None) -> bool:
    if served is None or copied is None:
        return served is not copied
    return abs(served.input - copied.input) > TOKEN_DRIFT * max(served.input, 1)


def _shape(attempt: Attempt) -> tuple[str, ...]:
    """Returns the names of a unary answer's fields, or that it is a stream."""
    answer = attempt.answer
    if answer is None or answer.stream is not None:
        return ("stream",)
    return tuple(sorted(answer.document() or ()))


def _finish_reason(attempt: Attempt) -> str | None:
    return attempt.answer.finish_reason() if attempt.answer is not None else None
