"""Dispatch order: which lane's head takes the next seat, and whose deadline comes first.

Heads of flows inside their share and of the others are kept in two heaps, because the last seats are open to the former
only. A flow changes heaps when its own need changes and when the demands around it are measured anew.
"""

from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from relay.admission.priority_lanes import FlowRecord, Lane, Ticket
from relay.admission.seats import SeatPool

MOST_TRIED: Final = 32
"""Flows that one search may find outside their share before it gives up; the next search continues from there."""


class Head(NamedTuple):
    """A lane's head with its tag when it was pushed; the smallest is served first, equal tags in order of pushes."""

    turn: float
    sequence: int
    version: int
    lane: Lane


class HeadHeap:
    """The heads of waiting lanes in order of service.

    An entry is current while it carries its lane's version. Others are dropped when they surface, and all at once when
    they outnumber the current ones.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: list[Head] = []

    def push(self, head: Head) -> None:
        """Adds a head."""
        heappush(self._heads, head)

    def first(self) -> Head | None:
        """Returns the current head with the smallest tag."""
        heads = self._heads
        while heads:
            if heads[0].version == heads[0].lane.version:
                return heads[0]
            heappop(heads)
        return None

    def compact(self, waiting: int) -> None:
        """Drops outdated entries if there are many; `waiting` is at least the number of current ones."""
        if len(self._heads) > 2 * waiting + 64:
            self._heads = [head for head in self._heads if head.version == head.lane.version]
            heapify(self._heads)


class DispatchOrder:
    """The waiting lanes by the tags of their heads, inside and outside their flows' shares."""

    __slots__ = ("_inside", "_outside", "_pool", "_pushes")

    def __init__(self, pool: SeatPool) -> None:
        self._pool = pool
        self._inside = HeadHeap()
        self._outside = HeadHeap()
        # one count for both heaps: no two heads compare equal
        self._pushes = 0

    def place(self, record: FlowRecord, waiting: int) -> None:
        """Files the flow's lanes again, after a change of its need, its tags or the demands around it.

        waiting is the number of requests in the queue, which bounds the entries worth keeping.
        """
        record.inside = self._pool.in_share(record, record.seats + record.queued)
        heap = self._inside if record.inside else self._outside
        lanes = list(record.waiting_lanes())
        for lane in lanes:
            lane.version += 1
            self._pushes += 1
            # lanes come in order of priority
            turn = lane.turn_tag(lanes[0].factor)
            heap.push(Head(turn, self._pushes, lane.version, lane))
        heap.compact(waiting)

    def misplaced(self, record: FlowRecord) -> bool:
        """Returns whether the flow has crossed its share since it was placed."""
        return record.inside != self._pool.in_share(record, record.seats + record.queued)

    def next_lane(self, waiting: int) -> Lane | None:
        """Returns the first lane that may take a seat now; moves flows that turn out to have left their share."""
        free = self._pool.free
        if free <= 0:
            return None
        if free > self._pool.reserve:
            heads = [head for head in (self._inside.first(), self._outside.first()) if head]
            return min(heads).lane if heads else None
        for _ in range(MOST_TRIED):
            head = self._inside.first()
            if head is None or not self.misplaced(head.lane.record):
                break
            self.place(head.lane.record, waiting)
        else:
            return None
        return None if head is None else head.lane


class Deadlines:
    """Deadlines of waiting tickets, soonest first; entries of other tickets are dropped when they surface."""

    __slots__ = ("_entries", "_sequence")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Ticket]] = []
        self._sequence = 0

    def add(self, ticket: Ticket, waiting: int) -> None:
        """Adds the ticket; `waiting` bounds the entries worth keeping."""
        self._sequence += 1
        heappush(self._entries, (ticket.deadline, self._sequence, ticket))
        if len(self._entries) > 2 * waiting + 64:
            self._entries = [entry for entry in self._entries if entry[2].waits]
            heapify(self._entries)

    def soonest(self) -> Ticket | None:
        """Returns the waiting ticket with the soonest deadline."""
        while self._entries:
            ticket = self._entries[0][2]
            if ticket.waits:
                return ticket
            heappop(self._entries)
        return None
