"""What handlers are given as kopf's memo: shared by all objects, never copied."""

from dataclasses import dataclass
from typing import Self

from relay_operator.cluster.children import Children
from relay_operator.cluster.work_queue import WorkQueue
from relay_operator.cluster.world import World


@dataclass(slots=True)
class Context:
    world: World
    queue: WorkQueue
    children: Children
    watching: bool = False
    """False until the first list of everything is in; then only events change the world."""

    def __copy__(self) -> Self:
        # kopf copies the memo for every object; ours is one and the same
        return self
