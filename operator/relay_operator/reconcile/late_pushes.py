"""Pushes that nobody waits for any more: repeated where a pod did not answer, and told where it did.

So a tenant whose pods do not answer costs a push to each of them now and then, and no reconciles.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_TICK_SECONDS: Final = 0.25


class LatePushes:
    """Told of the end of every push; queues the tenant, and its routes, of each that succeeded late."""

    def __init__(self, *, watched_state: WatchedState, queue: WorkQueue) -> None:
        self._watched_state = watched_state
        self._queue = queue
        self._due: list[tuple[float, str]] = []
        self._late: set[str] = set()
        self._news = asyncio.Event()

    def note(self, namespace: str, again_at: float) -> None:
        """Takes in that a push to a pod failed, and from when on it may be repeated, in seconds of the event loop."""
        heapq.heappush(self._due, (again_at, namespace))
        self._news.set()

    def note_late(self, namespace: str) -> None:
        """Takes in that a push succeeded which nobody waits for any more."""
        self._late.add(namespace)
        self._news.set()

    async def run(self, push: Callable[[str], None]) -> None:
        """Repeats pushes, with the given function for a namespace, until cancelled."""
        while True:
            if not self._due and not self._late:
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(_TICK_SECONDS)
            while self._late:
                self._tell(self._late.pop())
            now = asyncio.get_running_loop().time()
            due = set()
            while self._due and self._due[0][0] <= now:
                due.add(heapq.heappop(self._due)[1])
            for namespace in due:
                push(namespace)

    def _tell(self, namespace: str) -> None:
        tenant = self._watched_state.tenant_of_namespace(namespace)
        if tenant is None:
            return
        self._queue.add(Key("Tenant", "", tenant))
        for route in self._watched_state.routes.names(namespace=namespace):
            self._queue.add(Key("RelayRoute", namespace, route))
