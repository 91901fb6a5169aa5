"""Seats: how many there are, who holds them, and which are kept free for whom.

Two kinds of seats stay free on purpose. *Guaranteed* seats belong to one flow and wait for it. The *reserve* of H seats
(trunk reservation) is open only to flows inside their max-min share: fair queueing alone makes a quiet flow wait for
the next seat of a busy neighbour to fall free, about E[S] / C, which for streams of seconds is far more than the
3 ms a neighbour may cost. With a_q seats usually held by such quiet flows, one of them finds no seat with probability
of about (a_q / C) ** H, so H is sized from what is measured and costs a few per cent of the seats while a neighbour
floods, one seat otherwise, and none while a flow is alone.
"""

from collections.abc import Iterable
from math import ceil, inf, log, sqrt
from typing import Final

from relay.admission.max_min import MaxMinShares
from relay.admission.priority_lanes import FlowRecord

WAIT_PROBABILITY: Final = 0.002
"""Target probability that a request inside its flow's share finds no seat."""
SHARE_HEADROOM: Final = 0.9
"""A flow counts as inside its share while its present need plus about 10 % would be granted."""
RESERVE_HALF_LIFE_SECONDS: Final = 300.0
"""The reserve grows at once and shrinks slowly, so that it outlives a pause of a quiet flow."""
RESERVABLE_PART: Final = 4
"""At most one seat in this many is reserved; a pool below this size reserves none."""
GUARANTEED_PART: Final = 0.7
"""Guaranteed seats together are at most this part of the pool; what does not fit is not granted."""


class SeatPool:
    """C seats, of which `busy` are taken, `held` are kept for their owners and `reserve` for flows inside their share.

    busy + held <= capacity, except while a lowered capacity or a raised guarantee drains: running work is never killed.
    """

    __slots__ = (
        "_guaranteed",
        "_quiet_seats",
        "_refreshed_at",
        "_shares",
        "busy",
        "capacity",
        "held",
        "reserve",
        "unsettled",
    )

    def __init__(self, capacity: int, now: float) -> None:
        self.capacity = capacity
        self.busy = 0
        self.held = 0
        self.reserve = 0
        # guarantees changed since the last dispatch, or more seats are taken and kept than there are: an owner may
        # wait for a seat of its own
        self.unsettled = False
        self._guaranteed = 0
        self._quiet_seats = 0.0
        self._refreshed_at = now
        self._shares = MaxMinShares(())

    @property
    def free(self) -> int:
        """Returns the seats that are neither taken nor kept for their owner; negative while draining."""
        return self.capacity - self.held - self.busy

    @property
    def shared(self) -> int:
        """Returns the seats that no flow owns."""
        return self.capacity - self._guaranteed

    def take(self, record: FlowRecord) -> None:
        """Takes one seat for the flow."""
        if record.seats < record.guaranteed:
            self.held -= 1
        record.seats += 1
        self.busy += 1

    def give_back(self, record: FlowRecord) -> None:
        """Frees one seat of the flow."""
        record.seats -= 1
        self.busy -= 1
        if record.seats < record.guaranteed:
            self.held += 1

    def grant_guarantees(self, records: Iterable[FlowRecord]) -> None:
        """Grants the guaranteed seats, oldest flow first, up to GUARANTEED_PART of the pool."""
        self.unsettled = True
        left = int(self.capacity * GUARANTEED_PART)
        self._guaranteed = self.held = 0
        for record in records:
            record.guaranteed = min(record.flow.guaranteed_seats, left)
            left -= record.guaranteed
            self._guaranteed += record.guaranteed
            self.held += max(0, record.guaranteed - record.seats)

    def expect(self, known_flows: int) -> None:
        """Reserves one seat as soon as two flows are known, before any demand has been measured."""
        if known_flows > 1 and not self.reserve:
            self.reserve = min(1, self.shared // RESERVABLE_PART)

    def admits(self, record: FlowRecord, wanted: int) -> bool:
        """Returns whether a flow that now wants `wanted` seats in all may take one more at once."""
        free = self.free
        if record.seats < record.guaranteed:
            return free + record.guaranteed - record.seats > 0
        return free > self.reserve or (free > 0 and self.in_share(record, wanted))

    def in_share(self, record: FlowRecord, wanted: int) -> bool:
        """Returns whether a max-min allocation would grant what the flow wants now, others at their usual demand.

        Averages or an equal split instead wrongly treated well-behaved flows as over their share, or missed a sudden
        flood, in simulations; the flow's present need does neither.
        """
        weight = record.flow.weight
        if wanted <= 1 and record.usual_demand <= weight * self._level():
            return True
        need = max(0, wanted - record.guaranteed) / SHARE_HEADROOM
        level = need / weight
        own = max(0.0, record.counted_demand - record.guaranteed)
        others = self._shares.taken(level) - min(own, need)
        return need + others <= self.shared - self.reserve

    def share(self, record: FlowRecord) -> float:
        """Returns the seats the flow can count on under the present demands; at least a fraction of one."""
        fair = min(record.flow.weight * self._level(), float(self.shared - self.reserve))
        return max(fair, float(record.guaranteed), 1e-3)

    def _level(self) -> float:
        return self._shares.level(self.shared - self.reserve)

    def refresh(self, records: Iterable[FlowRecord], now: float) -> None:
        """Measures demands, shares and the reserve."""
        wanting: list[FlowRecord] = []
        known = 0
        for record in records:
            known += 1
            if record.fold_demand(now) > 0.01 or record.guaranteed:
                wanting.append(record)
        self._shares = MaxMinShares(
            (max(0.0, record.counted_demand - record.guaranteed), record.flow.weight)
            for record in wanting
        )
        self._size_reserve(wanting, known, now)

    def _size_reserve(self, wanting: list[FlowRecord], known: int, now: float) -> None:
        elapsed, self._refreshed_at = now - self._refreshed_at, now
        if known < 2:
            self.reserve, self._quiet_seats = 0, 0.0
            return
        remembered = self._quiet_seats * 0.5 ** (elapsed / RESERVE_HALF_LIFE_SECONDS)
        self._quiet_seats = max(remembered, self._quiet_now(wanting))
        most = self.shared // RESERVABLE_PART
        self.reserve = min(most, reserved_seats(self._quiet_seats, self.capacity))

    def _quiet_now(self, wanting: list[FlowRecord]) -> float:
        level = self._level()
        if level == inf:
            # every demand is met, so no flow needs protection
            return 0.0
        quiet = sum(
            record.usual_demand
            for record in wanting
            if record.counted_demand <= record.flow.weight * level
        )
        # seats held by independent callers are Poisson distributed (M/G/inf): the deviation is the root of the mean
        return quiet + sqrt(quiet)


def reserved_seats(quiet_seats: float, capacity: int) -> int:
    """Returns the H at which (quiet_seats / capacity) ** H falls to WAIT_PROBABILITY; at least one."""
    if quiet_seats >= capacity:
        return capacity
    if quiet_seats <= 0:
        return 1
    return max(1, ceil(log(WAIT_PROBABILITY) / log(quiet_seats / capacity)))
