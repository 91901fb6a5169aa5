"""From a readable call to a seat: the tenant's limits, the provider's quota, then the fair queue.

The rules are in relay.admission.limiter, provider_quota_line and fair_queue, which are pure; this module alone reads the
clock and sets timers. Seats that fall free start their calls from the loop, not from inside the call that freed them, so
that a burst of failures cannot nest.
"""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypedDict

from mypy_extensions import trait

from relay.admission.ask import Ask
from relay.admission.fair_queue import FairQueue
from relay.admission.limiter import Limiter
from relay.admission.not_admitted import NotAdmitted
from relay.admission.priority_lanes import Ticket
from relay.admission.provider_quota_line import NO_QUOTA, ProviderQuotaLine
from relay.admission.reservation import Reservation
from relay.admission.tickets import Flow, TicketState
from relay.admission.token_buckets import Hold
from relay.admission.tools.tool_limiter import ToolLimiter
from relay_contract.document import ProviderLimits, Queue, TenantDocument
from relay_contract.quota_use import QuotaLevel


@trait
class Applicant(ABC):
    """A call that wants a seat. It makes its reservation; admission fills it."""

    reservation: Reservation

    @abstractmethod
    def seated(self) -> None:
        """Starts the call; the seat is its until it leaves."""

    @abstractmethod
    def choose_provider(self, now: float) -> str:
        """Returns the provider that the waiting call wants now, which may be another one than before."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Called about once a second while the call holds its seat."""

    @abstractmethod
    def turned_away(self, refused: NotAdmitted) -> None:
        """Refuses the call: there will be no seat."""


