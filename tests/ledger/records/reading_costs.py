"""How a database goes about statements, and what they cost it: rows that PostgreSQL reads, and steps of the programs that SQLite makes of them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from relay_ledger.store.databases import is_sqlite
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.tables import EVENTS, TALLIES

STEPS_OF_A_ROW = 25
"""More than SQLite takes to read a row, compare it, sort it into its place and give it back."""


@dataclass
class Asked:
    """Statements with their values, in the order in which they were asked."""

    statements: list[tuple[str, Any]] = field(default_factory=list)

    def rows_read(self, engine: Engine) -> int:
        """Asks them again; returns how many rows they read, on SQLite from their steps."""
        with engine.connect() as connection, connection.begin():
            return sum(_rows_read(connection, *one) for one in self.statements)

    def plan(self, engine: Engine, table: str) -> str:
        """Returns the lines of the plans that say how a table is looked at."""
        with engine.connect() as connection, connection.begin():
            explain = "EXPLAIN QUERY PLAN" if is_sqlite(connection) else "EXPLAIN"
            rows = [
                str(row[-1])
                for statement, values in self.statements
                for row in connection.exec_driver_sql(f"{explain} {statement}", values)
            ]
        named = [number for number, row in enumerate(rows) if table in row]
        # PostgreSQL tells the condition in the line after
        return "\n".join("\n".join(rows[number : number + 2]) for number in named)


@contextmanager
def asked(engine: Engine) -> Iterator[Asked]:
    """Notes questions to a database."""
    found = Asked()

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            found.statements.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def fill(engine: Engine, rows: Sequence[dict[str, Any]]) -> None:
    """Adds records of attempts that ended, by their tenant_uid, event_id, dispatched_at and line, and has the database look at its tables.

    They are not booked, which takes a minute for as many as make a difference.
    """
    Partitions(engine).ensure({row["dispatched_at"] for row in rows})
    rest = {"phase": "closed", "received_at": 0, "digest": ""}
    counts = dict.fromkeys(("day", "opened", "closed", "swept", "unopened"), 0)
    tenants = sorted({row["tenant_uid"] for row in rows})
    with engine.begin() as connection:
        insert_rows(connection, EVENTS, [row | rest for row in rows])
        insert_rows(connection, TALLIES, [{"tenant_uid": uid, **counts} for uid in tenants])
        if not is_sqlite(connection):
            # as it does by itself after some time
            connection.execute(text("ANALYZE"))


def _rows_read(connection: Connection, statement: str, values: Any) -> int:
    if is_sqlite(connection):
        driver: Any = connection.connection.driver_connection
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        driver.set_progress_handler(step, STEPS_OF_A_ROW)
        try:
            connection.exec_driver_sql(statement, values).all()
        finally:
            driver.set_progress_handler(None, 0)
        return steps
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
    told = explained.scalar_one()
    [plan] = json.loads(told) if isinstance(told, str) else told
    return _of_leaves(plan["Plan"])


def _of_leaves(node: dict[str, Any]) -> int:
    below = node.get("Plans", [])
    if below:
        return sum(map(_of_leaves, below))
    removed = (node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck"))
    return int((node["Actual Rows"] + sum(removed)) * node["Actual Loops"])
