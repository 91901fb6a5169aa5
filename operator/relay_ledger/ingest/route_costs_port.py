"""The route by which the operator asks what the sides of routes have cost."""

import time
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay_contract.billing.route_costs import (
    MAX_DAYS,
    ROUTE_COSTS_PATH,
    RouteCosts,
    RouteCostsQuestion,
)
from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.json_routes import (
    UNAUTHORIZED,
    RequestRefused,
    answering,
    json_answer,
    read_form,
    token_in,
)
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.store.route_cost_reading import RouteCostReading

_MOST_BYTES: Final = 256 * 1024
_MOST_MICROSECONDS: Final = MAX_DAYS * 86_400 * 10**6


class RouteCostsPort:
    """Adds its route to the application that relays speak to."""

    def __init__(
        self,
        costs: RouteCostReading,
        keys: KeyFile,
        desk: BookingDesk,
        *,
        body_seconds: float,
    ) -> None:
        self._costs = costs
        self._keys = keys
        self._desk = desk
        self._body_seconds = body_seconds

    def add_routes(self, application: web.Application) -> None:
        """Adds the route."""
        application.router.add_post(ROUTE_COSTS_PATH, answering(self._tell))

    async def _tell(self, request: web.Request) -> web.Response:
        if not self._keys.is_operators(token_in(request)):
            raise RequestRefused(*UNAUTHORIZED)
        asked = await read_form(
            request, RouteCostsQuestion, most_bytes=_MOST_BYTES, seconds=self._body_seconds
        )
        now = time.time_ns() // 1000
        if any(one.since < now - _MOST_MICROSECONDS for one in asked.routes):
            message = f"routes: a question goes back {MAX_DAYS} days at most"
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "invalid", message)
        costs = await self._desk.in_thread(
            lambda: self._costs.costs(asked.routes, by_quarter=asked.by_quarter)
        )
        return json_answer(RouteCosts(until=now, costs=tuple(costs)))
