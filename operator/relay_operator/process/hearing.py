"""Notices that this operator is deaf: the API server answers, and a watch does not show what it has.

A restart mends that, so the kubelet is told. It is told of nothing else that lies outside: an operator without API server,
Prometheus or relays is no better after a restart, which ends what the last leader still does without the API server and has its
start put off by the kubelet when the API server is back (docs/adr/0034-liveness.md).
"""

import asyncio
import logging
from typing import Final

from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.errors import OperatorError
from relay_operator.handlers import catch_up
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 200.0
"""Bookmarks come about once a minute, and kopf connects anew after 70 s without any: these are two silent connections in a row.

No proof yet: the API server promises no bookmarks, and sends none of a kind of which nothing has happened since it started.
"""
_LOOK_SECONDS: Final = 10.0
DECIDED_FROM: Final = {
    "tenants": "Tenant",
    "providers": "Provider",
    "toolservers": "ToolServer",
    "relayroutes": "RelayRoute",
}
"""Watches, and their kinds, from which is decided. What is missed of children is found by a resync, and a new relay pod has its
mounted document until then.
"""


class Hearing:
    """Compares a watch that has been silent for long with what the API server lists; deaf_to() has the result."""

    def __init__(self, *, api: ApiServer, traffic: ApiTraffic, watched_state: WatchedState) -> None:
        self._api = api
        self._traffic = traffic
        self._watched_state = watched_state
        self._deaf_to = ""
        self._compared: dict[str, float] = {}

    def deaf_to(self) -> str:
        """Says which watch does not show what the API server has; empty while every one does."""
        return self._deaf_to

    async def run(self) -> None:
        """Listens until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        now = self._traffic.now()
        if self._traffic.answering_seconds() < SILENT_SECONDS:
            # a watch that is silent while nothing answers tells nothing
            return
        silent = set(self._traffic.watch_ages.silent(SILENT_SECONDS, now=now))
        if self._deaf_to not in silent:
            self._deaf_to = ""
        for watch in sorted(silent & DECIDED_FROM.keys()):
            if now - self._compared.get(watch, float("-inf")) >= SILENT_SECONDS:
                self._compared[watch] = now
                await self._compare(watch)

    async def _compare(self, watch: str) -> None:
        kind = DECIDED_FROM[watch]
        try:
            is_deaf = await catch_up.lacks(self._api, kind, self._watched_state)
        except OperatorError as error:
            logger.info(
                "silent watch not compared, will retry", extra={"watch": watch, "why": str(error)}
            )
            del self._compared[watch]
            return
        if is_deaf:
            logger.error("a watch shows nothing of what there is", extra={"watch": watch})
            self._deaf_to = watch
        elif self._deaf_to == watch:
            self._deaf_to = ""
