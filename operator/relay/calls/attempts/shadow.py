"""Shadow copies: a sample of stable's calls is also sent to the canary, compared, counted and thrown away.

A copy is never on the caller's path: it starts after the call itself, has a small budget of its own, holds no seat and
takes nothing from the tenant's limits, and the caller sees nothing of it. The relay executes nothing, so neither does a
copy.
"""

import asyncio
import random
from dataclasses import replace

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.usage_event import UsageEvent
from relay.admission.not_admitted import NotAdmitted
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.attempt_outcome import Trouble
from relay.calls.attempts.call import Call
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.shadow_comparison import Comparison
from relay.routing.routes import Target, target_at


class ShadowCopy(Consumer):
    """A consumer that reads everything and keeps nothing."""

    __slots__ = ("_comparison", "_exceptions", "_running", "attempt")

    def __init__(
        self, running: "set[ShadowCopy]", comparison: Comparison, exceptions: ExceptionLog
    ) -> None:
        self._exceptions = exceptions
        self._running = running
        self._comparison = comparison
        self.attempt: Attempt | None = None

    def start(self) -> None:
        """Starts the attempt, unless it was aborted meanwhile."""
        try:
            if self.attempt is not None:
                self.attempt.start()
        except Exception as raised:  # called by the event loop, which would only log it
            self.crashed(raised)

    def crashed(self, error: Exception) -> None:
        """Ends the copy after an exception in its handling."""
        self._exceptions.note(error)
        self._running.discard(self)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.give_up()

    def answer_started(self, attempt: Attempt) -> None:
        return

    def answer_body(self, data: bytes) -> None:
        return

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        return

    def may_refuse(self) -> bool:
        return True

    def grant_second_send(self) -> bool:
        return True

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        return

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        self._running.discard(self)
        # the attempt refers to us: let go, or only the collector could free it
        self.attempt = None
        self._comparison.copied(attempt, event)


class Shadows:
    """The copies of one worker. concurrency bounds those under way, max_body_bytes the calls that are copied."""

    __slots__ = (
        "_concurrency",
        "_exceptions",
        "_max_body_bytes",
        "_metrics",
        "_providers",
        "_running",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        metrics: WorkerMetrics,
        exceptions: ExceptionLog,
        *,
        concurrency: int,
        max_body_bytes: int,
    ) -> None:
        self._providers = providers
        self._metrics = metrics
        self._exceptions = exceptions
        self._concurrency = concurrency
        self._max_body_bytes = max_body_bytes
        self._running: set[ShadowCopy] = set()

    def sample(self, call: Call) -> Comparison | None:
        """Draws if this call is copied; the copy starts once the call itself is under way."""
        plan = call.plan
        canary = plan.canary
        if canary is None or random.uniform(0, 100) >= plan.shadow_percent:
            return None
        skipped = None
        if len(self._running) >= self._concurrency:
            skipped = "skipped_budget"
        elif len(call.body.raw) > self._max_body_bytes:
            skipped = "skipped_size"
        elif call.body.continues_response:
            skipped = "skipped_state"  # what it continues is stored at the other provider
        target = target_at(replace(canary, label="shadow"), call.body.model)
        if skipped is not None or target is None:
            self._metrics.shadow[plan.name, skipped or "skipped_model"] += 1
            return None
        # under the caller's key the copy might be answered from the original's record
        copied = call.without_header(b"idempotency-key")
        return self._copy(copied, target)

    def stop(self) -> None:
        """Aborts the copies under way: the process is about to end."""
        for copy in list(self._running):
            if copy.attempt is not None:
                copy.attempt.abort()

    def _copy(self, call: Call, target: Target) -> Comparison | None:
        hold = call.tenant.admission.try_quota(
            target.provider,
            input_tokens=call.estimate.input_tokens,
            output_tokens=call.estimate.output_tokens,
            least_tokens=call.estimate.least_tokens,
        )
        if isinstance(hold, NotAdmitted):
            self._metrics.shadow[call.plan.name, "skipped_slice"] += 1
            return None
        comparison = Comparison(self._metrics)
        copy = ShadowCopy(self._running, comparison, self._exceptions)
        copy.attempt = Attempt(self._providers, copy, call, target, number=1, hold=hold)
        self._running.add(copy)
        asyncio.get_running_loop().call_soon(copy.start)
        return comparison
