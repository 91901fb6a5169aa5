"""From a readable call to a seat: the tenant's limits, its slice of the provider's quota, then the fair queue.

The rules are in relay.admission.limiter and relay.admission.fair_queue; here they meet the loop's timers. Seats that fall free start their calls from
the loop, not from inside the call that freed them, so that a burst of failures cannot nest.
"""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from typing import Final, TypedDict

from mypy_extensions import trait

from relay.admission.fair_queue import FairQueue, Flow, Ticket, TicketState
from relay.admission.limiter import Hold, Limiter, ProviderLimiter
from relay.admission.not_admitted import NotAdmitted
from relay.calls.call import Call
from relay.calls.caller import Caller
from relay.routing.snapshot import Destination, KeyGrant, Snapshot
from relay_contract.document import Document, Queue

QUEUE_TIMEOUT: Final = "queue_timeout"


@trait
class Applicant(ABC):
    """A call that wants a seat."""

    caller: Caller | None
    order: Call
    claim: "Reservation"

    @abstractmethod
    def seated(self) -> None:
        """The seat is the call's until it leaves."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """A second has passed on the seat."""

    @abstractmethod
    def turned_away(self, refused: NotAdmitted) -> None:
        """There will be no seat."""


class Reservation:
    """What one call holds of limits, slice and seats."""

    __slots__ = (
        "entered_at",
        "gate",
        "gate_ticket",
        "hold",
        "provider",
        "provider_hold",
        "queue_seconds",
        "ticket",
    )

    def __init__(self, now: float) -> None:
        self.entered_at = now
        self.queue_seconds = 0.0
        self.hold: Hold | None = None
        self.provider = ""
        self.provider_hold: Hold | None = None
        self.ticket: Ticket | None = None
        self.gate: ProviderQuotaLine | None = None
        self.gate_ticket: Ticket | None = None

    def take_provider_hold(self, destination: Destination) -> Hold | None:
        """The hold on the destination's slice, for the attempt to settle, if it was taken for that provider."""
        if self.provider_hold is None or self.provider != destination.upstream.name:
            return None
        hold, self.provider_hold = self.provider_hold, None
        return hold

    def progress(self, tokens: int, now: float) -> None:
        """The call has used so many tokens so far: they are charged, since what is held does not refill."""
        if self.hold is not None:
            self.hold.progress(tokens, now=now)

    def settle(self, tokens: int, now: float) -> None:
        """The tenant's limits are charged what was used; what no attempt took over is given back."""
        if self.hold is not None:
            self.hold.settle(tokens, now=now)
        if self.provider_hold is not None:
            self.provider_hold.settle(0, now=now)


