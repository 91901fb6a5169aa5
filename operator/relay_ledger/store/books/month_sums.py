"""What tenants have spent in the month that is now, and what of it has no price."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, case, func, select

from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import Period, month_at, month_period
from relay_ledger.periods.zones import UnknownZone, zone
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import SUMS
from relay_ledger.store.usage_reading import DAY_MICROSECONDS

_MOST_NAMES: Final = 20
"""Told of one subject."""
_TOLD_FOR: Final = 10 * DAY_MICROSECONDS
_IS_TOOL: Final = SUMS.c.side == TOOL_SIDE


class MonthSums:
    """Sums of the current month; of a tenant that of its zone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def spent(self, zones: Mapping[str, str], *, now: int) -> dict[str, dict[str, str]]:
        """Returns by tenant the month and what it owes for it so far, in USD; zones are those of the tenants by UID."""
        by_month: dict[Period, set[str]] = {}
        for uid, name in zones.items():
            by_month.setdefault(_month(name, now), set()).add(uid)
        found: dict[str, dict[str, str]] = {}
        with reading(self._engine) as connection:
            for month, uids in by_month.items():
                charged = _charged(connection, month)
                for uid in uids:
                    found[uid] = {"month": month.name, "spent": usd_text(charged.get(uid, 0))}
        return found

    def unpriced(self, *, now: int) -> dict[str, dict[str, list[str]]]:
        """Returns the models and tools that calls of this month of UTC, and of the last ten days, have no price for, by account and subject: what
        is missing at the end of a month is told until its statements are final, and longer.

        Among those of tenants tools stand as SERVER/TOOL; what they cost is an account of its own, by server.
        """
        told = SUMS.c.quarter.between(*told_time(now))
        server_and_tool = case((_IS_TOOL, SUMS.c.provider + "/" + SUMS.c.model), else_=SUMS.c.model)
        cost, charge = SUMS.c.cost_unpriced, SUMS.c.charge_unpriced
        with reading(self._engine) as connection:
            return {
                "cost": _named(connection, told, SUMS.c.provider, SUMS.c.model, cost, ~_IS_TOOL),
                "tool_cost": _named(
                    connection, told, SUMS.c.provider, SUMS.c.model, cost, _IS_TOOL
                ),
                "charge": _named(connection, told, SUMS.c.tenant_uid, server_and_tool, charge),
            }


def told_time(now: int) -> tuple[int, int]:
    """Returns the time of which it is told what has no price: this month of UTC, and the last ten days."""
    month = _month("UTC", now)
    # with an end as well: SQLite goes by the index of time for a span alone
    return min(month.start, now - _TOLD_FOR), max(month.end, now + DAY_MICROSECONDS)


def _month(name: str, now: int) -> Period:
    try:
        where = zone(name)
    except UnknownZone:
        # its Tenant says so; until it is corrected its months are those of UTC
        where = zone("UTC")
    return month_period(month_at(now, where), where)


def _charged(connection: Connection, month: Period) -> dict[str, int]:
    rows: Any = connection.execute(
        select(SUMS.c.tenant_uid, func.sum(SUMS.c.charge_pico))
        .where(SUMS.c.quarter >= month.start, SUMS.c.quarter < month.end)
        .group_by(SUMS.c.tenant_uid)
    )
    return {uid: int(pico) for uid, pico in rows}


def _named(
    connection: Connection,
    told: ColumnElement[bool],
    subject: ColumnElement[str],
    used: ColumnElement[str],
    missing: ColumnElement[int],
    *where: ColumnElement[bool],
) -> dict[str, list[str]]:
    """Returns by subject what was used of it in a time without a price."""
    columns = (subject.label("subject"), used.label("used"))
    rows = connection.execute(
        select(*columns)
        .where(told, missing != 0, *where)
        .group_by(*columns)
        .having(func.sum(missing) > 0)
        .order_by(*columns)
    )
    found: dict[str, list[str]] = {}
    for name, one in rows:
        names = found.setdefault(name, [])
        if len(names) < _MOST_NAMES:
            names.append(one)
    return found
