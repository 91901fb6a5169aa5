"""Reads what the two sides of routes have cost, from sums."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, case, func, literal, select

from relay_contract.billing.route_costs import RouteAsked, RouteCost
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import QUARTER_MICROSECONDS, SUMS

_SIDES: Final = ("stable", "canary")
Route = tuple[str, str]
"""UID of the tenant and name of the route."""


class RouteCostReading:
    """Sums are of quarters of an hour, so a route is read from the beginning of the one that holds its moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def costs(self, routes: Sequence[RouteAsked], *, by_quarter: bool) -> list[RouteCost]:
        """Returns what each of these routes has cost, by side and provider; nothing of those without an attempt."""
        starts: dict[int, set[Route]] = {}
        for one in routes:
            start = one.since - one.since % QUARTER_MICROSECONDS
            starts.setdefault(start, set()).add((one.tenant_uid, one.route))
        found: list[RouteCost] = []
        with reading(self._engine) as connection:
            for start, asked in sorted(starts.items()):
                found += _since(connection, start, asked, by_quarter=by_quarter)
        return found


def _since(
    connection: Connection, start: int, asked: Collection[Route], *, by_quarter: bool
) -> Iterator[RouteCost]:
    quarter: ColumnElement[int] = SUMS.c.quarter if by_quarter else literal(0)
    names = (SUMS.c.tenant_uid, SUMS.c.route, SUMS.c.side, SUMS.c.provider)
    # a route's name may be that of another tenant's too: what is not asked for is left out below
    rows: Any = connection.execute(
        select(
            *names,
            quarter.label("quarter"),
            func.sum(SUMS.c.attempts).label("attempts"),
            func.sum(SUMS.c.delivered).label("calls"),
            func.sum(SUMS.c.cost_pico).label("cost_pico"),
            func.sum(SUMS.c.cost_unpriced).label("unpriced"),
            func.sum(case((SUMS.c.usage_source == "unknown", SUMS.c.attempts), else_=0)).label(
                "unknown"
            ),
            func.sum(SUMS.c.held_pico).label("held_pico"),
        )
        .where(
            SUMS.c.tenant_uid.in_({uid for uid, _ in asked}),
            SUMS.c.route.in_({route for _, route in asked}),
            SUMS.c.side.in_(_SIDES),
            SUMS.c.quarter >= start,
        )
        .group_by(*names, *([SUMS.c.quarter] if by_quarter else []))
        .order_by(*names, *([SUMS.c.quarter] if by_quarter else []))
    )
    for row in rows:
        if (row.tenant_uid, row.route) not in asked:
            continue
        figures = {name: int(row._mapping[name]) for name in _FIGURES}
        yield RouteCost(
            tenant_uid=row.tenant_uid,
            route=row.route,
            side=row.side,
            provider=row.provider,
            **figures,
        )


_FIGURES: Final = (
    "quarter",
    "attempts",
    "calls",
    "cost_pico",
    "unpriced",
    "unknown",
    "held_pico",
)
