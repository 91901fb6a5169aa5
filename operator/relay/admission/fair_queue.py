"""The admission queue: start-time fair queueing over seats, in seat-seconds, with guaranteed and reserved seats.

A request takes a seat while its call is in flight. Flows (tenant, API key) share the seats by weight and by the time
they really hold them: a start charges the flow its usual seat-seconds, a release corrects the charge to what was used,
and a flow that runs long streams pays while they run. docs/fair-queue.md explains the algorithm and lists its properties.

Pure: no clock and no loop; the caller passes monotonic seconds and acts on the tickets it gets back. relay.admission.seats decides who may use which seat, relay.admission.priority_lanes who comes next.
"""

from collections.abc import Iterable
from typing import Final

from relay.admission.dispatch_order import Deadlines, DispatchOrder
from relay.admission.flows import FlowTable
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.priority_lanes import (
    COST_MEMORY_CALLS,
    Backlog,
    FlowRecord,
    Lane,
    TenantBacklog,
    Ticket,
)
from relay.admission.seats import SeatPool
from relay.admission.tickets import Flow, TicketState
from relay_contract.document import Priority

REFRESH_SECONDS: Final = 0.25
"""Demands and running charges are at most this old while something waits."""
REFRESH_FLOWS: Final = 1000
"""Above this many flows that interval grows with them: measuring demands is linear in flows."""
CATCH_UP_FLOWS: Final = 32
"""Waiting flows that one release brings up to date, so that thousands of them cannot stall the event loop."""
FIRST_COST_SECONDS: Final = 1.0
"""Assumed cost of a call before any has finished; with 0 one flow could take every seat without being charged."""
EVIDENCE_CALLS: Final = 20
"""A request is refused for its predicted wait only after this many calls have finished."""
PREDICTION_MARGIN: Final = 0.9
"""A request is refused if its predicted wait exceeds this part of the maximum: half of such waits would time out."""

SHORTEST_RETRY_SECONDS: Final = 1.0
"""Shortest retry-after for a call that timed out or was displaced."""

_QUEUED: Final = TicketState.QUEUED
_RUNNING: Final = TicketState.RUNNING
_DONE: Final = TicketState.DONE
_CANCELLED: Final = TicketState.CANCELLED
_EXPIRED: Final = TicketState.EXPIRED
_DISPLACED: Final = TicketState.DISPLACED


