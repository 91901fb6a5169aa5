"""Since when each key of the work queue waits."""

from collections.abc import Hashable, Iterable
from enum import IntEnum

from relay_operator.cluster.metrics.catalogue import QUEUE_WAIT


class QueueWaits:
    """Waiting keys by urgency, the first one first. Times are seconds of one clock.

    Waiting counts from begin() on: before, nobody is there to take anything.
    """

    def __init__(self, urgencies: Iterable[IntEnum]) -> None:
        self._since: dict[IntEnum, dict[Hashable, float]] = {one: {} for one in urgencies}
        self._told = {one: QUEUE_WAIT.labels(one.name.lower()) for one in self._since}
        self._begun = float("inf")

    def begin(self, now: float) -> None:
        """Notes that there is somebody from now on."""
        self._begun = now

    def added(self, key: Hashable, urgency: IntEnum, now: float) -> None:
        """Notes that a key begins to wait."""
        self._since[urgency][key] = now

    def moved(self, key: Hashable, urgency: IntEnum) -> None:
        """Forgets a key that waits at another urgency from now on."""
        del self._since[urgency][key]

    def taken(self, key: Hashable, urgency: IntEnum, now: float) -> None:
        """Notes that a key waits no more."""
        self._told[urgency].observe(self._seconds(self._since[urgency].pop(key), now))

    def waiting(self, urgency: IntEnum, now: float) -> tuple[int, float]:
        """Returns how many keys wait, and for how long the first of them does."""
        since = self._since[urgency]
        first = next(iter(since.values()), None)
        return len(since), 0.0 if first is None else self._seconds(first, now)

    def _seconds(self, since: float, now: float) -> float:
        return max(now - max(since, self._begun), 0.0)