class ProviderQuotaLine:
    """The line in front of a provider's slice: whoever is first tries again when the slice says so.

    A fair queue with one seat, the right to try, keeps the line fair between keys.
    """

    def __init__(self, limiter: ProviderLimiter, queue: FairQueue, admission: "Admission") -> None:
        self.limiter = limiter
        self.queue = queue
        self._admission = admission
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, applicant: Applicant, flow: Flow, *, longest_wait: float, now: float) -> None:
        """The applicant goes on to the seats, now or later, or is turned away."""
        if self.queue.in_flight == 0:
            verdict = self._try(applicant, now)
            if isinstance(verdict, Hold):
                self._pass(applicant, verdict, now)
                return
            if not verdict.waiting_helps or verdict.retry_after_seconds > longest_wait:
                applicant.turned_away(verdict)
                return
        caller = applicant.caller
        assert caller is not None
        ticket = self.queue.submit(flow, priority=caller.priority, now=now, owner=applicant)
        if isinstance(ticket, NotAdmitted):
            applicant.turned_away(ticket)
            return
        applicant.claim.gate, applicant.claim.gate_ticket = self, ticket
        if ticket.state is TicketState.RUNNING:
            self._head_waits(ticket)

    def leave(self, ticket: Ticket) -> None:
        """The ticket's call waits no longer; the next in line tries."""
        was_head = ticket.state is TicketState.RUNNING
        for started in self.queue.cancel(ticket, now=time.monotonic()):
            self._head_waits(started)
        if was_head and self.queue.in_flight == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def expire(self, now: float) -> None:
        """Those who waited their longest time are turned away."""
        for ticket in self.queue.expire(now):
            _owner(ticket).turned_away(NotAdmitted(QUEUE_TIMEOUT, self._retry_after(now)))

    def _retry_after(self, now: float) -> float:
        view = self.limiter.view(now=now)
        return max(view.reset_requests_seconds or 0.0, view.reset_tokens_seconds or 0.0, 1.0)

    def _try(self, applicant: Applicant, now: float) -> Hold | NotAdmitted:
        order = applicant.order
        return self.limiter.admit(
            input_tokens=order.input_tokens, output_tokens=order.output_tokens, now=now
        )

    def _head_waits(self, ticket: Ticket) -> None:
        now = time.monotonic()
        applicant = _owner(ticket)
        verdict = self._try(applicant, now)
        if isinstance(verdict, Hold):
            applicant.claim.gate_ticket = None
            following = self.queue.release(ticket, now=now)
            self._pass(applicant, verdict, now)
            for started in following:
                asyncio.get_running_loop().call_soon(self._head_again, started)
        elif now + verdict.retry_after_seconds > ticket.deadline or not verdict.waiting_helps:
            self.leave(ticket)
            applicant.claim.gate_ticket = None
            applicant.turned_away(verdict)
        else:
            wait = verdict.retry_after_seconds
            self._timer = asyncio.get_running_loop().call_later(wait, self._head_again, ticket)

    def _head_again(self, ticket: Ticket) -> None:
        if ticket.state is TicketState.RUNNING:
            self._head_waits(ticket)

    def _pass(self, applicant: Applicant, hold: Hold, now: float) -> None:
        applicant.claim.provider_hold = hold
        self._admission.take_seat(applicant, now)