class FairQueue:
    """Seats for requests in flight and a bounded queue before them, fair between flows.

    submit seats a request, queues it or refuses it. Whatever frees seats returns the tickets that start now; expire
    returns those whose time is over. A queued ticket changes its state only by being returned or cancelled.

    Flows named in `flows` keep their guaranteed seats, and the reserve for their coming back, while they are idle;
    any other flow is learned from its first submit and forgotten after FORGET_SECONDS.
    """

    def __init__(
        self,
        *,
        seats: int,
        max_depth: int,
        max_wait_seconds: float,
        now: float,
        flows: Iterable[Flow] = (),
    ) -> None:
        self._pool = SeatPool(seats, now)
        self._max_depth = max_depth
        self._max_wait_seconds = max_wait_seconds
        self._flows = FlowTable(self._pool)
        self._dispatch_order = DispatchOrder(self._pool)
        self._deadlines = Deadlines()
        # tickets that must not start any more; expire returns them
        self._lapsed: list[Ticket] = []
        self._depth = 0
        self._virtual_time = 0.0
        # number of the busy period; all debts end when the last seat falls free
        self._epoch = 0
        self._refresh_at = now
        # flows that the last refresh has not reached yet
        self._behind: list[FlowRecord] = []
        self._cost_seconds = FIRST_COST_SECONDS
        self._finished_calls = 0
        self._flows.register(flows, virtual_time=0.0, cost_seconds=FIRST_COST_SECONDS, now=now)

    @property
    def depth(self) -> int:
        """Returns the number of requests that wait."""
        return self._depth

    @property
    def in_flight(self) -> int:
        """Returns the number of seats taken."""
        return self._pool.busy

    @property
    def reserved_seats(self) -> int:
        """Returns the number of seats that are kept for flows inside their share now."""
        return self._pool.reserve

    def submit(
        self, flow: Flow, *, priority: Priority, now: float, owner: object = None
    ) -> Ticket | NotAdmitted:
        """Seats or queues a request: returns its ticket, running or queued, or the refusal, which changed nothing.

        Reasons: QUEUE_FULL (no place, and the flow already has its part of the places), QUEUE_WAIT_TOO_LONG (the
        predicted wait exceeds the longest allowed). A full queue makes room for a flow below its part by
        displacing the newest request of the flow furthest above it; expire returns that one.
        """
        record = self._flows.get(flow)
        if record is None or record.flow is not flow:
            record = self._flows.learn(
                flow, virtual_time=self._virtual_time, cost_seconds=self._cost_seconds, now=now
            )
        lane = record.lanes[priority]
        pool = self._pool
        ticket = Ticket(
            flow, priority, lane, now, now + self._max_wait_seconds, self._virtual_time, owner
        )
        if (
            not self._depth
            and not record.guaranteed
            and pool.busy < pool.capacity - pool.held - pool.reserve
        ):
            self._start(ticket, lane, self._arrival_tag(lane), now)
            return ticket
        return self._contend(ticket, record, now)

    def release(self, ticket: Ticket, *, now: float) -> list[Ticket]:
        """Frees the ticket's seat and settles its time; returns the tickets that start now. Idempotent."""
        if ticket.state is _RUNNING:
            ticket.state = _DONE
            return self._vacate(ticket, now)
        return self.cancel(ticket, now=now)

    def cancel(self, ticket: Ticket, *, now: float) -> list[Ticket]:
        """Removes the ticket from the queue, or from its seat with its time settled; returns the tickets that start now."""
        if ticket.state is _RUNNING:
            ticket.state = _CANCELLED
            return self._vacate(ticket, now)
        if ticket.state is _QUEUED:
            if ticket.waits:
                self._leave_queue(ticket, ticket.lane)
            ticket.state = _CANCELLED
            return self._dispatch(now)
        return []

    def expire(self, now: float) -> list[Ticket]:
        """Returns the tickets that waited for the maximum time or were displaced; they hold nothing."""
        soonest = self._deadlines.soonest()
        while soonest is not None and soonest.deadline <= now:
            self._lapse(soonest)
            soonest = self._deadlines.soonest()
        expired = [ticket for ticket in self._lapsed if ticket.state is _QUEUED]
        self._lapsed.clear()
        for ticket in expired:
            ticket.state = _DISPLACED if ticket.displaced else _EXPIRED
        return expired

    def lapse_reason(self, ticket: Ticket, now: float) -> NotAdmitted:
        """Returns why a ticket that `expire` returned was not admitted."""
        displaced = ticket.state is _DISPLACED
        reason = NotAdmittedReason.QUEUE_FULL if displaced else NotAdmittedReason.QUEUE_TIMEOUT
        wait = self.expected_wait_seconds(ticket.flow, now)
        return NotAdmitted(reason, max(SHORTEST_RETRY_SECONDS, wait))

    def running(self) -> list[Ticket]:
        """Returns the tickets that hold a seat."""
        return [ticket for record in self._flows for ticket in record.running]

    def next_deadline(self) -> float | None:
        """Returns when expire will next have something to return; in the past if it has now."""
        for ticket in self._lapsed:
            if ticket.state is _QUEUED:
                return ticket.deadline
        soonest = self._deadlines.soonest()
        return None if soonest is None else soonest.deadline

    def reconfigure(
        self,
        *,
        seats: int,
        max_depth: int,
        max_wait_seconds: float,
        now: float,
        flows: Iterable[Flow] = (),
    ) -> list[Ticket]:
        """Applies new bounds; returns the tickets that start now.

        Fewer seats abort no running call, and what waits keeps its place and its deadline.
        """
        self._pool.capacity = seats
        self._max_depth = max_depth
        self._max_wait_seconds = max_wait_seconds
        self._flows.register(
            flows, virtual_time=self._virtual_time, cost_seconds=self._cost_seconds, now=now
        )
        self._refresh(now)
        return self._dispatch(now)

    def expected_wait_seconds(
        self, flow: Flow, now: float, *, priority: Priority = "normal"
    ) -> float:
        """Returns how long a request submitted now would wait for its seat: 0 if one is free for it."""
        record = self._flows.get(flow)
        if record is None:
            record = FlowRecord(flow, TenantBacklog(Backlog()), self._cost_seconds, now)
        if not record.queued and self._pool.admits(record, record.seats + 1):
            return 0.0
        return self._predicted_wait(record.lanes[priority])

    # --- arrivals ---

    def _contend(self, ticket: Ticket, record: FlowRecord, now: float) -> Ticket | NotAdmitted:
        if not self._depth and now >= self._refresh_at:
            self._refresh(now)
        if not record.queued and self._pool.admits(record, record.seats + 1):
            self._start(ticket, ticket.lane, self._arrival_tag(ticket.lane), now)
            return ticket
        refusal = self._refusal(record, ticket.lane, now)
        if refusal is not None:
            return refusal
        self._enqueue(ticket)
        return ticket

    def _refusal(self, record: FlowRecord, lane: Lane, now: float) -> NotAdmitted | None:
        wait = self._predicted_wait(lane)
        if not self._max_depth or not self._max_wait_seconds:
            return NotAdmitted(NotAdmittedReason.QUEUE_FULL, wait)
        if (
            wait > PREDICTION_MARGIN * self._max_wait_seconds
            and self._finished_calls >= EVIDENCE_CALLS
        ):
            return NotAdmitted(NotAdmittedReason.QUEUE_WAIT_TOO_LONG, wait - self._max_wait_seconds)
        if self._depth >= self._max_depth and not self._displace(record, now):
            return NotAdmitted(
                NotAdmittedReason.QUEUE_FULL, record.cost_seconds / self._pool.share(record)
            )
        return None

    def _predicted_wait(self, lane: Lane) -> float:
        """Returns the time to work off the lane's debt and backlog with the seats its flow can count on."""
        record = lane.record
        waiting = {*record.waiting_lanes(), lane}
        part = lane.factor / sum(other.factor for other in waiting)
        owed = (self._arrival_tag(lane) - self._virtual_time) * lane.rate()
        backlog = len(lane.waiting) * record.cost_seconds
        next_seat = self._cost_seconds / self._pool.capacity
        return max(next_seat, (owed + backlog) / (self._pool.share(record) * part))

    def _arrival_tag(self, lane: Lane) -> float:
        """Returns the start tag of work that arrives now: idleness earns no credit, and a new busy period ends debts."""
        if lane.epoch != self._epoch or lane.finish < self._virtual_time:
            return self._virtual_time
        return lane.finish

    def _enqueue(self, ticket: Ticket) -> None:
        lane = ticket.lane
        lane.finish = self._arrival_tag(lane) if not lane.waiting else lane.finish
        lane.epoch = self._epoch
        lane.append(ticket)
        self._depth += 1
        self._deadlines.add(ticket, self._depth)
        self._dispatch_order.place(lane.record, self._depth)

    def _displace(self, record: FlowRecord, now: float) -> bool:
        """Makes room for this flow by displacing a call of the flow furthest above its part; returns whether it did."""
        weight = record.flow.weight
        waiting_weight = self._flows.backlog.flow_weight
        if not record.queued:
            waiting_weight += weight
        if (record.queued + 1) * waiting_weight > self._max_depth * weight:
            return False
        longest = max(self._flows.waiting(), key=lambda other: other.queued / other.flow.weight)
        lane = min(longest.waiting_lanes(), key=lambda waiting: waiting.factor)
        newest = next(reversed(lane.waiting))
        newest.deadline = now
        newest.displaced = True
        self._lapse(newest)
        return True

    # --- departures ---

    def _lapse(self, ticket: Ticket) -> None:
        self._leave_queue(ticket, ticket.lane)
        self._lapsed.append(ticket)

    def _leave_queue(self, ticket: Ticket, lane: Lane) -> None:
        """Takes the ticket out of its lane and files the flow's next heads by their own tags."""
        lane.remove(ticket)
        lane.version += 1
        self._depth -= 1
        if lane.record.queued:
            self._dispatch_order.place(lane.record, self._depth)

    def _start(self, ticket: Ticket, lane: Lane, start: float, now: float) -> None:
        """Seats the ticket and charges its flow's usual cost to the lane whose turn it was."""
        record = lane.record
        cost = record.cost_seconds
        ticket.rate = rate = lane.rate()
        ticket.charged_seconds = cost
        ticket.lane = lane
        ticket.started_at = now
        ticket.state = _RUNNING
        lane.epoch = self._epoch
        lane.finish = start + cost / rate
        record.running[ticket] = None
        record.seat_seconds += record.seats * (now - record.touched_at)
        record.touched_at = now
        # a start on the flow's own seats must not advance the virtual time at which newcomers begin
        if start > self._virtual_time and record.seats >= record.guaranteed:
            self._virtual_time = start
        self._pool.take(record)

    def _vacate(self, ticket: Ticket, now: float) -> list[Ticket]:
        """Frees the seat, charges the time it was used, and starts whoever can use it."""
        lane = ticket.lane
        record = lane.record
        assert ticket.started_at is not None
        elapsed = now - ticket.started_at
        lane.finish += (elapsed - ticket.charged_seconds) / ticket.rate
        record.finish_call(elapsed)
        self._cost_seconds += (elapsed - self._cost_seconds) / COST_MEMORY_CALLS
        self._finished_calls += 1
        del record.running[ticket]
        record.seat_seconds += record.seats * (now - record.touched_at)
        record.touched_at = record.left_at = now
        self._pool.give_back(record)
        if not self._depth:
            if not self._pool.busy:
                self._epoch += 1
            return []
        if now >= self._refresh_at:
            self._refresh(now)
        if self._behind:
            self._catch_up(now)
        if record.queued:
            self._dispatch_order.place(record, self._depth)
        return self._dispatch(now, (record,))

    # --- dispatch ---

    def _dispatch(self, now: float, left: tuple[FlowRecord, ...] = ()) -> list[Ticket]:
        """Starts everyone who may take a seat: first the owners of guaranteed seats, then by start tag.

        left is the flow whose seat was freed: usually the only one with a guaranteed seat to take.
        """
        started: list[Ticket] = []
        pool = self._pool
        for record in self._flows if pool.unsettled else left:
            while record.queued and record.seats < record.guaranteed:
                if not pool.admits(record, record.seats + record.queued):
                    break
                self._serve(record.next_lane(), started, now)
        pool.unsettled = pool.unsettled and pool.free < 0
        while self._depth:
            next_lane = self._dispatch_order.next_lane(self._depth)
            if next_lane is None:
                break
            self._serve(next_lane, started, now)
        return started

    def _serve(self, lane: Lane, started: list[Ticket], now: float) -> None:
        """Serves the lane's head, or one of its flow's heads that has waited too long; drops it if its time is over."""
        head = lane.first()
        ticket = lane.record.aged_head(head, now)
        if ticket.deadline <= now:
            self._lapse(ticket)
            return
        own_lane = ticket.lane
        self._start(ticket, lane, lane.start_tag(head), now)
        self._leave_queue(ticket, own_lane)
        started.append(ticket)

    def _refresh(self, now: float) -> None:
        """Measures demands, shares and the reserve; waiting flows are brought up to date a few at a time."""
        flows = self._flows
        flows.forget_idle(virtual_time=self._virtual_time, epoch=self._epoch, now=now)
        self._pool.refresh(flows, now)
        self._behind = flows.waiting()
        self._refresh_at = now + REFRESH_SECONDS * max(1.0, len(flows) / REFRESH_FLOWS)

    def _catch_up(self, now: float) -> None:
        """Charges some more waiting flows for calls that still run, and files them by the measured shares."""
        for record in self._behind[-CATCH_UP_FLOWS:]:
            paid = record.charge_running(now)
            if record.queued and (paid or self._dispatch_order.misplaced(record)):
                self._dispatch_order.place(record, self._depth)
        del self._behind[-CATCH_UP_FLOWS:]
