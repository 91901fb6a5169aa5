"""Shadow copies: a sample of stable's calls is also sent to the canary, compared, counted and thrown away.

Of every tenth of them stable is asked again as well: what differs between its own two answers tells how much of the
canary's difference means something.
A copy is never on the caller's path: it starts after the call itself, has a small budget of its own, holds no seat and
takes nothing from the tenant's limits, and the caller sees nothing of it. The relay executes nothing, so neither does a
copy.
"""

import asyncio
import random
from dataclasses import replace
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.usage_event import UsageEvent
from relay.admission.not_admitted import NotAdmitted
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.attempt_outcome import Trouble
from relay.calls.attempts.call import Call
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.shadow_comparison import Comparison, Transcript, count_copy
from relay.calls.attempts.shadow_request import read_request
from relay.routing.routes import Target, target_at
from relay_contract.shadow import ShadowOutcome, ShadowPair

ASKED_AGAIN_SHARE: Final = 0.1
"""Of the calls that are copied, those for which stable is asked again."""


class ShadowCopy(Consumer):
    """A consumer that reads everything and keeps what is to be compared."""

    __slots__ = ("_comparison", "_exceptions", "_pair", "_running", "_transcript", "attempt")

    def __init__(
        self,
        running: "set[ShadowCopy]",
        comparison: Comparison,
        exceptions: ExceptionLog,
        pair: ShadowPair,
    ) -> None:
        self._exceptions = exceptions
        self._running = running
        self._comparison = comparison
        self._pair: ShadowPair = pair
        self._transcript = Transcript()
        self.attempt: Attempt | None = None

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
        self._transcript.add(data)

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
        self._comparison.copied(self._pair, attempt, event, self._transcript)


class Shadows:
    """The copies of one worker. concurrency bounds those under way, max_body_bytes the calls that are copied."""

    __slots__ = (
        "_concurrency",
        "_exceptions",
        "_max_body_bytes",
        "_metrics",
        "_providers",
        "_running",
        "_stopped",
        "_waiting",
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
        self._waiting = 0
        self._stopped = False

    def sample(self, call: Call) -> Comparison | None:
        """Draws if this call is copied; the copy starts once the call itself is under way."""
        plan = call.plan
        if plan.canary is None or random.uniform(0, 100) >= plan.shadow_percent:
            return None
        skipped: ShadowOutcome | None = None
        if self._is_full():
            skipped = "skipped_budget"
        elif len(call.body.raw) > self._max_body_bytes:
            skipped = "skipped_size"
        elif call.body.continues_response or call.body.names_conversation:
            skipped = "skipped_state"  # what it continues is stored at the other provider
        if skipped is not None:
            count_copy(call, "canary", skipped, self._metrics)
            return None
        comparison = Comparison(call, self._metrics, self._exceptions)
        self._waiting += 1
        asyncio.get_running_loop().call_soon(self._start, call, comparison)
        return comparison

    def stop(self) -> None:
        """Aborts the copies under way: the process is about to end."""
        self._stopped = True
        for copy in list(self._running):
            if copy.attempt is not None:
                copy.attempt.abort()

    def _is_full(self) -> bool:
        return len(self._running) + self._waiting >= self._concurrency

    def _start(self, call: Call, comparison: Comparison) -> None:
        """Reads the call, and starts its copies."""
        self._waiting -= 1
        try:
            if not self._stopped:
                self._start_copies(call, comparison)
        except Exception as raised:  # called by the event loop, which would only log it
            self._exceptions.note(raised)

    def _start_copies(self, call: Call, comparison: Comparison) -> None:
        canary = call.plan.canary
        assert canary is not None
        request = read_request(call.body.raw, call.endpoint)
        comparison.wants_json = request.wants_json
        if request.is_stateful:
            comparison.skipped("canary", "skipped_state")
            return
        target = target_at(replace(canary, label="shadow"), call.body.model)
        if target is None:
            comparison.skipped("canary", "skipped_model")
            return
        # under the caller's key the copy might be answered from the original's record
        copied = call.without_header(b"idempotency-key")
        if not self._copy(copied, target, comparison, "canary"):
            return
        if random.random() < ASKED_AGAIN_SHARE:
            again = target_at(replace(call.plan.stable, label="shadow"), call.body.model)
            if again is not None:
                self._copy(copied, again, comparison, "stable")

    def _copy(self, call: Call, target: Target, comparison: Comparison, pair: ShadowPair) -> bool:
        """Starts a copy; returns False where the provider's quota has no room for it."""
        if self._is_full():
            comparison.skipped(pair, "skipped_budget")
            return False
        hold = call.tenant.admission.try_quota(
            target.provider,
            input_tokens=call.estimate.input_tokens,
            output_tokens=call.estimate.output_tokens,
            least_tokens=call.estimate.least_tokens,
        )
        if isinstance(hold, NotAdmitted):
            comparison.skipped(pair, "skipped_slice")
            return False
        copy = ShadowCopy(self._running, comparison, self._exceptions, pair)
        # both copies are of one call, and each has an id of its own
        number = 1 if pair == "canary" else 2
        copy.attempt = Attempt(self._providers, copy, call, target, number=number, hold=hold)
        self._running.add(copy)
        try:
            copy.attempt.start()
        except Exception as raised:  # the other copy is to start all the same
            copy.crashed(raised)
        return True
