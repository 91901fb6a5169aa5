"""Shadow copies: a sample of stable's calls is also sent to the canary, compared, counted and thrown away.

Never on the caller's path: a copy starts after the call itself, has its own small budget, holds no seat, takes nothing from
the tenant's limits, and whatever becomes of it the caller sees nothing. The relay executes nothing, so neither does a copy.
"""

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from relay.accounting.usage_event import UsageEvent
from relay.admission.not_admitted import NotAdmitted
from relay.calls.attempt import FAILURES, Attempt, Consumer, Trouble
from relay.calls.call import Call
from relay.dialect.reported_usage import Tokens
from relay.routing.routes import Leg

if TYPE_CHECKING:
    from relay.calls.call_service import CallService

TOKEN_DRIFT: Final = 0.05
"""Input counted this much differently is a difference: the same prompt should cost the same."""
SLOWER: Final = 2.0
"""A copy that takes this many times as long as the call it copies is slower."""


class Comparison:
    """A call and its copy, counted under one outcome when both have ended."""

    __slots__ = ("_copied", "_served", "_shadows")

    def __init__(self, shadows: "Shadows") -> None:
        self._shadows = shadows
        self._served: tuple[Attempt, UsageEvent] | None = None
        self._copied: tuple[Attempt, UsageEvent] | None = None

    def served(self, attempt: Attempt, event: UsageEvent) -> None:
        """The caller's own attempt ended; of several the last counts."""
        self._served = attempt, event
        self._conclude()

    def copied(self, attempt: Attempt, event: UsageEvent) -> None:
        """The copy ended."""
        self._copied = attempt, event
        self._conclude()

    def _conclude(self) -> None:
        if self._served is None or self._copied is None:
            return
        (served, served_event), (copied, copied_event) = self._served, self._copied
        outcome = compare(served, served_event, copied, copied_event)
        self._served = self._copied = None
        self._shadows.count(served_event.subject.route, outcome)


def compare(
    served: Attempt, served_event: UsageEvent, copied: Attempt, copied_event: UsageEvent
) -> str:
    """The first difference that counts, in the order of how much it matters; `match` without one."""
    if copied_event.outcome in FAILURES or copied_event.outcome == "throttled":
        return copied_event.outcome
    if served_event.outcome != "ok":
        return "not_comparable"
    if served.status != copied.status:
        return "status"
    if served.shape() != copied.shape():
        return "shape"
    if served.finish_reason() != copied.finish_reason():
        return "finish_reason"
    if _drifts(served_event.tokens, copied_event.tokens):
        return "tokens"
    slower = copied_event.latency_seconds > SLOWER * served_event.latency_seconds
    return "slower" if slower else "match"


def _drifts(served: Tokens | None, copied: Tokens | None) -> bool:
    if served is None or copied is None:
        return served is not copied
    return abs(served.input - copied.input) > TOKEN_DRIFT * max(served.input, 1)


class _Copy(Consumer):
    """A consumer that reads everything and keeps nothing."""

    __slots__ = ("_comparison", "_shadows", "attempt")

    def __init__(self, shadows: "Shadows", comparison: Comparison) -> None:
        self._shadows = shadows
        self._comparison = comparison
        self.attempt: Attempt | None = None

    def answer_started(self, attempt: Attempt) -> None:
        return

    def answer_body(self, data: bytes) -> None:
        return

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        return

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        return

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        self._shadows.ended(self)
        self._comparison.copied(attempt, event)


class Shadows:
    """The copies of one worker."""

    def __init__(self, service: "CallService") -> None:
        self._service = service
        self._running: set[_Copy] = set()

    def sample(self, order: Call) -> Comparison | None:
        """A comparison if this call is copied; the copy starts once the call itself is under way."""
        plan, settings = order.plan, self._service.settings
        canary = plan.canary
        if canary is None or random.uniform(0, 100) >= plan.shadow_percent:
            return None
        skipped = None
        if len(self._running) >= settings.shadow_concurrency:
            skipped = "skipped_budget"
        elif len(order.body.raw) > settings.shadow_max_body_bytes:
            skipped = "skipped_size"
        elif "previous_response_id" in order.body.document:
            skipped = "skipped_state"  # what it continues is stored at the other provider
        name = canary.upstream_model(order.body.model)
        if skipped is not None or name is None:
            self.count(plan.name, skipped or "skipped_model")
            return None
        # under the caller's key the copy might be answered from the original's record
        copied = order.without_header(b"idempotency-key")
        return self._copy(copied, Leg(replace(canary, label="shadow"), name))

    def count(self, route: str, outcome: str) -> None:
        """One more copy with this outcome."""
        self._service.metrics.shadow[route, outcome] += 1

    def ended(self, copy: _Copy) -> None:
        """The copy's place is free."""
        self._running.discard(copy)

    def stop(self) -> None:
        """No copy is under way: the process is about to end."""
        for copy in list(self._running):
            if copy.attempt is not None:
                copy.attempt.abort()

    def _copy(self, order: Call, leg: Leg) -> Comparison | None:
        verdict = self._service.slice_of(order, leg.destination)
        if isinstance(verdict, NotAdmitted):
            self.count(order.plan.name, "skipped_slice")
            return None
        comparison = Comparison(self)
        copy = _Copy(self, comparison)
        copy.attempt = self._service.attempt(copy, order, leg, number=1, hold=verdict)
        self._running.add(copy)
        asyncio.get_running_loop().call_soon(copy.attempt.start)
        return comparison