class Admission:
    """Limits, quotas and seats of one tenant in one worker, which holds `share` of everything that is granted."""

    def __init__(
        self,
        tenant: TenantDocument,
        quotas: Mapping[str, ProviderLimits],
        *,
        share: float,
        now: float,
    ) -> None:
        self.share = share
        self.limiter = Limiter(tenant.limits, share=share, now=now, keys=tenant.keys)
        self.tool_limiter = ToolLimiter(tenant, share=share, now=now)
        self.queue = FairQueue(**_bounds(tenant.queue, share), now=now)
        self._flows = _flows(tenant)
        self._lines: dict[str, ProviderQuotaLine] = {}
        self._retries: dict[ProviderQuotaLine, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._set_quotas(tenant.queue, quotas, now)

    def reconfigure(
        self,
        tenant: TenantDocument,
        quotas: Mapping[str, ProviderLimits],
        *,
        share: float,
        now: float,
    ) -> None:
        """Applies a new document; what is held, owed and waiting stays so. quotas are by provider name."""
        self.share = share
        self.limiter.reconfigure(tenant.limits, share=share, now=now, keys=tenant.keys)
        self.tool_limiter.reconfigure(tenant, share=share, now=now)
        self._flows = _flows(tenant)
        started = self.queue.reconfigure(**_bounds(tenant.queue, share), now=now)
        self._set_quotas(tenant.queue, quotas, now)
        self._start(started)

    def enter(self, applicant: Applicant, now: float) -> None:
        """Seats the call, queues it or turns it away; limits first, they cost the least to refuse."""
        reservation = applicant.reservation
        ask = reservation.ask
        verdict = self.limiter.admit(
            key=ask.key,
            model=ask.model,
            input_tokens=ask.input_tokens,
            output_tokens=ask.output_tokens,
            least_tokens=ask.least_tokens,
            now=now,
        )
        if isinstance(verdict, NotAdmitted):
            applicant.turned_away(verdict)
            return
        reservation.hold = verdict
        self._enter_at(applicant, ask.provider, now)

    def try_quota(
        self, provider: str, *, input_tokens: int, output_tokens: int, least_tokens: int
    ) -> Hold | NotAdmitted | None:
        """Takes a hold on the provider's quota without waiting for it; None where it has no limit."""
        line = self._lines.get(provider)
        if line is None:
            return None
        return line.try_now(
            input_tokens, output_tokens, time.monotonic(), least_tokens=least_tokens
        )

    def try_provider(self, reservation: Reservation, provider: str) -> bool:
        """Moves a seated call to another provider if its quota has room now; returns whether it has."""
        ask = reservation.ask
        verdict = self.try_quota(
            provider,
            input_tokens=ask.input_tokens,
            output_tokens=ask.output_tokens,
            least_tokens=ask.least_tokens,
        )
        if isinstance(verdict, NotAdmitted):
            return False
        reservation.keep_provider_hold(provider, verdict, time.monotonic())
        return True

    def change_provider(self, applicant: Applicant, provider: str, now: float) -> bool:
        """Moves a seated call that was not sent yet to another provider; returns False where it is seated anew or refused.

        Without room in that provider's quota it waits there like any other call, and not on its seat.
        """
        reservation = applicant.reservation
        if provider == reservation.provider or self.try_provider(reservation, provider):
            return True
        self.leave(reservation, now)
        self._enter_at(applicant, provider, now)
        return False

    def reconsider(self) -> None:
        """Lets calls that wait for a quota choose again, one after another, because a breaker has opened."""
        for line in self._lines.values():
            self._try_first(line)

    def leave(self, reservation: Reservation, now: float) -> None:
        """Gives up the call's seat and its place in line; whoever is next starts."""
        if reservation.line_ticket is not None:
            self._leave_line(reservation, passed=False, now=now)
        ticket = reservation.ticket
        if ticket is not None:
            started = self.queue.release(ticket, now=now)
            reservation.ticket = None
            if started:
                self._start(started)

    def tick(self, now: float) -> None:
        """Turns away calls that waited too long for a quota and ticks those that run; call it about once a second."""
        for name, line in list(self._lines.items()):
            for ticket in line.queue.expire(now):
                _owner(ticket).turned_away(line.lapse_reason(ticket, now))
            if line.is_over:
                del self._lines[name]
        for ticket in self.queue.running():
            _owner(ticket).tick(now)

    def quota_use(self, now: float) -> list[tuple[str, QuotaLevel]]:
        """Returns how much of each provider's quota is used of what this worker holds; call it every second."""
        return [
            (name, line.look(now)) for name, line in sorted(self._lines.items()) if line.has_quota
        ]

    # -- provider quotas -------------------------------------------------------------------------------------------

    def _enter_at(self, applicant: Applicant, provider: str, now: float) -> None:
        """Seats the call by way of the provider's quota, if it has one."""
        applicant.reservation.keep_provider_hold(provider, None, now)
        line = self._lines.get(provider)
        if line is None:
            self._take_seat(applicant, now)
        else:
            self._enter_line(applicant, line, now)

    def _enter_line(self, applicant: Applicant, line: ProviderQuotaLine, now: float) -> None:
        reservation = applicant.reservation
        entered = line.enter(reservation.ask, self._flow(reservation.ask), owner=applicant, now=now)
        if isinstance(entered, Hold):
            reservation.provider_hold = entered
            self._take_seat(applicant, now)
        elif isinstance(entered, NotAdmitted):
            applicant.turned_away(entered)
        else:
            reservation.line, reservation.line_ticket = line, entered
            self._retry(line, entered)

    def _retry(self, line: ProviderQuotaLine, ticket: Ticket) -> None:
        """Lets the first in line try; it goes on to the seats, waits for its next try, or is turned away."""
        if not line.is_first(ticket):
            return
        self._stop_retrying(line)
        now = time.monotonic()
        applicant = _owner(ticket)
        reservation = applicant.reservation
        provider = applicant.choose_provider(now)
        if provider != reservation.provider:
            self._leave_line(reservation, passed=False, now=now)
            reservation.queue_seconds += now - ticket.enqueued_at
            self._enter_at(applicant, provider, now)
            return
        verdict = line.retry(reservation.ask, ticket, now)
        if isinstance(verdict, Hold):
            self._leave_line(reservation, passed=True, now=now)
            reservation.queue_seconds += now - ticket.enqueued_at
            reservation.provider_hold = verdict
            self._take_seat(applicant, now)
        elif isinstance(verdict, NotAdmitted):
            self._leave_line(reservation, passed=False, now=now)
            applicant.turned_away(verdict)
        else:
            loop = asyncio.get_running_loop()
            self._retries[line] = loop.call_later(verdict, self._retry, line, ticket)

    def _leave_line(self, reservation: Reservation, *, passed: bool, now: float) -> None:
        line, ticket = reservation.line, reservation.line_ticket
        assert line is not None
        assert ticket is not None
        reservation.line_ticket = None
        if line.is_first(ticket):
            self._stop_retrying(line)
        for started in line.leave(ticket, passed=passed, now=now):
            asyncio.get_running_loop().call_soon(self._retry, line, started)

    def _try_first(self, line: ProviderQuotaLine) -> None:
        for first in line.queue.running():
            asyncio.get_running_loop().call_soon(self._retry, line, first)

    def _stop_retrying(self, line: ProviderQuotaLine) -> None:
        timer = self._retries.pop(line, None)
        if timer is not None:
            timer.cancel()

    def _set_quotas(self, queue: Queue, quotas: Mapping[str, ProviderLimits], now: float) -> None:
        """Applies the quotas; calls that wait for one that is no more go on, those first in line try at once."""
        bounds = _bounds(queue, self.share)
        depth, longest_wait = bounds["max_depth"], bounds["max_wait_seconds"]
        for name in {**self._lines, **quotas}:
            quota = quotas.get(name, NO_QUOTA)
            line = self._lines.get(name)
            if line is not None:
                line.reconfigure(
                    quota,
                    share=self.share,
                    max_depth=depth,
                    max_wait_seconds=longest_wait,
                    now=now,
                )
                self._try_first(line)
            elif quota != NO_QUOTA:
                self._lines[name] = ProviderQuotaLine(
                    quota,
                    share=self.share,
                    max_depth=depth,
                    max_wait_seconds=longest_wait,
                    now=now,
                )

    # -- seats -----------------------------------------------------------------------------------------------------

    def _take_seat(self, applicant: Applicant, now: float) -> None:
        reservation = applicant.reservation
        ask = reservation.ask
        ticket = self.queue.submit(self._flow(ask), priority=ask.priority, now=now, owner=applicant)
        if isinstance(ticket, NotAdmitted):
            applicant.turned_away(ticket)
            return
        reservation.ticket = ticket
        if ticket.state is TicketState.RUNNING:
            applicant.seated()
        else:
            self._watch()

    def _start(self, tickets: list[Ticket]) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for ticket in tickets:
            applicant = _owner(ticket)
            applicant.reservation.queue_seconds += now - ticket.enqueued_at
            loop.call_soon(applicant.seated)
        self._watch()

    def _watch(self) -> None:
        """Sets one timer for the earliest deadline in the queue."""
        deadline = self.queue.next_deadline()
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        wait = max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(wait, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        for ticket in self.queue.expire(now):
            _owner(ticket).turned_away(self.queue.lapse_reason(ticket, now))
        self._watch()

    def _flow(self, ask: Ask) -> Flow:
        flow = self._flows.get(ask.key)
        if flow is None:
            # the call began under an earlier document that had its key
            flow = self._flows[ask.key] = Flow(tenant="", key=ask.key, weight=ask.key_weight)
        return flow


class _Bounds(TypedDict):
    seats: int
    max_depth: int
    max_wait_seconds: float


def _bounds(queue: Queue, share: float) -> _Bounds:
    """Returns this worker's part of the tenant's queue: at least one seat, however many workers share it."""
    return {
        "seats": max(1, math.ceil(queue.concurrency * share)),
        "max_depth": math.ceil(queue.max_depth * share),
        "max_wait_seconds": queue.max_wait_seconds,
    }


def _flows(tenant: TenantDocument) -> dict[str, Flow]:
    return {
        key.name: Flow(tenant=tenant.name, key=key.name, weight=key.weight) for key in tenant.keys
    }


def _owner(ticket: Ticket) -> Applicant:
    owner = ticket.owner
    assert owner is not None
    return owner  # type: ignore[return-value]  # only applicants are given to submit
