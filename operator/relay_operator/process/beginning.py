"""Begins a life: its watches show the cluster as it is before it tells anybody of it, and before it acts as a leader."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import Counter

from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import OperatorError
from relay_operator.handlers import catch_up
from relay_operator.handlers.lost_deletions import LostDeletions
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_LEAD_SECONDS = 10.0
"""A lead that is not taken up by then is given back: meanwhile nobody acts. A new life lists everything anew."""

_GIVEN_BACK: Final = Counter(
    "relay_operator_leads_given_back_total",
    "Leads that were given back because the watches did not show the cluster as it is",
)


class Beginning:
    """Knows of one life how far it has come. shown is set for good once the watches have shown what exists.

    confirm is asked before the leader begins, and False ends its life.
    """

    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        lost: LostDeletions,
        confirm: Callable[[], Awaitable[bool]],
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._lost = lost
        self._confirm = confirm
        self.shown = asyncio.Event()

    async def watch(self) -> None:
        """Sets shown when it is time, also on a standby; runs until cancelled."""
        while not self.shown.is_set():
            try:
                await catch_up.caught_up(self._api, self._watched_state)
                await catch_up.pods_shown(self._api, self._watched_state)
                self._watched_state.pods.tenants_are_listed(self._watched_state.tenants)
                self.shown.set()
            except OperatorError as error:
                logger.warning("not ready yet, will retry", extra={"why": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)
        await asyncio.Event().wait()

    async def may_act(self) -> bool:
        """Waits until a leader sees what the last one left; False when it had better give the lead back."""
        clock = asyncio.get_running_loop().time
        end = clock() + _LEAD_SECONDS
        while True:
            try:
                if not await self._confirm():
                    return False
                await self._lost.compare_what_is_decided_from()
                await catch_up.caught_up(self._api, self._watched_state)
                if not self.shown.is_set():
                    # of one that has just started: without its pods a tenant looks as if it had none
                    await catch_up.pods_shown(self._api, self._watched_state)
            except OperatorError as error:
                why = {"why": str(error)}
                if clock() >= end:
                    logger.warning("lead given back, all watches begin anew", extra=why)
                    _GIVEN_BACK.inc()
                    return False
                logger.warning("lead not taken up yet, will retry", extra=why)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return True
