"""Asks the ledger what the sides of routes have cost."""

from collections.abc import Sequence

from pydantic import ValidationError

from relay_contract.billing.route_costs import (
    MAX_ROUTES,
    ROUTE_COSTS_PATH,
    RouteAsked,
    RouteCost,
    RouteCosts,
    RouteCostsQuestion,
)
from relay_operator.cluster.ledger.connection import LedgerConnection
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.errors import LedgerUnavailable


class RouteCostClient:
    """Asks for as many routes at once as one question may have."""

    def __init__(self, url: str, keys: KeyFile) -> None:
        self._ledger = LedgerConnection(url, keys)

    async def costs(self, routes: Sequence[RouteAsked], *, by_quarter: bool = False) -> RouteCosts:
        """Returns what these routes have cost; until is the earliest look of the ledger. Raises LedgerUnavailable."""
        found: list[RouteCost] = []
        untils: list[int] = []
        for start in range(0, len(routes), MAX_ROUTES):
            some = tuple(routes[start : start + MAX_ROUTES])
            question = RouteCostsQuestion(routes=some, by_quarter=by_quarter)
            body = question.model_dump_json(by_alias=True)
            answer = await self._ledger.ask("POST", ROUTE_COSTS_PATH, body)
            try:
                told = RouteCosts.model_validate_json(answer)
            except ValidationError as error:
                raise LedgerUnavailable("it answers what is no answer of a ledger") from error
            found += told.costs
            untils.append(told.until)
        return RouteCosts(until=min(untils, default=0), costs=tuple(found))
