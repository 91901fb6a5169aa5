"""Who asks for a seat and what became of it: flows, tickets and a ticket's states."""

from dataclasses import dataclass
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from relay_contract.document import Priority

if TYPE_CHECKING:
    from relay.admission.priority_lanes import Lane


class TicketState(StrEnum):
    """QUEUED -> RUNNING -> DONE, or CANCELLED from either, or QUEUED -> EXPIRED."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


QUEUED: Final = TicketState.QUEUED
"""Bound once: looking a member up on the class costs as much as the rest of a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What fairness is between: one API key of one tenant.

    weight is the flow's part of a contended pool; guaranteed_seats are kept free for it while it does not use them.
    A pool that several tenants share hands out weights so that a tenant's flows together weigh what the tenant does;
    otherwise more keys would buy a bigger share.
    """

    tenant: str
    key: str
    weight: int = 1
    guaranteed_seats: int = 0


class Ticket:
    """One request's claim on a seat. Times are the caller's monotonic seconds; owner is the caller's own."""

    __slots__ = (
        "arrival_virtual",
        "charged_seconds",
        "deadline",
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
        self.started_at: float | None = None
        # the virtual time at arrival: a head never starts earlier than this, so idleness earns no credit
        self.arrival_virtual = arrival_virtual
        # what the flow paid for this seat so far, in seat-seconds, and the weight it paid with
        self.charged_seconds = 0.0
        self.rate = 1.0

    @property
    def waits(self) -> bool:
        """Whether it stands in its lane; a queued ticket that was displaced no longer does."""
        return self.state is QUEUED and self in self.lane.waiting


class Deadlines:
    """The deadlines of waiting tickets, soonest first; tickets that stopped waiting are dropped along the way."""

    __slots__ = ("_entries", "_sequence")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Ticket]] = []
        self._sequence = 0

    def add(self, ticket: Ticket, waiting: int) -> None:
        """The ticket's deadline will be noticed; `waiting` bounds how many entries are still of use."""
        self._sequence += 1
        heappush(self._entries, (ticket.deadline, self._sequence, ticket))
        if len(self._entries) > 2 * waiting + 64:
            self._entries = [entry for entry in self._entries if entry[2].waits]
            heapify(self._entries)

    def soonest(self) -> Ticket | None:
        while self._entries:
            ticket = self._entries[0][2]
            if ticket.waits:
                return ticket
            heappop(self._entries)
        return None
