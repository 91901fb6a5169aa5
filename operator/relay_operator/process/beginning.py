"""Begins a life: its watches show the cluster as it is before it tells anybody of it, and before it acts as a leader."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import Counter

from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import OperatorError
from relay_operator.handlers import catch_up, listing
from relay_operator.handlers.context import Context
from relay_operator.handlers.lost_deletions import LostDeletions

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_LEAD_SECONDS = 10.0
"""A lead that is not taken up by then is given back: meanwhile nobody acts. A new life lists everything anew."""

_STALLED_SECONDS: Final = 10.0
"""First lists that show nothing more for so long are not waited for. Of a large fleet they take longer than that altogether."""
_LOOK_SECONDS: Final = 0.1

_GIVEN_BACK: Final = Counter(
    "relay_operator_leads_given_back_total",
    "Leads that were given back because the watches did not show the cluster as it is",
)


class Beginning:
    """Knows of one life how far it has come. shown is set for good once the watches have shown what exists.

    is_listing tells whether the first list of a kind is still being read. confirm is asked before the leader begins, and False
    ends its life.
    """

    def __init__(
        self,
        *,
        api: ApiServer,
        context: Context,
        lost: LostDeletions,
        is_listing: Callable[[], bool],
        confirm: Callable[[], Awaitable[bool]],
    ) -> None:
        self._api = api
        self._context = context
        self._watched_state = context.watched_state
        self._lost = lost
        self._is_listing = is_listing
        self._confirm = confirm
        self.shown = asyncio.Event()

    async def watch(self) -> None:
        """Sets shown when it is time, also on a standby; runs until cancelled."""
        await self._listed()
        while not self.shown.is_set():
            try:
                await self._see_all()
            except OperatorError as error:
                logger.warning("not ready yet, will retry", extra={"why": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)
        await asyncio.Event().wait()

    async def may_act(self) -> bool:
        """Waits until a leader sees what the last one left; False when it had better give the lead back."""
        clock = asyncio.get_running_loop().time
        if not self.shown.is_set():
            # whoever has the lead next would have to list all of it too
            await self._listed()
        end = clock() + _LEAD_SECONDS
        while True:
            try:
                if not await self._confirm():
                    return False
                await self._lost.compare_what_is_decided_from()
                if self.shown.is_set():
                    await catch_up.caught_up(self._api, self._watched_state)
                else:
                    await self._see_all()
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

    async def _see_all(self) -> None:
        """Sets shown once the watches have shown what exists; raises as catch_up does when that takes too long."""
        await catch_up.caught_up(self._api, self._watched_state)
        listing.tenants_are_listed(self._context)
        # without its pods a tenant looks as if it had none
        await catch_up.pods_shown(self._api, self._watched_state)
        self.shown.set()

    async def _listed(self) -> None:
        """Waits until the first list of every kind has been read, for as long as they show more."""
        clock, shown = asyncio.get_running_loop().time, self._progress()
        end = clock() + _STALLED_SECONDS
        while self._is_listing() and clock() < end:
            await asyncio.sleep(_LOOK_SECONDS)
            if shown != (shown := self._progress()):
                end = clock() + _STALLED_SECONDS

    def _progress(self) -> tuple[int, ...]:
        state = self._watched_state
        kinds = (state.tenants, state.providers, state.tool_servers, state.routes, state.pods)
        return *(kind.changes for kind in kinds), self._context.children.observed
