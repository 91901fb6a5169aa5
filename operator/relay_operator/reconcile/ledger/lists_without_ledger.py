"""Tells PriceLists of a platform that has no ledger that nothing is priced by them: whoever waits for their status learns why."""

import logging
from collections.abc import Callable
from typing import Any, Final

from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions.ledger import price_conditions
from relay_operator.errors import ApiServerRefused, Conflict
from relay_operator.reconcile.failure_report import report_status
from relay_operator.reconcile.ledger.price_lists import PriceLists
from relay_operator.reconcile.ledger.repeated_looks import look_again

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 30.0
"""Between looks: nothing but the status of a list waits for one."""


class ListsWithoutLedger:
    """Writes the status of PriceLists in the place of PricePush, which needs a ledger."""

    def __init__(
        self,
        *,
        api: ApiServer,
        status: StatusWriter,
        announcer: EventRecorder,
        wall: Callable[[], float],
    ) -> None:
        self._status = status
        self._announcer = announcer
        self._wall = wall
        self._lists = PriceLists(api)

    async def run(self) -> None:
        """Looks until cancelled."""
        await look_again(
            self.look,
            every_seconds=LOOK_SECONDS,
            logger=logger,
            failure="price lists not looked at, will retry",
        )

    async def look(self) -> None:
        """Tells each list that has not been told. Raises ApiServerRefused, Conflict or Unavailable."""
        await self._lists.look()
        for name, body in self._lists.bodies.items():
            try:
                await self._tell(body)
            except (ApiServerRefused, Conflict) as error:
                # one that cannot be written keeps no other from its conditions
                logger.warning(
                    "the status of a price list is not written, will retry",
                    extra={"price_list": name, "why": str(error)},
                )

    async def _tell(self, body: dict[str, Any]) -> None:
        await report_status(
            self._status,
            self._announcer,
            "PriceList",
            body,
            # what a ledger said that the platform has no more
            {"version": None, "tenants": None},
            price_conditions.without_ledger(),
            on_its_way=(),
            now=self._wall(),
        )
