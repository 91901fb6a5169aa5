"""What tenants have spent in the month that is now, and what of it has no price."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Select, func, select

from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import Period, month_at, month_period
from relay_ledger.periods.zones import UnknownZone, zone
from relay_ledger.store.databases import reading
from relay_ledger.store.every_tenant import tenants_in
from relay_ledger.store.tables import SUMS
from relay_ledger.store.usage_reading import DAY_MICROSECONDS

_MOST_NAMES: Final = 20
"""Told of one subject."""
_TOLD_FOR: Final = 10 * DAY_MICROSECONDS
_UNPRICED: Final = (SUMS.c.cost_unpriced, SUMS.c.charge_unpriced)


class MonthSums:
    """Sums of the current month; of a tenant that of its zone. The operator asks for them each minute."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def spent(self, zones: Mapping[str, str], *, now: int) -> dict[str, dict[str, str]]:
        """Returns by tenant the month and what it owes for it so far, in USD; zones are those of the tenants by UID."""
        months: dict[str, Period] = {}
        found: dict[str, dict[str, str]] = {}
        with reading(self._engine) as connection:
            for uid, name in zones.items():
                month = months.get(name) or months.setdefault(name, _month(name, now))
                charged = connection.execute(
                    select(func.sum(SUMS.c.charge_pico)).where(*_of(uid, month.start, month.end))
                ).scalar()
                found[uid] = {"month": month.name, "spent": usd_text(int(charged or 0))}
        return found

    def unpriced(self, *, now: int) -> dict[str, dict[str, list[str]]]:
        """Returns the models and tools that calls of this month of UTC, and of the last ten days, have no price for, by account and subject: what
        is missing at the end of a month is told until its statements are final, and longer.

        Among those of tenants tools stand as SERVER/TOOL; what they cost is an account of its own, by server.
        """
        start, end = told_time(now)
        missing = _Missing()
        with reading(self._engine) as connection:
            for uid in tenants_in(connection, SUMS):
                where = _of(uid, start, end)
                if any(connection.execute(select(*map(func.max, _UNPRICED)).where(*where)).one()):
                    missing.add(uid, connection.execute(_by_name(where)))
        return missing.named()


class _Missing:
    """Gathers what has no price, by account and subject."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, set[str]]] = {"cost": {}, "tool_cost": {}, "charge": {}}

    def add(self, uid: str, rows: Iterable[Any]) -> None:
        """Adds what a tenant used, of which so many attempts or calls cost and are charged nobody knows what."""
        for side, provider, model, cost, charge in rows:
            is_tool = side == TOOL_SIDE
            if cost > 0:
                self._note("tool_cost" if is_tool else "cost", provider, model)
            if charge > 0:
                self._note("charge", uid, f"{provider}/{model}" if is_tool else model)

    def named(self) -> dict[str, dict[str, list[str]]]:
        """Returns the first names of each subject."""
        return {
            account: {
                subject: sorted(found)[:_MOST_NAMES] for subject, found in sorted(subjects.items())
            }
            for account, subjects in self._found.items()
        }

    def _note(self, account: str, subject: str, name: str) -> None:
        self._found[account].setdefault(subject, set()).add(name)


def told_time(now: int) -> tuple[int, int]:
    """Returns the time of which it is told what has no price: this month of UTC, and the last ten days."""
    month = _month("UTC", now)
    return min(month.start, now - _TOLD_FOR), max(month.end, now + DAY_MICROSECONDS)


def _month(name: str, now: int) -> Period:
    try:
        where = zone(name)
    except UnknownZone:
        # its Tenant says so; until it is corrected its months are those of UTC
        where = zone("UTC")
    return month_period(month_at(now, where), where)


def _of(uid: str, start: int, end: int) -> tuple[ColumnElement[bool], ...]:
    """Returns what sums of a tenant and a time are, which lie together: by the index of time each would be looked for by itself."""
    return SUMS.c.tenant_uid == uid, SUMS.c.quarter >= start, SUMS.c.quarter < end


def _by_name(where: Iterable[ColumnElement[bool]]) -> Select[Any]:
    names = (SUMS.c.side, SUMS.c.provider, SUMS.c.model)
    return select(*names, *map(func.sum, _UNPRICED)).where(*where).group_by(*names)
