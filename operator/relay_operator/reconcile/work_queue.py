"""The keyed queue: one worker per key at a time, repeats coalesced, urgent keys first, owners in turn, backoff that
events reset. What nobody waits for yields to everything else.
"""

import asyncio
import heapq
import itertools
import random
import sys
from collections import Counter, deque
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from relay_operator import names
from relay_operator.cluster.metrics.queue_waits import QueueWaits


class Urgency(IntEnum):
    """URGENT is what takes traffic away from something: a rollback, a lower percent, a suspension.

    IMMEDIATE is what must not wait for anything of the same owner, and makes nobody wait. NORMAL is what somebody changed.
    BACKGROUND is what nobody waits for: looks at what is as it was, and further tries of what has failed.
    """

    IMMEDIATE = 0
    URGENT = 1
    NORMAL = 2
    BACKGROUND = 3


PLATFORM: Final = ""
"""The owner of work for no tenant in particular: of Providers and ToolServers."""
_OF_TENANTS: Final = frozenset({"Tenant", "Withdrawal", "KeySecrets"})


@dataclass(frozen=True, slots=True)
class Key:
    """The object to reconcile. Of a Tenant, a Withdrawal and KeySecrets take away what a reconcile of it would be late with."""

    kind: str
    namespace: str
    name: str

    @property
    def is_of_a_tenant(self) -> bool:
        """Tells whether the name is a Tenant's."""
        return self.kind in _OF_TENANTS

    @property
    def owner(self) -> str:
        """The namespace of the tenant that this work is for; all Providers are one owner, and each ToolServer, which is asked, is its own."""
        if self.kind == "ToolServer":
            return f"toolserver/{self.name}"
        return names.tenant_namespace(self.name) if self.is_of_a_tenant else self.namespace


class Budget(Protocol):
    """Tells how long work has to wait because of what was spent (reconcile/fleet/api_budget.py)."""

    def wait_seconds(self, urgency: Urgency) -> float: ...

    def wait_seconds_of(self, owner: str, urgency: Urgency) -> float: ...


class _Unlimited:
    def wait_seconds(self, urgency: Urgency) -> float:
        return 0.0

    def wait_seconds_of(self, owner: str, urgency: Urgency) -> float:
        return 0.0


WORKING_AT: ContextVar[Urgency] = ContextVar("WORKING_AT", default=Urgency.NORMAL)
"""The urgency of the work under way in this task: what follows from looking at what is as it was is no more urgent."""

_MOST_AT_ONCE = {
    Urgency.IMMEDIATE: sys.maxsize,
    Urgency.URGENT: 3,
    Urgency.NORMAL: 2,
    Urgency.BACKGROUND: 2,
}
"""Keys of one owner that are worked on at the same time, whatever their urgency, when another one is taken."""
_URGENT_PLACES: Final = 2
"""Beside those of everything else."""
_MOST_SLOW = {Urgency.URGENT: 96, Urgency.NORMAL: 64, Urgency.BACKGROUND: 32}
"""Keys that are worked on for long without a place, whatever their urgency, when another one gives back its place."""
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 30.0
_CLOCK_RESOLUTION_SECONDS = 1e-6
_MOST_DOUBLINGS = 16
"""Beyond the longest backoff; after a thousand failures the power would not fit into a float."""
_LONGEST_BACKGROUND_SECONDS: Final = 30.0
"""A key of the background that has waited for longer goes before what somebody changed, one at a time."""
_SHORTEST_WAIT_SECONDS: Final = 0.01
_SPARE_APPOINTMENTS: Final = 64


