"""What tenants have spent in the month that is now, and what of it has no price."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, func, select

from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import Period, month_at, month_period
from relay_ledger.periods.zones import UnknownZone, zone
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import SUMS

_MOST_MODELS: Final = 20
"""Told of one subject."""


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
        """Returns the models that attempts of this month of UTC have no price for, by account and subject."""
        month = _month("UTC", now)
        with reading(self._engine) as connection:
            return {
                "cost": _models(connection, SUMS.c.provider, SUMS.c.cost_unpriced, month),
                "charge": _models(connection, SUMS.c.tenant_uid, SUMS.c.charge_unpriced, month),
            }


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


def _models(
    connection: Connection, subject: ColumnElement[str], missing: ColumnElement[int], month: Period
) -> dict[str, list[str]]:
    rows = connection.execute(
        select(subject, SUMS.c.model)
        .where(SUMS.c.quarter >= month.start, SUMS.c.quarter < month.end)
        .group_by(subject, SUMS.c.model)
        .having(func.sum(missing) > 0)
        .order_by(subject, SUMS.c.model)
    )
    found: dict[str, list[str]] = {}
    for name, model in rows:
        models = found.setdefault(name, [])
        if len(models) < _MOST_MODELS:
            models.append(model)
    return found
