"""Lanes: the FIFO queues of a flow, one for each priority, and the virtual tags by which they are served.

Start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM'96) for a server with several seats (Jin, Chase, Kaur,
SIGMETRICS'04). A lane's finish tag F is the virtual time up to which its past work has been paid; its head starts at
S = max(F, virtual time at the head's arrival). Tags need past costs only, so that nobody has to know how long a call
will take.

Priorities divide what a tenant gets and never add to it: lanes of one tenant share its weight as 16 : 4 : 1 for
high : normal : low, so declaring everything high buys nothing from other tenants, and low never starves.
"""

from collections import OrderedDict
from collections.abc import Iterator
from math import exp
from typing import Final

from relay.admission.tickets import Flow, TicketState
from relay_contract.document import Priority

PRIORITY_FACTORS: Final[dict[Priority, int]] = {"high": 16, "normal": 4, "low": 1}
AGED_FRACTION: Final = 0.8
"""A head that has waited this part of its allowed time is served next within its flow."""

COST_MEMORY_CALLS: Final = 50
"""A flow's usual cost is the mean of its first calls, then follows about this many of the latest."""
DEMAND_SECONDS: Final = 10.0
"""Time constant of a flow's usual demand for seats."""


QUEUED: Final = TicketState.QUEUED
"""Bound once: looking a member up on the class costs as much as the rest of a comparison."""


class Backlog:
    """The sum of the weights of all flows that wait."""

    __slots__ = ("flow_weight",)

    def __init__(self) -> None:
        self.flow_weight = 0


class TenantBacklog:
    """Sums over one tenant's waiting flows: their weights, and their lanes' weights times priority factors."""

    __slots__ = ("flow_weight", "lane_weight", "pool")

    def __init__(self, pool: Backlog) -> None:
        self.pool = pool
        self.flow_weight = 0
        self.lane_weight = 0

    def add(self, *, flow_weight: int, lane_weight: int) -> None:
        self.flow_weight += flow_weight
        self.pool.flow_weight += flow_weight
        self.lane_weight += lane_weight


class Ticket:
    """One request for a seat. Times are the caller's monotonic seconds; owner is the caller's own."""

    __slots__ = (
        "arrival_virtual",
        "charged_seconds",
        "deadline",
        "displaced",
        "enqueued_at",
        "flow",
        "lane",
        "owner",
        "priority",
        "rate",
        "started_at",
        "state",
    )

    def __init__(
        self,
        flow: Flow,
        priority: Priority,
        lane: "Lane",
        now: float,
        deadline: float,
        arrival_virtual: float,
        owner: object,
    ) -> None:
        self.flow = flow
        self.priority = priority
        self.lane = lane
        self.enqueued_at = now
        self.deadline = deadline
        self.owner = owner
        self.state = QUEUED
        self.displaced = False
        self.started_at: float | None = None
        # virtual time at arrival: a head never starts earlier than this, so idleness earns no credit
        self.arrival_virtual = arrival_virtual
        # seat-seconds charged to the flow for this seat so far, and the weight they were charged with
        self.charged_seconds = 0.0
        self.rate = 1.0

    @property
    def waits(self) -> bool:
        """Returns whether it stands in its lane; a queued ticket that was displaced no longer does."""
        return self.state is QUEUED and self in self.lane.waiting


class Lane:
    """The waiting requests of one flow at one priority, in order of arrival."""

    __slots__ = ("epoch", "factor", "finish", "record", "version", "waiting")

    def __init__(self, record: "FlowRecord", factor: int) -> None:
        self.record = record
        self.factor = factor
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.finish = 0.0
        # the busy period that finish belongs to, and the version of the current heap entry
        self.epoch = -1
        self.version = 0

    def first(self) -> Ticket:
        """Returns the head; the lane must not be empty."""
        return next(iter(self.waiting))

    def start_tag(self, head: Ticket) -> float:
        """Returns the head's start tag. It is never stored, so that a settlement moves queued work without touching it."""
        return max(self.finish, head.arrival_virtual)

    def head_tag(self) -> float:
        """Returns the start tag of the head."""
        return self.start_tag(self.first())

    def turn_tag(self, best_factor: int) -> float:
        """Returns the head's tag in the dispatch order; best_factor is that of its flow's best waiting lane.

        Beside a better lane the tag is later by the difference of their virtual service times, as if by finish tags:
        what arrives together is served in order of priority.
        """
        tag = self.head_tag()
        if self.factor == best_factor:
            return tag
        return tag + self.record.cost_seconds / self.rate() * (1 - self.factor / best_factor)

    def rate(self) -> float:
        """Returns the lane's present weight: its part of the weights of the tenant's waiting flows together."""
        record, own = self.record, self.record.flow.weight
        flows = record.backlog.flow_weight
        lanes = record.backlog.lane_weight
        if not lanes:
            return own
        if not record.queued:
            flows += own
        if not self.waiting:
            lanes += own * self.factor
        return flows * own * self.factor / lanes

    def append(self, ticket: Ticket) -> None:
        """Adds a ticket at the end."""
        record = self.record
        if not self.waiting:
            weight = record.flow.weight
            record.backlog.add(
                flow_weight=0 if record.queued else weight, lane_weight=weight * self.factor
            )
        self.waiting[ticket] = None
        record.queued += 1

    def remove(self, ticket: Ticket) -> None:
        """Removes a ticket, wherever it stands."""
        record = self.record
        del self.waiting[ticket]
        record.queued -= 1
        if not self.waiting:
            weight = record.flow.weight
            record.backlog.add(
                flow_weight=0 if record.queued else -weight, lane_weight=-weight * self.factor
            )


