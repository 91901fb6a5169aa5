"""Statuses of tenants whose pods come up: what follows within a moment is told with it."""

import asyncio
from typing import Final

_SECONDS: Final = 1.0
"""A relay that has taken its document is mostly ready by then."""


class HeldStatuses:
    """Remembers, by Tenant, since when a status waits; times are the event loop's."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def is_to_be_held(self, name: str, *, is_progress: bool) -> bool:
        """Tells whether the status of a Tenant is to wait. is_progress tells that it has nothing new but how far its pods are."""
        if not is_progress:
            self._since.pop(name, None)
            return False
        now = asyncio.get_running_loop().time()
        if now - self._since.setdefault(name, now) < _SECONDS:
            return True
        del self._since[name]
        return False

    def forget(self, name: str) -> None:
        """Drops what is known of a Tenant that is gone."""
        self._since.pop(name, None)
