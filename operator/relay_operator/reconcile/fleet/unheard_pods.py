"""Relay pods that a new life of the operator has not heard of yet.

It asks every pod of the fleet anew which document it runs, and that takes a moment. What status tells of the same document
stays meanwhile: else a restart would write most statuses twice.
"""

import asyncio
from typing import Final

_SECONDS: Final = 3.0
"""Longer than a push: a pod that has not answered by then is told of."""

Key = tuple[str, str, str]


class UnheardPods:
    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def are_awaited(self, key: Key, *, is_as_told: bool) -> bool:
        """Tells whether to wait a moment more before an object's status is written.

        is_as_told tells that nothing differs from what status tells but that pods have not acknowledged it, or not yet again.
        """
        if not is_as_told:
            self._since.pop(key, None)
            return False
        now = asyncio.get_running_loop().time()
        return now - self._since.setdefault(key, now) < _SECONDS

    def forget(self, key: Key) -> None:
        """Drops what is known of an object that is gone."""
        self._since.pop(key, None)
