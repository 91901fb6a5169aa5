"""Reads sums: of tenants for themselves, and of all for the platform. Nothing here looks at single attempts."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    column,
    func,
    select,
    values,
)

from relay_ledger.booking.answer_times import ANSWER_FIGURES
from relay_ledger.booking.posting import FIGURES
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import ANSWERS, SUMS

DAY_MICROSECONDS: Final = 86_400_000_000
Row = tuple[tuple[str, ...], dict[str, int]]


class UsageReading:
    """Times are microseconds since 1970, at quarters of an hour, from start up to but without end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sums(
        self,
        *,
        start: int,
        end: int,
        by: Sequence[str],
        tenant_uid: str | None = None,
        sides: Sequence[str] = (),
    ) -> list[Row]:
        """Returns figures by the names of these dimensions, in their order. Without tenant_uid they are of all tenants."""
        with reading(self._engine) as connection:
            return sums_in(
                connection, start=start, end=end, by=by, tenant_uid=tenant_uid, sides=sides
            )

    def days(self, *, start: int, end: int, by: Sequence[str]) -> list[tuple[int, Row]]:
        """Returns figures of all tenants by days of UTC, each with the moment at which its day begins."""
        day = (SUMS.c.quarter - SUMS.c.quarter % DAY_MICROSECONDS).label("day")
        columns = [day, *(SUMS.c[name] for name in by)]
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(*columns, *_totals(SUMS, FIGURES))
                .where(SUMS.c.quarter >= start, SUMS.c.quarter < end)
                .group_by(*columns)
                .order_by(*columns)
            )
            width = len(columns)
            return [
                (int(row[0]), (tuple(map(str, row[1:width])), _named(FIGURES, row[width:])))
                for row in rows
                if any(row[width:])
            ]

    def parts(
        self, tenant_uid: str, parts: Sequence[tuple[int, int]], *, sides: Sequence[str]
    ) -> tuple[dict[int, dict[str, int]], dict[int, dict[int, dict[str, int]]]]:
        """Returns a tenant's figures, and its answers by the step of their time, by the number of each part."""
        with reading(self._engine) as connection:
            asked = _asked(parts)
            number: ColumnElement[int] = asked.c.number
            figures = connection.execute(
                select(number, *_totals(SUMS, FIGURES))
                .join_from(asked, SUMS, _within(SUMS, asked, tenant_uid))
                .where(SUMS.c.side.in_(sides))
                .group_by(number)
            )
            answers = connection.execute(
                select(number, ANSWERS.c.step, *_totals(ANSWERS, ANSWER_FIGURES))
                .join_from(asked, ANSWERS, _within(ANSWERS, asked, tenant_uid))
                .group_by(number, ANSWERS.c.step)
            )
            by_part = {int(row[0]): _named(FIGURES, row[1:]) for row in figures}
            by_step: dict[int, dict[int, dict[str, int]]] = {}
            for row in answers:
                by_step.setdefault(int(row[0]), {})[int(row[1])] = _named(ANSWER_FIGURES, row[2:])
        return by_part, by_step


def sums_in(
    connection: Connection,
    *,
    start: int,
    end: int,
    by: Sequence[str],
    tenant_uid: str | None = None,
    sides: Sequence[str] = (),
) -> list[Row]:
    """Returns figures by the names of these dimensions, as this transaction sees them.

    Where all was taken back there is none: an attempt may be held as one of another model than the one that answers.
    """
    columns = [SUMS.c[name] for name in by]
    where = [SUMS.c.quarter >= start, SUMS.c.quarter < end]
    if tenant_uid is not None:
        where.append(SUMS.c.tenant_uid == tenant_uid)
    if sides:
        where.append(SUMS.c.side.in_(sides))
    rows = connection.execute(
        select(*columns, *_totals(SUMS, FIGURES))
        .where(*where)
        .group_by(*columns)
        .order_by(*columns)
    )
    width = len(columns)
    return [
        (tuple(map(str, row[:width])), _named(FIGURES, row[width:]))
        for row in rows
        if any(row[width:])
    ]


def _asked(parts: Sequence[tuple[int, int]]) -> CTE:
    columns = [column(name, BigInteger()) for name in ("number", "first", "last")]
    rows = [(number, start, end) for number, (start, end) in enumerate(parts)]
    return values(*columns, name="asked").data(rows).cte("asked")


def _within(table: FromClause, asked: CTE, tenant_uid: str) -> ColumnElement[bool]:
    return (
        (table.c.tenant_uid == tenant_uid)
        & (table.c.quarter >= asked.c.first)
        & (table.c.quarter < asked.c.last)
    )


def _totals(table: FromClause, names: Iterable[str]) -> list[ColumnElement[Any]]:
    return [func.coalesce(func.sum(table.c[name]), 0) for name in names]


def _named(names: Sequence[str], row: Iterable[Any]) -> dict[str, int]:
    return dict(zip(names, map(int, row), strict=True))
