"""What the calls of routes have cost by side, as the operator asks the ledger; both as JSON, under the operator's token."""

from typing import Annotated, Final, Literal

from pydantic import Field

from relay_contract.billing.attempt_event import Identifier, Label, Microseconds
from relay_contract.document import Name, Part

ROUTE_COSTS_PATH: Final = "/v1/route-costs"
MAX_ROUTES: Final = 500
"""Of one question."""
MAX_DAYS: Final = 8
"""A question goes back no further."""

ComparedSide = Literal["stable", "canary"]


class RouteAsked(Part):
    """A route, and since when; sums begin at the quarter of an hour that holds the moment."""

    tenant_uid: Identifier
    route: Name
    since: Microseconds


class RouteCostsQuestion(Part):
    """Asks for routes in all, or for each quarter of an hour."""

    routes: Annotated[tuple[RouteAsked, ...], Field(max_length=MAX_ROUTES)]
    by_quarter: bool = False


class RouteCost(Part):
    """What attempts of one side at one provider have cost, since the beginning of `quarter` or of the question (0).

    calls are those that got their answer from it. cost_pico is that of all attempts whose use and price are known; unpriced are those
    without a price, unknown those that nobody can tell the use of, which may have cost up to held_pico in all, with those that have no end yet.
    """

    tenant_uid: Identifier
    route: Label
    side: ComparedSide
    provider: Label
    quarter: Microseconds = 0
    attempts: int
    calls: int
    cost_pico: int
    unpriced: int
    unknown: int
    held_pico: int


class RouteCosts(Part):
    """An answer; until is when the ledger looked, microseconds since 1970."""

    until: Microseconds
    costs: tuple[RouteCost, ...] = ()
