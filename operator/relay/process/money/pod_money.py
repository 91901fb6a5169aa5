"""All limits of one pod: makes what is asked of the ledger, and takes in what it answers. Does no I/O."""

from collections.abc import Sequence
from typing import Any, Final

from relay.budgets.shared_counters import SLOTS, shared_counters
from relay.process.money.pod_limit import PodLimit
from relay_contract.billing.budget import Lease, LeaseAnswer, LeaseRequest

ASK_SECONDS: Final = 5.0
"""Between asks of a pod that lacks nothing."""
SOON_SECONDS: Final = 1.0
"""Of one that spends faster than that, and of one that got no answer."""
SOONEST_SECONDS: Final = 0.2
"""Of one that a call did not fit into."""
_MOST_AHEAD: Final = 366 * 24 * 3600 * 1_000_000
KEPT_MICROSECONDS: Final = 3600 * 1_000_000
"""The longest that calls of a period go on after its end."""


class PodMoney:
    """One per pod. Times are the event loop's, but for those of limits, which are microseconds since 1970."""

    def __init__(self, pod: str, workers: int) -> None:
        self.counters = shared_counters(workers)
        self._pod = pod
        self._workers = workers
        self._limits: dict[tuple[str, int], PodLimit] = {}
        self._sequence = 0
        self._ahead = 1
        self._fresh = True
        self._asked_at = float("-inf")
        self._ask_seconds = ASK_SECONDS
        self._failed = False

    @property
    def away(self) -> bool:
        """Returns whether the ledger did not answer when it was last asked."""
        return self._failed

    def is_due(self, now: float) -> bool:
        """Returns whether the ledger is to be asked now."""
        since = now - self._asked_at
        limits = self._limits.values()
        if self._failed or any(limit.runs_low for limit in limits):
            return since >= SOON_SECONDS
        if self._fresh or any(limit.least for limit in limits):
            return since >= SOONEST_SECONDS
        return since >= self._ask_seconds

    def request(self, *, now: float, wall: int, release: bool) -> LeaseRequest:
        """Makes the next message to the ledger."""
        self._sequence = max(self._sequence + 1, wall)
        self._asked_at = now
        self._forget_ended(wall)
        return LeaseRequest(
            pod=self._pod,
            sequence=self._sequence,
            fresh=self._fresh,
            release=release,
            limits=tuple(limit.ask(now) for limit in self._limits.values()),
        )

    def answered(self, answer: LeaseAnswer, *, asked_at: float, now: float) -> None:
        """Takes in the answer to the latest message."""
        self._fresh = self._failed = False
        self._ahead = 1
        self._ask_seconds = min(ASK_SECONDS, answer.seconds / 4)
        self._forget_replaced(answer.leases)
        for lease in answer.leases:
            limit = self._limits.get((lease.kind, lease.starts_at))
            if limit is None:
                limit = self._begin(lease, now)
            if limit is not None:
                limit.answered(lease, asked_at + answer.seconds)

    def unanswered(self) -> None:
        """Notes that the ledger did not answer."""
        self._failed = True

    def outdated(self) -> None:
        """Notes that the ledger knows a later message of this pod: one of before its restart, by a clock that was ahead and is not any more.

        Each time the next message goes twice as far beyond the last, so that a day takes half a minute.
        """
        self._ahead = min(2 * self._ahead, _MOST_AHEAD)
        self._sequence += self._ahead
        self.unanswered()

    def short(self, worker: int, least: int) -> tuple[int, PodLimit] | None:
        """Notes that a call of a worker did not fit; returns who is to give something back to the pod, and of which limit."""
        for limit in self._limits.values():
            if limit.worker_free(worker) < least:
                limit.lack(worker, least)
                richest = limit.richest(worker)
                if richest is not None:
                    return richest, limit
        return None

    def returned(self, worker: int, slot: int, starts_at: int, allowance: int) -> None:
        """Takes back what a worker has given back."""
        for limit in self._limits.values():
            if (limit.slot, limit.lease.starts_at) == (slot, starts_at):
                limit.returned(worker, allowance)

    def ended(self, worker: int) -> None:
        """Takes over the counters of a worker that has ended."""
        for limit in self._limits.values():
            limit.ended(worker)

    def divide(self, workers: list[int]) -> None:
        """Divides what the pod has among these workers."""
        for limit in self._limits.values():
            limit.divide(workers)

    def rows(self, worker: int) -> list[dict[str, Any]]:
        """Returns what a worker is told of every limit."""
        return [limit.row(worker) for limit in self._limits.values()]

    def _begin(self, lease: Lease, now: float) -> PodLimit | None:
        taken = {limit.slot for limit in self._limits.values()}
        free = next((slot for slot in range(SLOTS) if slot not in taken), None)
        if free is None:
            return None
        limit = PodLimit(free, lease, self.counters, self._workers, now)
        self._limits[limit.key] = limit
        return limit

    def _forget_ended(self, wall: int) -> None:
        over = [
            key
            for key, limit in self._limits.items()
            if limit.lease.ends_at < wall and (not limit.held or self._is_old(limit, wall))
        ]
        for key in over:
            limit = self._limits[key]
            # its last settlements were told before, or are booked by their records
            if limit.told_after_end or self._is_old(limit, wall):
                del self._limits[key]
            limit.told_after_end = True

    def _forget_replaced(self, leases: Sequence[Lease]) -> None:
        """Forgets limits that have not ended and that others stand in the place of: credit before its first payment, a day that has become a
        month, a month of another zone.
        """
        told = {(lease.kind, lease.starts_at) for lease in leases}
        for key, limit in list(self._limits.items()):
            if key in told or not any(limit.meets(lease) for lease in leases):
                limit.is_replaced = False
                continue
            # the first time workers have not heard of it, and may yet reserve there
            if limit.is_replaced and not limit.held:
                del self._limits[key]
            limit.is_replaced = True

    @staticmethod
    def _is_old(limit: PodLimit, wall: int) -> bool:
        return limit.lease.ends_at + KEPT_MICROSECONDS < wall
