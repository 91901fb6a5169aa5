"""Tells whether the watch has shown the relays' Deployments as the former leader left them.

What it wrote in its last moments may still be to be shown. Such a relay is on its way, and would be taken for one that is not: as
many others as may be rolled at once would begin beside it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.errors import ApiServerRefused, Unavailable
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 120.0
"""Longer than kopf takes to connect anew a watch that is silent."""


class ShownRollouts:
    """Compares the watch with a list, once a life and when it first matters: at rest nobody lists anything."""

    def __init__(
        self, *, api: ApiServer, watched_state: WatchedState, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._clock = clock
        self._looking = asyncio.Lock()
        self._began: float | None = None
        self._looked_at = float("-inf")
        self.are_current = False

    async def look(self) -> bool:
        """Compares, unless that was done a moment ago; True where it has to be done once more."""
        async with self._looking:
            if self.are_current or self._clock() - self._looked_at < _PAUSE_SECONDS:
                return False
            self._began = self._clock() if self._began is None else self._began
            behind = await self._behind()
            self._looked_at = self._clock()
            is_over = self._looked_at - self._began >= PATIENCE_SECONDS
            if behind and is_over:
                logger.warning("rollouts go on although not all are shown", extra={"why": behind})
            self.are_current = not behind or is_over
            return not self.are_current

    async def _behind(self) -> str:
        """Says what is still to be shown; nothing if all is."""
        try:
            listed = await self._api.list_metadata("Deployment", selector=names.MANAGED_SELECTOR)
        except (ApiServerRefused, Unavailable) as error:
            return str(error)
        lacking = next((one["namespace"] for one in listed if not self._is_shown(one)), "")
        return f"the watch has not shown the Deployment of {lacking} as it is" if lacking else ""

    def _is_shown(self, metadata: Manifest) -> bool:
        namespace = metadata["namespace"]
        if metadata["name"] != names.RELAY or not self._watched_state.owns(namespace):
            return True
        shown = self._watched_state.rollouts.get(namespace)
        if shown is None or shown.uid != metadata["uid"]:
            return False
        return shown.generation >= int(metadata.get("generation", 0))