class _Line:
    """Keys of one urgency: owners take turns, and each owner's keys come in their order. Some owners stand aside."""

    def __init__(self) -> None:
        self._by_owner: dict[str, dict[Key, None]] = {}
        self._aside: dict[str, dict[Key, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    def append(self, key: Key) -> None:
        side = self._aside if key.owner in self._aside else self._by_owner
        side.setdefault(key.owner, {})[key] = None

    def remove(self, key: Key) -> None:
        side = self._aside if key.owner in self._aside else self._by_owner
        keys = side[key.owner]
        del keys[key]
        if not keys:
            del side[key.owner]

    def next_owner(self, running: Counter[str], most: int) -> str | None:
        """Returns the next owner that has fewer than `most` running."""
        return next((owner for owner in self._by_owner if running[owner] < most), None)

    def pop(self, owner: str) -> Key:
        """Takes the first key of an owner, which goes to the end."""
        keys = self._by_owner.pop(owner)
        key = next(iter(keys))
        del keys[key]
        if keys:
            self._by_owner[owner] = keys
        return key

    def set_aside(self, owner: str) -> None:
        """Lets an owner lose its turn until it is let back."""
        self._aside[owner] = self._by_owner.pop(owner)

    def let_back(self, owner: str) -> None:
        """Puts an owner that stood aside at the end of the line."""
        keys = self._aside.pop(owner, None)
        if keys:
            self._by_owner[owner] = keys


class WorkQueue:
    """Keys in the order of their urgency. One that is added while its worker runs is worked on once more afterwards.

    places is how many keys are worked on at the same time, but for those that take traffic away: half of them, at most, for the
    background. More of them at once would only take longer each. One that waits for something for long gives its place back.
    """

    def __init__(self, *, places: int = 8, budget: Budget | None = None) -> None:
        self.places = places
        self._budget = budget or _Unlimited()
        self._lines = {urgency: _Line() for urgency in Urgency}
        self._waiting: dict[Key, Urgency] = {}
        self._waits = QueueWaits(Urgency)
        self._running: dict[Key, Urgency] = {}
        self._running_by_owner: Counter[str] = Counter()
        self._placed: dict[Key, Urgency] = {}
        self._placed_at: Counter[Urgency] = Counter()
        self._dirty: dict[Key, Urgency] = {}
        self._failures: dict[Key, int] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, tuple[float, Urgency]] = {}
        self._aside: list[tuple[float, Urgency, str]] = []
        self._order = itertools.count()
        self._takers: dict[Urgency, deque[asyncio.Future[None]]] = {one: deque() for one in Urgency}
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self) -> None:
        """Lets waiting count from now on, since there are workers."""
        self._waits.begin(asyncio.get_running_loop().time())

    def waiting(self, urgency: Urgency) -> tuple[int, float]:
        """Returns how many keys wait at an urgency, and for how many seconds the first of them does."""
        return self._waits.waiting(urgency, asyncio.get_running_loop().time())

    def add(self, key: Key, urgency: Urgency | None = None, *, reset_backoff: bool = True) -> None:
        """Queues the key; no more urgently than the work it follows from, if nothing is said. A fresh event ends its backoff,
        so a corrected spec never waits.
        """
        if urgency is None:
            urgency = max(WORKING_AT.get(), Urgency.NORMAL)
        if reset_backoff:
            self._failures.pop(key, None)
        if key in self._running:
            self._dirty[key] = min(urgency, self._dirty.get(key, urgency))
            return
        waiting = self._waiting.get(key)
        if waiting is not None:
            if waiting <= urgency:
                return
            self._lines[waiting].remove(key)
            self._waits.moved(key, waiting)
        self._waiting[key] = urgency
        self._waits.added(key, urgency, asyncio.get_running_loop().time())
        self._lines[urgency].append(key)
        self._wake(urgency)

    def add_after(self, key: Key, seconds: float, urgency: Urgency = Urgency.NORMAL) -> None:
        """Queues the key after that long, unless it is due earlier already."""
        due = asyncio.get_running_loop().time() + seconds
        earlier, known = self._due.get(key, (float("inf"), urgency))
        urgency = min(urgency, known)
        if earlier <= due:
            self._due[key] = earlier, urgency
            return
        self._due[key] = due, urgency
        heapq.heappush(self._later, (due, next(self._order), key))
        self._forget_former_appointments()
        self._set_timer()

    async def take(self, slowest: Urgency = Urgency.BACKGROUND) -> Key:
        """Takes the next key, waiting for one that is at least that urgent; it must be given back with done()."""
        while True:
            self._on_time()
            key = self._pop(slowest)
            if key is not None:
                self._wake_for_others()
                return key
            if self._waiting:
                self._set_timer()
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers[slowest].append(woken)
            try:
                await woken
            except asyncio.CancelledError:
                if woken.done() and not woken.cancelled():
                    # it was to take a key, which another one takes now
                    self._wake_all_kinds()
                raise

    def urgency_of(self, key: Key) -> Urgency:
        """Returns at what urgency a key that was taken, and not given back, is worked on."""
        return self._running[key]

    def let_go_on(self, key: Key) -> bool:
        """Gives a place back that a key has had for long: it goes on without. False where too many do that already."""
        urgency = self._placed.get(key)
        if urgency is None or len(self._running) - len(self._placed) >= _MOST_SLOW[urgency]:
            return False
        self._give_back_place(key)
        self._wake_all_kinds()
        return True

    def done(self, key: Key, *, failed: bool = False) -> None:
        """Gives a key back; a failed one comes again after its backoff, one that was added meanwhile at once."""
        urgency = self._running.pop(key)
        self._give_back_place(key)
        self._running_by_owner[key.owner] -= 1
        if not self._running_by_owner[key.owner]:
            del self._running_by_owner[key.owner]
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self.add(key, dirty)
        elif failed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            backoff = _FIRST_BACKOFF_SECONDS * 2 ** min(failures, _MOST_DOUBLINGS)
            backoff = min(backoff, _LONGEST_BACKOFF_SECONDS)
            # what has just failed comes after what has not been tried yet
            again = urgency if urgency < Urgency.NORMAL else Urgency.BACKGROUND
            self.add_after(key, backoff * random.uniform(0.8, 1.2), again)
        else:
            self._failures.pop(key, None)
        # another key of its owner, or another one at all, may have waited for this one to end
        self._wake_all_kinds()

    def _pop(self, slowest: Urgency) -> Key | None:
        for urgency in self._in_order():
            if urgency > slowest or not self._may_begin(urgency):
                continue
            owner = self._next_owner(urgency)
            if owner is not None:
                key = self._lines[urgency].pop(owner)
                del self._waiting[key]
                self._waits.taken(key, urgency, asyncio.get_running_loop().time())
                self._running[key] = urgency
                self._running_by_owner[owner] += 1
                if urgency is not Urgency.IMMEDIATE:
                    self._placed[key] = urgency
                    self._placed_at[urgency] += 1
                return key
        return None

    def _in_order(self) -> Iterable[Urgency]:
        if self._is_overdue():
            return Urgency.IMMEDIATE, Urgency.URGENT, Urgency.BACKGROUND, Urgency.NORMAL
        return Urgency

    def _is_overdue(self) -> bool:
        """Tells whether the background has waited for so long that one key of it goes before what somebody changed."""
        if self._placed_at[Urgency.BACKGROUND]:
            return False
        now = asyncio.get_running_loop().time()
        return self._waits.waiting(Urgency.BACKGROUND, now)[1] >= _LONGEST_BACKGROUND_SECONDS

    def _may_begin(self, urgency: Urgency) -> bool:
        """Tells whether there is a place for work of this urgency, and calls are left for it."""
        placed = self._placed_at
        match urgency:
            case Urgency.IMMEDIATE:
                return True
            case Urgency.URGENT:
                return placed.total() < self.places + _URGENT_PLACES
            case Urgency.NORMAL:
                is_place = placed[Urgency.NORMAL] + placed[Urgency.BACKGROUND] < self.places
            case Urgency.BACKGROUND:
                everything = placed[Urgency.NORMAL] + placed[Urgency.BACKGROUND]
                is_place = everything < self.places
                is_place &= placed[Urgency.BACKGROUND] < max(self.places // 2, 1)
        # one that is overdue has the budget of what somebody changed
        is_overdue = urgency is Urgency.BACKGROUND and self._is_overdue()
        spends_as = Urgency.NORMAL if is_overdue else urgency
        return is_place and not self._budget.wait_seconds(spends_as)

    def spare_seconds(self) -> float:
        """Returns how long what nobody waits for has to wait, because of the calls that were made."""
        return self._budget.wait_seconds(Urgency.BACKGROUND)

    def _next_owner(self, urgency: Urgency) -> str | None:
        """Returns the next owner in line; who has spent too much stands aside until that is paid."""
        line = self._lines[urgency]
        while True:
            owner = line.next_owner(self._running_by_owner, _MOST_AT_ONCE[urgency])
            if owner is None:
                return None
            wait = self._budget.wait_seconds_of(owner, urgency)
            if not wait:
                return owner
            line.set_aside(owner)
            until = asyncio.get_running_loop().time() + wait
            heapq.heappush(self._aside, (until, urgency, owner))
            self._set_timer()

    def _give_back_place(self, key: Key) -> None:
        urgency = self._placed.pop(key, None)
        if urgency is not None:
            self._placed_at[urgency] -= 1

    def _wake(self, urgency: Urgency) -> None:
        """Wakes one who may take work of this urgency: first of those who can take little else."""
        for slowest, takers in self._takers.items():
            if slowest < urgency:
                continue
            while takers:
                taker = takers.popleft()
                if not taker.done():
                    taker.set_result(None)
                    return

    def _wake_all_kinds(self) -> None:
        for urgency in Urgency if self._waiting else ():
            self._wake(urgency)

    def _wake_for_others(self) -> None:
        """Wakes one for each kind of work that is left: who took a key may have been woken for another one."""
        for urgency, line in self._lines.items():
            if line and self._may_begin(urgency):
                self._wake(urgency)

    def _forget_former_appointments(self) -> None:
        """Drops what earlier appointments of the same keys have replaced, before it becomes more than what stands."""
        if len(self._later) > 2 * len(self._due) + _SPARE_APPOINTMENTS:
            self._later = [
                one for one in self._later if self._due.get(one[2], (None,))[0] == one[0]
            ]
            heapq.heapify(self._later)

    def _set_timer(self) -> None:
        """Sees to it that the next appointment is kept, whoever waits."""
        due = [heap[0][0] for heap in (self._later, self._aside) if heap]
        due += self._until_calls_are_left()
        if not due:
            return
        at = min(due)
        if self._timer is not None:
            if self._rings_at <= at and not self._timer.cancelled():
                return
            self._timer.cancel()
        # kept here: what uvloop returns for a time that has come does not tell it
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _until_calls_are_left(self) -> list[float]:
        now = asyncio.get_running_loop().time()
        waits = [self._budget.wait_seconds(one) for one, line in self._lines.items() if line]
        return [now + max(wait, _SHORTEST_WAIT_SECONDS) for wait in waits if wait]

    def _ring(self) -> None:
        self._timer = None
        self._on_time()
        self._wake_all_kinds()
        self._set_timer()

    def _on_time(self) -> None:
        """Queues what is due, and lets those back in line who have paid."""
        # a timer of the event loop may fire this much before its time
        now = asyncio.get_running_loop().time() + _CLOCK_RESOLUTION_SECONDS
        while self._later and self._later[0][0] <= now:
            at, _, key = heapq.heappop(self._later)
            due, urgency = self._due.get(key, (None, Urgency.NORMAL))
            if due == at:
                del self._due[key]
                self.add(key, urgency, reset_backoff=False)
        while self._aside and self._aside[0][0] <= now:
            _, urgency, owner = heapq.heappop(self._aside)
            self._lines[urgency].let_back(owner)
