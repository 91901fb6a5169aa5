"""The state that kopf hands to every handler as its memo: shared by all objects, never copied."""

from dataclasses import dataclass
from typing import Self

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue


@dataclass(frozen=True, slots=True)
class Context:
    watched_state: WatchedState
    queue: WorkQueue
    children: OwnedObjects

    def __copy__(self) -> Self:
        # kopf copies the memo for every object; ours is one and the same
        return self

    def forget(self, namespace: str) -> None:
        """Drops what watches have shown of the children in a namespace without a Tenant."""
        self.children.forget(namespace)
        self.watched_state.forget(namespace)
