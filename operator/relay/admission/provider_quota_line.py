"""Calls waiting for the tenant's part of a provider's quota. The first one retries when capacity is due.

A fair queue with one seat, the right to try, keeps the line fair between keys. Pure: the caller passes monotonic seconds
and sets the timers.
"""

from typing import Final

from relay.admission.ask import Ask
from relay.admission.fair_queue import SHORTEST_RETRY_SECONDS, FairQueue
from relay.admission.limiter import PROVIDER, Limiter, quota_limits
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.priority_lanes import Ticket
from relay.admission.tickets import Flow, TicketState
from relay.admission.token_buckets import Hold
from relay_contract.document import ProviderLimits
from relay_contract.quota_use import BUSY, QUIET, QUIET_SECONDS, SHORT, QuotaLevel

NO_QUOTA: Final = ProviderLimits()
"""Of a provider that has none, or has none any more."""

_OF_LATE: Final = 0.1
_OF_A_WHILE: Final = 0.01
"""Gives the weight of one second in the averages of use: ten seconds make two thirds of the one, a hundred of the other."""

_LINE_REASONS: Final = {
    NotAdmittedReason.QUEUE_FULL: NotAdmittedReason.PROVIDER_QUEUE_FULL,
    NotAdmittedReason.QUEUE_TIMEOUT: NotAdmittedReason.PROVIDER_QUEUE_TIMEOUT,
    NotAdmittedReason.QUEUE_WAIT_TOO_LONG: NotAdmittedReason.PROVIDER_QUEUE_WAIT_TOO_LONG,
}
"""The queue's reasons as those of the line: the seat is free, the quota is not."""


class ProviderQuotaLine:
    """One provider's quota, as far as this worker holds it, and the calls that wait for it."""

    __slots__ = ("_limited", "_longest_wait", "_loud_at", "_used", "_used_long", "limiter", "queue")

    def __init__(
        self,
        quota: ProviderLimits,
        *,
        share: float,
        max_depth: int,
        max_wait_seconds: float,
        now: float,
    ) -> None:
        self.limiter = Limiter(quota_limits(quota), share=share, now=now, scope=PROVIDER)
        self.queue = FairQueue(
            seats=1, max_depth=max_depth, max_wait_seconds=max_wait_seconds, now=now
        )
        self._longest_wait = max_wait_seconds
        self._limited = quota != NO_QUOTA
        # the part of it that was used, and when that was last more than a little: a new line has proved nothing
        self._used = self._used_long = 0.0
        self._loud_at = now

    def reconfigure(
        self,
        quota: ProviderLimits,
        *,
        share: float,
        max_depth: int,
        max_wait_seconds: float,
        now: float,
    ) -> None:
        """Applies another quota and other bounds; what waits keeps its place and its deadline.

        With NO_QUOTA whoever is first passes at its next try.
        """
        self._limited = quota != NO_QUOTA
        self.limiter.reconfigure(quota_limits(quota), share=share, now=now)
        self._longest_wait = max_wait_seconds
        self.queue.reconfigure(
            seats=1, max_depth=max_depth, max_wait_seconds=max_wait_seconds, now=now
        )

    @property
    def is_over(self) -> bool:
        """Returns whether there is no quota any more, and nobody who still waits."""
        queue = self.queue
        return not self._limited and queue.in_flight == 0 and queue.depth == 0

    @property
    def has_quota(self) -> bool:
        """Returns whether there is a quota now."""
        return self._limited

    def look(self, now: float) -> QuotaLevel:
        """Takes in whether the quota is in use at this moment; returns how much of it is. Call it every second.

        A bucket that refills at its rate is not full for as much of the time as of the rate is used.
        """
        is_used = 1.0 if self.limiter.is_refilling(now=now) else 0.0
        self._used += (is_used - self._used) * _OF_LATE
        self._used_long += (is_used - self._used_long) * _OF_A_WHILE
        if self._used_long >= QUIET or self._used >= BUSY:
            self._loud_at = now
        if self.queue.in_flight or self.queue.depth or self._used >= SHORT:
            return "Short"
        if self._used >= BUSY:
            return "Busy"
        return "Quiet" if now - self._loud_at >= QUIET_SECONDS else "Usual"

    def enter(
        self, ask: Ask, flow: Flow, *, owner: object, now: float
    ) -> Hold | Ticket | NotAdmitted:
        """Takes a hold at once if nobody waits and there is room; otherwise queues the call.

        A ticket that runs is first in line: the caller calls retry with it.
        """
        if self.queue.in_flight == 0:
            verdict = self._try(ask, now)
            if isinstance(verdict, Hold):
                return verdict
            if not verdict.waiting_helps or verdict.retry_after_seconds > self._longest_wait:
                return verdict
        entered = self.queue.submit(flow, priority=ask.priority, now=now, owner=owner)
        if isinstance(entered, NotAdmitted):
            return NotAdmitted(_LINE_REASONS[entered.reason], entered.retry_after_seconds)
        return entered

    def try_now(
        self, input_tokens: int, output_tokens: int, now: float, *, least_tokens: int | None = None
    ) -> Hold | NotAdmitted:
        """Takes a hold on the quota without waiting for it."""
        return self.limiter.admit(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            least_tokens=least_tokens,
            now=now,
        )

    def _try(self, ask: Ask, now: float) -> Hold | NotAdmitted:
        return self.try_now(ask.input_tokens, ask.output_tokens, now, least_tokens=ask.least_tokens)

    def retry(self, ask: Ask, ticket: Ticket, now: float) -> Hold | NotAdmitted | float:
        """Tries again for the first in line: a hold, a final refusal, or the seconds until the next try."""
        verdict = self._try(ask, now)
        if isinstance(verdict, Hold):
            return verdict
        if not verdict.waiting_helps or now + verdict.retry_after_seconds > ticket.deadline:
            return verdict
        return verdict.retry_after_seconds

    def leave(self, ticket: Ticket, *, passed: bool, now: float) -> list[Ticket]:
        """Takes the ticket out of the line; returns who is first now, if that changed."""
        if passed:
            return self.queue.release(ticket, now=now)
        return self.queue.cancel(ticket, now=now)

    def is_first(self, ticket: Ticket) -> bool:
        """Returns whether it is this ticket's turn to try."""
        return ticket.state is TicketState.RUNNING

    def lapse_reason(self, ticket: Ticket, now: float) -> NotAdmitted:
        """Returns why a ticket whose time in the line is over was not admitted; the quota is full again by the retry."""
        lapsed = self.queue.lapse_reason(ticket, now)
        view = self.limiter.view(now=now)
        reset = max(view.reset_requests_seconds or 0.0, view.reset_tokens_seconds or 0.0)
        return NotAdmitted(_LINE_REASONS[lapsed.reason], max(reset, SHORTEST_RETRY_SECONDS))