class Admission:
    """One per worker; holds the worker's share of everything the tenant is granted."""

    def __init__(self, snapshot: Snapshot, *, share: float, now: float) -> None:
        document = snapshot.document
        self.share = share
        self.limiter = Limiter(
            document.tenant.limits, share=share, now=now, keys=document.tenant.keys
        )
        self.queue = FairQueue(**_bounds(document.tenant.queue, share), now=now)
        self._longest_wait = document.tenant.queue.max_wait_seconds
        self._flows = _flows(document)
        self._gates: dict[str, ProviderQuotaLine] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._gates_changed(snapshot, now)

    def reconfigure(self, snapshot: Snapshot, *, share: float, now: float) -> None:
        """The new document's figures are in force; what is held, owed and waiting stays."""
        document = snapshot.document
        self.share = share
        self.limiter.reconfigure(
            document.tenant.limits, share=share, now=now, keys=document.tenant.keys
        )
        self._longest_wait = document.tenant.queue.max_wait_seconds
        self._flows = _flows(document)
        started = self.queue.reconfigure(**_bounds(document.tenant.queue, share), now=now)
        self._gates_changed(snapshot, now)
        self._start(started)

    def enter(self, applicant: Applicant, destination: Destination, now: float) -> None:
        """The call is seated, waits, or is turned away; limits first, they cost the least to say no."""
        caller, order = applicant.caller, applicant.order
        assert caller is not None
        claim = applicant.claim = Reservation(now)
        verdict = self.limiter.admit(
            key=caller.key.name,
            model=order.body.model,
            input_tokens=order.input_tokens,
            output_tokens=order.output_tokens,
            now=now,
        )
        if isinstance(verdict, NotAdmitted):
            applicant.turned_away(verdict)
            return
        claim.hold = verdict
        claim.provider = destination.upstream.name
        gate = self._gates.get(claim.provider)
        if gate is None:
            self.take_seat(applicant, now)
        else:
            flow = self._flow(caller.key)
            gate.enter(applicant, flow, longest_wait=self._longest_wait, now=now)

    def take_seat(self, applicant: Applicant, now: float) -> None:
        """Limits and slice are passed: a seat now, a place in the queue, or no."""
        caller = applicant.caller
        assert caller is not None
        ticket = self.queue.submit(
            self._flow(caller.key),
            priority=caller.priority,
            now=now,
            owner=applicant,
        )
        if isinstance(ticket, NotAdmitted):
            applicant.turned_away(ticket)
            return
        applicant.claim.ticket = ticket
        if ticket.state is TicketState.RUNNING:
            applicant.seated()
        else:
            self._watch()

    def try_slice(self, order: Call, destination: Destination) -> Hold | NotAdmitted | None:
        """A hold on the destination's slice without waiting for it; None where it has no limit."""
        gate = self._gates.get(destination.upstream.name)
        if gate is None:
            return None
        return gate.limiter.admit(
            input_tokens=order.input_tokens,
            output_tokens=order.output_tokens,
            now=time.monotonic(),
        )

    def leave(self, claim: Reservation, now: float) -> None:
        """Seat, place and turn are given up; whoever is next starts."""
        if claim.gate is not None and claim.gate_ticket is not None:
            claim.gate.leave(claim.gate_ticket)
            claim.gate_ticket = None
        ticket = claim.ticket
        if ticket is not None:
            claim.ticket = None
            started = self.queue.release(ticket, now=now)
            if started:
                self._start(started)

    def tick(self, now: float) -> None:
        """Meant to be called every second: gates have no timers of their own for those behind the first, and calls that
        take long are looked at."""
        for gate in self._gates.values():
            gate.expire(now)
        for ticket in self.queue.running():
            _owner(ticket).tick(now)

    def _start(self, tickets: list[Ticket]) -> None:
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        for ticket in tickets:
            applicant = _owner(ticket)
            applicant.claim.queue_seconds = now - ticket.enqueued_at
            loop.call_soon(applicant.seated)
        self._watch()

    def _watch(self) -> None:
        """One timer for the earliest deadline in the queue."""
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
            wait = max(1.0, self.queue.expected_wait_seconds(ticket.flow, now))
            _owner(ticket).turned_away(NotAdmitted(QUEUE_TIMEOUT, wait))
        self._watch()

    def _flow(self, key: KeyGrant) -> Flow:
        flow = self._flows.get(key.name)
        if flow is None:
            # a call that began under a document in which its key still stood
            flow = self._flows[key.name] = Flow(tenant="", key=key.name, weight=key.weight)
        return flow

    def _gates_changed(self, snapshot: Snapshot, now: float) -> None:
        gates: dict[str, ProviderQuotaLine] = {}
        for name, upstream in snapshot.upstreams.items():
            limits = upstream.provider.limits
            if limits.requests_per_minute is None and limits.tokens_per_minute is None:
                continue
            gate = self._gates.get(name)
            bounds = _bounds(snapshot.document.tenant.queue, self.share)
            bounds["seats"] = 1
            if gate is None:
                limiter = ProviderLimiter(limits, share=self.share, now=now)
                gate = ProviderQuotaLine(limiter, FairQueue(**bounds, now=now), self)
            else:
                gate.limiter.reconfigure(limits, share=self.share, now=now)
                gate.queue.reconfigure(**bounds, now=now)
            gates[name] = gate
        self._gates = gates


class _Bounds(TypedDict):
    seats: int
    max_depth: int
    max_wait_seconds: float


def _bounds(queue: Queue, share: float) -> _Bounds:
    """This worker's part of the tenant's queue; never nothing, however many share it."""
    return {
        "seats": max(1, math.ceil(queue.concurrency * share)),
        "max_depth": math.ceil(queue.max_depth * share),
        "max_wait_seconds": queue.max_wait_seconds,
    }


def _flows(document: Document) -> dict[str, Flow]:
    tenant = document.tenant.name
    return {
        key.name: Flow(tenant=tenant, key=key.name, weight=key.weight)
        for key in document.tenant.keys
    }


def _owner(ticket: Ticket) -> Applicant:
    owner = ticket.owner
    assert owner is not None
    return owner  # type: ignore[return-value]  # only applicants are given to submit
