"""What handlers are given as kopf's memo: shared by all objects, never copied."""

from dataclasses import dataclass
from typing import Self

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue


@dataclass(slots=True)
class Context:
    world: WatchedState
    queue: WorkQueue
    children: OwnedObjects
    watching: bool = False
    """False until the first list of everything is in; then only events change the world."""

    def __copy__(self) -> Self:
        # kopf copies the memo for every object; ours is one and the same
        return self
