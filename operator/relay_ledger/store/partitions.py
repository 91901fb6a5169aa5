"""Months of the tables that grow: made before the first row of a month, gone when they are old enough. PostgreSQL drops them as a whole.

SQLite has no parts of a table: its rows go some at a time, so that nobody waits for longer than that takes with what it books or leases.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, select, text, tuple_

from relay_ledger.store.databases import is_sqlite, lock, reading, writing
from relay_ledger.store.tables import EVENTS, PARTITIONED, POSTINGS, TOOL_CALLS

SECOND: Final = 1_000_000
_AT_ONCE: Final = 1000
"""Attempts or tool calls that go in one transaction."""
Month = tuple[int, int]
"""Year and month of UTC."""


def month_of(microseconds: int) -> Month:
    """Returns the month of a time since 1970."""
    moment = datetime.fromtimestamp(microseconds // SECOND, UTC)
    return moment.year, moment.month


def first_of(month: Month) -> int:
    """Returns when a month begins, microseconds since 1970; month may be the 13th of its year."""
    year, number = month
    moment = datetime(year + (number > 12), 1 if number > 12 else number, 1, tzinfo=UTC)
    return int(moment.timestamp()) * SECOND


def _next(month: Month) -> Month:
    return month[0], month[1] + 1


class Partitions:
    """Knows which months there are, so that a booking need not ask."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made: set[Month] = set()
        self._dropped_before: Month | None = None

    def ensure(self, times: Iterable[int]) -> None:
        """Makes the months of these times, each in a transaction of its own, before rows come."""
        missing = {month_of(time) for time in times} - self._made
        if not missing:
            return
        with self._engine.begin() as connection:
            if not is_sqlite(connection):
                lock(connection, "partitions")
                for statement in _creations(sorted(missing)):
                    connection.execute(text(statement))
        self._made |= missing

    def drop_before(self, cutoff: int) -> list[str]:
        """Drops the months that end by then; returns their names. What they summed up to stays."""
        self._made.clear()
        if self._engine.dialect.name == "sqlite":
            return self._delete_before(month_of(cutoff))
        with self._engine.begin() as connection:
            lock(connection, "partitions")
            gone = [name for name in _names(connection) if _end(name) <= cutoff]
            for name in gone:
                connection.execute(text(f"DROP TABLE {name}"))
            return gone

    def _delete_before(self, month: Month) -> list[str]:
        if month == self._dropped_before:
            # looking for rows that are old enough is looking at every one
            return []
        gone: set[str] = set()
        for table in (EVENTS, TOOL_CALLS):
            for keys in _older(self._engine, table, first_of(month)):
                with writing(self._engine) as connection:
                    gone |= {
                        one.name
                        for one in (POSTINGS, table)
                        if connection.execute(delete(one).where(_key(one).in_(keys))).rowcount
                    }
        self._dropped_before = month
        return sorted(gone)


def _creations(months: Iterable[Month]) -> Iterator[str]:
    for month in months:
        for table in PARTITIONED:
            yield (
                f"CREATE TABLE IF NOT EXISTS {table}_{month[0]}_{month[1]:02d} PARTITION OF {table}"
                f" FOR VALUES FROM ({first_of(month)}) TO ({first_of(_next(month))})"
            )


def _names(connection: Connection) -> list[str]:
    """Returns the names of all partitions, which are made of a table's name and a month."""
    rows = connection.execute(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = ANY (CAST(:tables AS regclass[]))"
        ),
        {"tables": list(PARTITIONED)},
    )
    return sorted(str(name) for (name,) in rows)


def _end(name: str) -> int:
    _, year, month = name.rsplit("_", 2)
    return first_of(_next((int(year), int(month))))


def _key(table: Table) -> Any:
    """Returns what an attempt or tool call is known by in each of these tables."""
    return tuple_(table.c.tenant_uid, table.c.event_id)


def _older(engine: Engine, table: Table, cutoff: int) -> Iterator[list[tuple[str, str]]]:
    """Yields the keys of rows of before, some at a time, each once and in their order."""
    after = ("", "")
    is_older = table.c[PARTITIONED[table.name]] < cutoff
    while True:
        with reading(engine) as connection:
            rows = connection.execute(
                select(table.c.tenant_uid, table.c.event_id)
                .where(is_older, _key(table) > after)
                .distinct()
                .order_by(table.c.tenant_uid, table.c.event_id)
                .limit(_AT_ONCE)
            ).all()
        if not rows:
            return
        keys = [(row.tenant_uid, row.event_id) for row in rows]
        after = keys[-1]
        yield keys
