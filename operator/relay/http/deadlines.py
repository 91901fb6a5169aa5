"""A timer wheel with one-second slots. Moving a deadline later costs one attribute write."""

import math
from abc import ABC, abstractmethod
from typing import Final

NEVER: Final = math.inf


class Watched(ABC):
    """An item with a deadline in monotonic seconds. slot belongs to the wheel."""

    __slots__ = ("deadline", "slot")

    def __init__(self) -> None:
        self.deadline = NEVER
        self.slot = NEVER

    @abstractmethod
    def expired(self, now: float) -> None:
        """Called when the deadline has passed, at most once per watch."""


class DeadlineWheel:
    """Calls `expired` within a second after an item's deadline.

    An item is in one slot, at or before its deadline. Moving a deadline later needs no call: when the slot is due the
    item is filed again. Moving it earlier than its slot needs `watch`.
    """

    __slots__ = ("_slots", "_turned")

    def __init__(self, now: float) -> None:
        self._slots: dict[float, set[Watched]] = {}
        self._turned = math.floor(now)

    def __len__(self) -> int:
        return sum(len(items) for items in self._slots.values())

    def watch(self, item: Watched) -> None:
        """Files the item by its deadline."""
        if item.deadline == NEVER or item.slot <= item.deadline:
            return
        self.forget(item)
        slot = float(max(math.floor(item.deadline), self._turned + 1))
        item.slot = slot
        self._slots.setdefault(slot, set()).add(item)

    def forget(self, item: Watched) -> None:
        """Removes the item from its slot, so that the wheel does not keep it alive."""
        if item.slot != NEVER:
            items = self._slots.get(item.slot)
            if items is not None:
                items.discard(item)
            item.slot = NEVER

    def turn(self, now: float) -> None:
        """Acts on every watched deadline up to the last whole second."""
        current = math.floor(now)
        for slot in range(self._turned + 1, current + 1):
            self._turned = slot
            for item in self._slots.pop(slot, ()):
                item.slot = NEVER
                if item.deadline <= now:
                    item.expired(now)
                else:
                    self.watch(item)
