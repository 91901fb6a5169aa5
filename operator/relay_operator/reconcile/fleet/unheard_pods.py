"""Relay pods that a new life of the operator has not heard of yet.

It asks every pod of the fleet anew which document it runs, and that takes a moment. What status tells of the same document
stays meanwhile: else a restart would write most statuses twice.
"""

import asyncio
from typing import Final

_SECONDS: Final = 3.0
"""From the first push that ended: a pod that has not taken the document by then is told of."""
_LONGEST_SECONDS: Final = 60.0
"""Far longer than a push, also where thousands of pods are pushed to at once."""

Key = tuple[str, str, str]


class UnheardPods:
    def __init__(self) -> None:
        self._since: dict[Key, tuple[float, float]] = {}

    def are_awaited(self, key: Key, *, is_as_told: bool, are_asked: bool) -> bool:
        """Tells whether to wait a moment more before an object's status is written.

        is_as_told tells that nothing differs from what status tells but that pods have not acknowledged it, or not yet again;
        are_asked that the first push of this life to one of them has not ended.
        """
        if not is_as_told:
            self._since.pop(key, None)
            return False
        now = asyncio.get_running_loop().time()
        began, heard = self._since.get(key, (now, now))
        heard = now if are_asked else heard
        self._since[key] = began, heard
        return now - heard < _SECONDS and now - began < _LONGEST_SECONDS

    def forget(self, key: Key) -> None:
        """Drops what is known of an object that is gone."""
        self._since.pop(key, None)
