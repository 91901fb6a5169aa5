"""The keyed queue: one worker per key at a time, repeats coalesced, urgent keys first, backoff that events reset."""

import asyncio
import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass
from enum import IntEnum


class Urgency(IntEnum):
    URGENT = 0
    NORMAL = 1


@dataclass(frozen=True, slots=True)
class Key:
    """The object to reconcile."""

    kind: str
    namespace: str
    name: str


_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 30.0


class WorkQueue:
    """Keys in the order of their urgency. One that is added while its worker runs is worked on once more afterwards."""

    def __init__(self) -> None:
        self._ready: tuple[deque[Key], deque[Key]] = (deque(), deque())
        self._waiting: dict[Key, Urgency] = {}
        self._running: set[Key] = set()
        self._dirty: dict[Key, Urgency] = {}
        self._failures: dict[Key, int] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
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
        self._ready[urgency].append(key)
        self._arrived.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Queues the key after that long, unless it is due earlier already."""
        due = asyncio.get_running_loop().time() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._arrived.set()

    async def take(self) -> Key:
        """Takes the next key, waiting for one; it must be given back with done()."""
        while True:
            wait = self._release_due()
            key = self._pop()
            if key is not None:
                self._running.add(key)
                return key
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def done(self, key: Key, *, failed: bool = False) -> None:
        """Gives a key back; a failed one comes again after its backoff, one that was added meanwhile at once."""
        self._running.discard(key)
        dirty = self._dirty.pop(key, None)
        if dirty is not None:
            self.add(key, dirty)
        elif failed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            backoff = min(_FIRST_BACKOFF_SECONDS * 2**failures, _LONGEST_BACKOFF_SECONDS)
            self.add_after(key, backoff * random.uniform(0.8, 1.2))
        else:
            self._failures.pop(key, None)

    def _pop(self) -> Key | None:
        for urgency in Urgency:
            line = self._ready[urgency]
            while line:
                key = line.popleft()
                if self._waiting.get(key) == urgency:
                    del self._waiting[key]
                    return key
        return None

    def _release_due(self) -> float | None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, reset_backoff=False)
        return self._later[0][0] - now if self._later else None
