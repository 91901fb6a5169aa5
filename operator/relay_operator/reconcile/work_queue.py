"""The keyed queue: one worker per key at a time, repeats coalesced, urgent keys first, owners in turn, backoff that
events reset.
"""

import asyncio
import heapq
import itertools
import random
import sys
from collections import Counter, deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from relay_operator import names


class Urgency(IntEnum):
    """URGENT is what takes traffic away from something: a rollback, a lower percent, a suspension.

    IMMEDIATE is what must not wait for anything of the same owner, and makes nobody wait.
    """

    IMMEDIATE = 0
    URGENT = 1
    NORMAL = 2


_OF_TENANTS: Final = frozenset({"Tenant", "Withdrawal", "KeySecrets"})


@dataclass(frozen=True, slots=True)
class Key:
    """The object to reconcile. Of a Tenant, a Withdrawal and KeySecrets take away what a reconcile of it would be late with."""

    kind: str
    namespace: str
    name: str

    @property
    def owner(self) -> str:
        """The namespace of the tenant that this work is for; all Providers are one owner."""
        return names.tenant_namespace(self.name) if self.kind in _OF_TENANTS else self.namespace


_MOST_AT_ONCE = {Urgency.IMMEDIATE: sys.maxsize, Urgency.URGENT: 3, Urgency.NORMAL: 2}
"""Keys of one owner that are worked on at the same time, whatever their urgency, when another one is taken."""
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 30.0
_CLOCK_RESOLUTION_SECONDS = 1e-6
_MOST_DOUBLINGS = 16
"""Beyond the longest backoff; after a thousand failures the power would not fit into a float."""


class _Line:
    """Keys of one urgency: owners take turns, and each owner's keys come in their order."""

    def __init__(self) -> None:
        self._by_owner: dict[str, deque[Key]] = {}

    def append(self, key: Key) -> None:
        self._by_owner.setdefault(key.owner, deque()).append(key)

    def pop(self, running: Counter[str], most: int) -> Key | None:
        """Takes the first key of the next owner that has fewer than `most` running; the owner goes to the end."""
        owner = next((owner for owner in self._by_owner if running[owner] < most), None)
        if owner is None:
            return None
        keys = self._by_owner.pop(owner)
        key = keys.popleft()
        if keys:
            self._by_owner[owner] = keys
        return key


class WorkQueue:
    """Keys in the order of their urgency. One that is added while its worker runs is worked on once more afterwards."""

    def __init__(self) -> None:
        self._lines = {urgency: _Line() for urgency in Urgency}
        self._waiting: dict[Key, Urgency] = {}
        self._running: dict[Key, Urgency] = {}
        self._running_by_owner: Counter[str] = Counter()
        self._dirty: dict[Key, Urgency] = {}
        self._failures: dict[Key, int] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, tuple[float, Urgency]] = {}
        self._order = itertools.count()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, key: Key, urgency: Urgency = Urgency.NORMAL, *, reset_backoff: bool = True
    ) -> None:
        """Queues the key. A fresh event ends its backoff, so a corrected spec never waits."""
        if reset_backoff:
            self._failures.pop(key, None)
        if key in self._running:
            self._dirty[key] = min(urgency, self._dirty.get(key, urgency))
            return
        waiting = self._waiting.get(key)
        if waiting is not None and waiting <= urgency:
            return
        # an overtaken entry stays in the slower line, and is skipped when its turn comes
        self._waiting[key] = urgency
        self._lines[urgency].append(key)
        self._arrived.set()

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
        self._arrived.set()

    async def take(self, slowest: Urgency = Urgency.NORMAL) -> Key:
        """Takes the next key, waiting for one that is at least that urgent; it must be given back with done()."""
        while True:
            wait = self._release_due()
            key = self._pop(slowest)
            if key is not None:
                return key
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def done(self, key: Key, *, failed: bool = False) -> None:
        """Gives a key back; a failed one comes again after its backoff, one that was added meanwhile at once."""
        urgency = self._running.pop(key)
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
            self.add_after(key, backoff * random.uniform(0.8, 1.2), urgency)
        else:
            self._failures.pop(key, None)
        # another key of its owner may have waited for this one to end
        self._arrived.set()

    def _pop(self, slowest: Urgency) -> Key | None:
        for urgency in Urgency:
            while urgency <= slowest:
                key = self._lines[urgency].pop(self._running_by_owner, _MOST_AT_ONCE[urgency])
                if key is None:
                    break
                if self._waiting.get(key) == urgency:
                    del self._waiting[key]
                    self._running[key] = urgency
                    self._running_by_owner[key.owner] += 1
                    return key
        return None

    def _release_due(self) -> float | None:
        now = asyncio.get_running_loop().time()
        # a timer of the event loop may fire this much before its time
        while self._later and self._later[0][0] <= now + _CLOCK_RESOLUTION_SECONDS:
            at, _, key = heapq.heappop(self._later)
            due, urgency = self._due.get(key, (None, Urgency.NORMAL))
            if due == at:
                del self._due[key]
                self.add(key, urgency, reset_backoff=False)
        return self._later[0][0] - now if self._later else None
