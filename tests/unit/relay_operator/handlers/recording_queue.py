"""A work queue that records, and the context that handlers are given with it."""

from typing import Any

from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue


class RecordingQueue(WorkQueue):
    """Remembers what was enqueued instead of ordering it; what is immediate, apart. seconds are those after which it was to be."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []
        self.urgent: set[str] = set()
        self.background: set[str] = set()
        self.immediate: list[str] = []
        self.seconds: dict[str, float] = {}

    def add(self, key: Key, urgency: Urgency | None = None, **_: Any) -> None:
        if urgency is Urgency.IMMEDIATE:
            self.immediate.append(f"{key.kind}/{key.name}")
            return
        self.keys.append(key)
        if urgency is Urgency.URGENT:
            self.urgent.add(f"{key.kind}/{key.name}")
        if urgency is Urgency.BACKGROUND:
            self.background.add(f"{key.kind}/{key.name}")

    def add_after(self, key: Key, seconds: float, urgency: Urgency = Urgency.NORMAL) -> None:
        self.seconds[f"{key.kind}/{key.name}"] = seconds
        self.add(key, urgency)

    def drained(self) -> list[str]:
        """Kind and name of what was enqueued since the last time, in order and once each."""
        names = list(dict.fromkeys(f"{key.kind}/{key.name}" for key in self.keys))
        self.keys.clear()
        return names


def a_context(*providers: str) -> tuple[Context, RecordingQueue]:
    """Returns a context that knows these Providers."""
    queue, watched_state = RecordingQueue(), WatchedState()
    for name in providers:
        watched_state.providers.store({"metadata": {"name": name, "uid": name}, "spec": {}})
    return Context(
        watched_state=watched_state,
        queue=queue,
        children=OwnedObjects(InMemoryApiServer().connect()),
    ), queue
