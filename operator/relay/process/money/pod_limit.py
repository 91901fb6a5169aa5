"""One limit of one pod: what the ledger granted of it, and what each worker may spend of that. Amounts are pico-USD."""

from typing import Any, Final

from relay.budgets.shared_counters import HELD, SPENT, place
from relay_contract.billing.budget import Lease, LeaseAsk

WANTED_SECONDS: Final = 15.0
"""A pod wants what it spends in so long: three asks."""
WANTED_CALLS: Final = 4
"""And enough for so many of the largest calls that did not fit."""


class PodLimit:
    """Its counters begin with it. base is what was spent before, gone what workers spent that have ended."""

    def __init__(self, slot: int, lease: Lease, counters: Any, workers: int, now: float) -> None:
        self.slot = slot
        self.lease = lease
        self.until = 0.0
        self._counters = counters
        self._given = dict.fromkeys(range(workers), 0)
        # how often each has given something back: what was sent before it did so does not count
        self._returns = dict.fromkeys(range(workers), 0)
        self._short: int | None = None
        self._base = lease.base
        self._gone = 0
        self._looked_at = now
        self._looked_spent = self.spent
        self._per_second = 0.0
        self._asked_spent = self.spent
        self.least = 0
        self._largest = 0
        self.told_after_end = False
        self.is_replaced = False

    @property
    def key(self) -> tuple[str, int]:
        """Returns what tells it from the others."""
        return self.lease.kind, self.lease.starts_at

    def meets(self, lease: Lease) -> bool:
        """Returns whether there is a moment of this limit that is one of the lease's as well."""
        own = self.lease
        return (
            lease.kind == own.kind
            and lease.starts_at < own.ends_at
            and own.starts_at < lease.ends_at
        )

    def worker_spent(self, worker: int) -> int:
        """Returns what a worker has spent."""
        return int(self._counters[place(worker, self.slot) + SPENT])

    def worker_held(self, worker: int) -> int:
        """Returns what a worker's calls have reserved."""
        return int(self._counters[place(worker, self.slot) + HELD])

    @property
    def spent(self) -> int:
        """Returns what the pod has spent since the limit began."""
        return self._base + self._gone + sum(map(self.worker_spent, self._given))

    @property
    def held(self) -> int:
        """Returns what calls under way have reserved."""
        return sum(map(self.worker_held, self._given))

    @property
    def free(self) -> int:
        """Returns what may still be reserved in this pod."""
        return self.lease.allowance - self.spent - self.held

    def ask(self, now: float) -> LeaseAsk:
        """Returns what the ledger is told and asked for. What no worker has been given is given back, and asked for anew."""
        spent, held = self.spent, self.held
        elapsed = now - self._looked_at
        if elapsed > 0:
            rate = max(spent - self._looked_spent, 0) / elapsed
            self._per_second += (rate - self._per_second) * min(1.0, elapsed / WANTED_SECONDS)
            self._looked_at, self._looked_spent = now, spent
        self._largest = max(self._largest // 2, self.least)
        self._asked_spent = spent
        given = self._base + self._gone + sum(self._given.values())
        # it is not ours until the answer says so, which may be lost
        self.lease = self.lease.model_copy(update={"allowance": max(given, spent + held)})
        return LeaseAsk(
            kind=self.lease.kind,
            starts_at=self.lease.starts_at,
            allowance=self.lease.allowance,
            spent=spent,
            held=held,
            wanted=max(int(self._per_second * WANTED_SECONDS), self._largest * WANTED_CALLS),
            least=self.least,
        )

    def answered(self, lease: Lease, until: float) -> None:
        """Takes in what the ledger granted."""
        # what is booked of this pod beyond what it has counted itself is spent as well
        self._base += max(lease.base - self._asked_spent, 0)
        self.lease = lease
        self.until = until
        self.least = 0

    def lack(self, worker: int, least: int) -> None:
        """Notes that a call of a worker did not fit."""
        self.least = max(self.least, least)
        self._short = worker

    @property
    def runs_low(self) -> bool:
        """Returns whether it is spent sooner than the pod asks again."""
        wanted = int(self._per_second * WANTED_SECONDS)
        return wanted > 0 and self.free < wanted // 2

    def divide(self, workers: list[int]) -> None:
        """Gives what no worker has to those that have least free."""
        pool = self.lease.allowance - self._base - self._gone - sum(self._given.values())
        if pool <= 0 or not workers:
            return
        pool -= self._help_out(pool, workers)
        free = {number: self.worker_free(number) for number in workers}
        level = (sum(free.values()) + pool) // len(workers)
        for number in sorted(workers, key=free.__getitem__):
            more = min(max(level - free[number], 0), pool)
            self._given[number] += more
            pool -= more
        self._given[workers[0]] += pool

    def _help_out(self, pool: int, workers: list[int]) -> int:
        """Gives the worker whose call did not fit what it lacks, as far as that is there; returns how much."""
        worker, self._short = self._short, None
        if worker not in workers or worker is None:
            return 0
        lacks = max(max(self.least, self._largest) - self.worker_free(worker), 0)
        more = min(lacks, pool)
        self._given[worker] += more
        return more

    def worker_free(self, worker: int) -> int:
        """Returns what a worker may still reserve."""
        return self._given[worker] - self.worker_spent(worker) - self.worker_held(worker)

    def richest(self, other_than: int) -> int | None:
        """Returns the worker that has most free, None if nobody has anything."""
        others = [number for number in self._given if number != other_than]
        richest = max(others, key=self.worker_free, default=None)
        return richest if richest is not None and self.worker_free(richest) > 0 else None

    def returned(self, worker: int, allowance: int) -> None:
        """Takes back what a worker has given back."""
        self._given[worker] = min(self._given[worker], allowance)
        self._returns[worker] += 1

    def ended(self, worker: int) -> None:
        """Takes over what a worker has spent that has ended; its calls have ended with it."""
        at = place(worker, self.slot)
        self._gone += self.worker_spent(worker)
        self._counters[at + SPENT] = self._counters[at + HELD] = 0
        self._given[worker] = self._returns[worker] = 0

    def row(self, worker: int) -> dict[str, Any]:
        """Returns what the worker is told."""
        lease = self.lease
        mine = self._given[worker]
        return {
            "slot": self.slot,
            "kind": lease.kind,
            "starts_at": lease.starts_at,
            "ends_at": lease.ends_at,
            "amount": lease.amount,
            "allowance": mine,
            "returns": self._returns[worker],
            "until": self.until,
            "left": lease.left + max(self.free - self.worker_free(worker), 0),
            "elsewhere": lease.elsewhere,
        }
