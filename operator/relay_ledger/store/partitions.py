"""Months of the tables that grow: made before the first row of a month, gone as a whole when they are old enough."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine, delete, text

from relay_ledger.store.databases import is_sqlite, lock
from relay_ledger.store.tables import METADATA, PARTITIONED

SECOND: Final = 1_000_000
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
        with self._engine.begin() as connection:
            if is_sqlite(connection):
                return _delete_months(connection, first_of(month_of(cutoff)))
            lock(connection, "partitions")
            gone = [name for name in _names(connection) if _end(name) <= cutoff]
            for name in gone:
                connection.execute(text(f"DROP TABLE {name}"))
            return gone


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


def _delete_months(connection: Connection, cutoff: int) -> list[str]:
    tables = [(METADATA.tables[name], at) for name, at in PARTITIONED.items()]
    return [
        table.name
        for table, at in tables
        if connection.execute(delete(table).where(table.c[at] < cutoff)).rowcount
    ]
