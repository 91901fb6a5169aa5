"""The state that every handler is handed with an event: shared by all objects."""

import asyncio
from dataclasses import dataclass, field

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class Context:
    """relisted is set once a list has shown what was known already: what went before it, no watch has shown."""

    watched_state: WatchedState
    queue: WorkQueue
    children: OwnedObjects
    relisted: asyncio.Event = field(default_factory=asyncio.Event)

    def note_event(self, type_: str | None, *, is_known: bool) -> None:
        """Takes in the type of an event before it is handled, None for what a list shows, and whether its object is known."""
        if type_ is None and is_known:
            self.relisted.set()

    def forget(self, namespace: str) -> None:
        """Drops what watches have shown of the children in a namespace without a Tenant."""
        self.children.forget(namespace)
        self.watched_state.forget(namespace)
