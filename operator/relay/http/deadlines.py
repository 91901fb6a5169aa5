"""Many coarse deadlines at the cost of an attribute each: connections move theirs with every request and rarely meet it."""

import math
from abc import ABC, abstractmethod
from typing import Final

NEVER: Final = math.inf


class Watched(ABC):
    """deadline is the truth, in monotonic seconds; slot is the wheel's own note."""

    __slots__ = ("deadline", "slot")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.slot = NEVER

    @abstractmethod
    def expired(self, now: float) -> None:
        """The deadline has passed; called at most once per watch."""


class DeadlineWheel:
    """Calls `expired` within a second after an item's deadline.

    An item stands in one slot, at or before its deadline. Moving a deadline later needs no call: when the slot comes
    up the item is filed again. Moving it earlier than its slot needs `watch`.
    """

    __slots__ = ("_slots", "_turned")

    def __init__(self, now: float) -> None:
        self._slots: dict[float, set[Watched]] = {}
        self._turned = math.floor(now)

    def __len__(self) -> int:
        return sum(len(items) for items in self._slots.values())

    def watch(self, item: Watched) -> None:
        """The item's deadline will be noticed."""
        if item.deadline == NEVER or item.slot <= item.deadline:
            return
        self.forget(item)
        slot = float(max(math.floor(item.deadline), self._turned + 1))
        item.slot = slot
        self._slots.setdefault(slot, set()).add(item)

    def forget(self, item: Watched) -> None:
        """The item is in no slot, so that nothing keeps it alive."""
        if item.slot != NEVER:
            items = self._slots.get(item.slot)
            if items is not None:
                items.discard(item)
            item.slot = NEVER

    def turn(self, now: float) -> None:
        """Every watched deadline up to the whole second before now has been acted on."""
        current = math.floor(now)
        for slot in range(self._turned + 1, current + 1):
            self._turned = slot
            for item in self._slots.pop(slot, ()):
                item.slot = NEVER
                if item.deadline <= now:
                    item.expired(now)
                else:
                    self.watch(item)