class FlowRecord:
    """Everything the queue knows of one flow."""

    __slots__ = (
        "backlog",
        "calls",
        "cost_seconds",
        "counted_demand",
        "flow",
        "folded_at",
        "guaranteed",
        "inside",
        "lanes",
        "left_at",
        "queued",
        "registered",
        "running",
        "seat_seconds",
        "seats",
        "touched_at",
        "usual_demand",
    )

    def __init__(self, flow: Flow, backlog: TenantBacklog, cost_seconds: float, now: float) -> None:
        self.flow = flow
        self.backlog = backlog
        self.lanes = {priority: Lane(self, factor) for priority, factor in PRIORITY_FACTORS.items()}
        self.queued = 0
        self.seats = 0
        self.guaranteed = 0
        # whether the flow was inside its share when its lanes were last placed
        self.inside = True
        self.registered = False
        self.running: dict[Ticket, None] = {}
        # usual cost of a call in seat-seconds; assumed until the first has finished
        self.calls = 0
        self.cost_seconds = cost_seconds
        # integral of the seats held since the demand was last folded
        self.seat_seconds = 0.0
        self.touched_at = now
        self.folded_at = now
        self.left_at = now
        self.usual_demand = 0.0
        self.counted_demand = 0.0

    def waiting_lanes(self) -> Iterator[Lane]:
        """Yields the lanes with waiting requests, best priority first."""
        return (lane for lane in self.lanes.values() if lane.waiting)

    def next_lane(self) -> Lane:
        """Returns the waiting lane whose head comes first; something must wait."""
        lanes = list(self.waiting_lanes())
        return min(lanes, key=lambda lane: lane.turn_tag(lanes[0].factor))

    def fold_demand(self, now: float) -> float:
        """Updates and returns the seats this flow wants: its usual demand, or what it holds and queues if something waits."""
        elapsed = now - self.folded_at
        if elapsed > 0:
            self.seat_seconds += self.seats * (now - self.touched_at)
            mean = self.seat_seconds / elapsed
            self.usual_demand = mean + (self.usual_demand - mean) * exp(-elapsed / DEMAND_SECONDS)
            self.seat_seconds = 0.0
            self.touched_at = self.folded_at = now
        self.counted_demand = float(self.seats + self.queued) if self.queued else self.usual_demand
        return self.counted_demand

    def reweigh(self, flow: Flow, virtual_time: float) -> None:
        """Applies the flow's newest weight; debts keep their size in seat-seconds."""
        former = self.flow.weight
        self.flow = flow
        if flow.weight == former:
            return
        for lane in self.lanes.values():
            if lane.finish > virtual_time:
                lane.finish = virtual_time + (lane.finish - virtual_time) * former / flow.weight
        change = flow.weight - former
        self.backlog.add(
            flow_weight=change if self.queued else 0,
            lane_weight=sum(change * lane.factor for lane in self.waiting_lanes()),
        )

    def finish_call(self, cost_seconds: float) -> None:
        """Takes a finished call into the usual cost."""
        if self.calls < COST_MEMORY_CALLS:
            self.calls += 1
        self.cost_seconds += (cost_seconds - self.cost_seconds) / self.calls

    def charge_running(self, now: float) -> bool:
        """Charges running calls for the time beyond what they were charged; returns whether any was."""
        paid = False
        for ticket in self.running:
            assert ticket.started_at is not None
            excess = now - ticket.started_at - ticket.charged_seconds
            if excess > 0:
                ticket.lane.finish += excess / ticket.rate
                ticket.charged_seconds += excess
                paid = True
        return paid

    def is_settled(self, virtual_time: float, epoch: int) -> bool:
        """Returns whether nothing runs, waits or is owed."""
        return (
            not self.seats
            and not self.queued
            and all(
                lane.epoch != epoch or lane.finish <= virtual_time for lane in self.lanes.values()
            )
        )

    def aged_head(self, served: Ticket, now: float) -> Ticket:
        """Returns the oldest head that waited too long behind better priorities, else the one about to be served."""
        oldest = served
        for lane in self.waiting_lanes():
            head = lane.first()
            aged_at = head.enqueued_at + AGED_FRACTION * (head.deadline - head.enqueued_at)
            if aged_at <= now and head.enqueued_at < oldest.enqueued_at:
                oldest = head
        return oldest
