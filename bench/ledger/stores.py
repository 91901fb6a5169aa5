"""The databases of the bench, each with tables and prices, and what is the most that they can take: records appended, and no more."""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, text
from tests.ledger.postgresql_server import PostgresqlServer

from relay_ledger.booking.price_book import Assignment
from relay_ledger.store.databases import is_sqlite, open_database
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.schema import upgrade

Kind = Literal["sqlite", "postgresql"]
PRICES = """
name: bench
currency: USD
entries:
- models: [gpt-4.1]
  prices: {input: '2', cacheRead: '0.5', output: '8'}
"""
_APPENDED = "CREATE TABLE appended (event_id TEXT NOT NULL, line TEXT NOT NULL)"


@contextmanager
def database(kind: Kind, tenants: Sequence[str]) -> Iterator[str]:
    """Makes a fresh database of a ledger that bills these tenants; yields its address."""
    with tempfile.TemporaryDirectory(prefix="bench-ledger.") as directory:
        server = PostgresqlServer() if kind == "postgresql" else None
        try:
            if server is None:
                address = f"sqlite:///{Path(directory)}/ledger.db"
            else:
                server.start()
                address = server.create("bench")
            _prepare(address, tenants)
            yield address
        finally:
            if server is not None:
                server.remove()


def _prepare(address: str, tenants: Sequence[str]) -> None:
    engine = open_database(address)
    upgrade(engine)
    store = PriceBookStore(engine)
    store.load(PRICES, now=1)
    store.assign(Assignment("cost", "openai", 0, "bench"), now=1)
    for tenant in tenants:
        store.assign(Assignment("charge", tenant, 0, "bench"), now=1)
    with engine.begin() as connection:
        connection.execute(text(_APPENDED))
    engine.dispose()


def appended_per_second(address: str, batches: Sequence[Sequence[bytes]]) -> float:
    """Appends the batches of each sender to a table without a key, a transaction each; returns lines a second.

    It is the reference: nothing is parsed, known, priced or summed, and every batch is on disk before the next.
    """
    engine = open_database(address, connections=len(batches))
    lines = 0

    def append(own: Sequence[bytes]) -> None:
        for body in own:
            with engine.begin() as connection:
                _append(connection, body.split(b"\n"))

    threads = [threading.Thread(target=append, args=(own,)) for own in batches]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    lines = sum(body.count(b"\n") + 1 for own in batches for body in own)
    engine.dispose()
    return lines / seconds


def _append(connection: Connection, lines: Sequence[bytes]) -> None:
    rows = [(f"{number:032x}", line.decode()) for number, line in enumerate(lines)]
    if is_sqlite(connection):
        connection.exec_driver_sql("INSERT INTO appended VALUES (?, ?)", rows)
        return
    # SQLAlchemy's type is that of any driver; this one is psycopg's by the address
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    with driver.cursor() as cursor, cursor.copy("COPY appended FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
