"""Connections to SQLite and PostgreSQL, made so that what is committed is on disk and no two bookings of a tenant meet."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

BUSY_SECONDS: Final = 30
"""A statement, or a wait for a lock, of this length has failed."""
_POSTGRESQL_OPTIONS: Final = (
    f"-c statement_timeout={BUSY_SECONDS}s -c lock_timeout={BUSY_SECONDS}s"
    f" -c idle_in_transaction_session_timeout={2 * BUSY_SECONDS}s -c timezone=UTC"
)
_SQLITE_TURN: Final = threading.Lock()
_WRITE: Final = "write sqlite:////path/to/ledger.db or postgresql://user:password@host/name"
_ENCODE: Final = "percent-encode the reserved characters of a password (@ is %40, / is %2F)"
Insert = sqlite.Insert | postgresql.Insert


class DatabaseUnusable(Exception):
    """A database that cannot be opened; the message says which, why and what to do, and has no password."""


class DatabaseMisconfigured(DatabaseUnusable):
    """An address that is none of a database of the ledger."""


def open_database(address: str, *, connections: int = 4) -> Engine:
    """Returns an engine for `sqlite:////path` or `postgresql://user:password@host/name`; raises DatabaseMisconfigured."""
    url = _url(address)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, pool_size=connections, connect_args={"timeout": BUSY_SECONDS})
        _prepare_sqlite(engine)
        return engine
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={"options": _POSTGRESQL_OPTIONS, "connect_timeout": 5},
    )


def _url(address: str) -> URL:
    # no part of what cannot be read is repeated: its password may stand anywhere
    try:
        url = make_url(address)
    except ArgumentError:
        raise DatabaseMisconfigured(f"it is not the address of a database: {_WRITE}") from None
    except ValueError:
        raise DatabaseMisconfigured(f"its port is not a number: {_WRITE}; {_ENCODE}") from None
    match url.drivername:
        case "sqlite" if url.database and url.database != ":memory:":
            if url.query or "\0" in url.database:
                raise DatabaseMisconfigured(
                    "options and zero bytes are not taken: write sqlite:////path/to/ledger.db alone"
                )
            return url
        case "postgresql" | "postgresql+psycopg":
            # of a password with another @, all beyond the first is host and database
            if address.count("@") > 1:
                raise DatabaseMisconfigured(f"it has more than one @: {_WRITE}; {_ENCODE}")
            return url.set(drivername="postgresql+psycopg")
    raise DatabaseMisconfigured(
        f"{url.drivername} is not a database that the ledger uses: {_WRITE}"
    )


def _prepare_sqlite(engine: Engine) -> None:
    def prepare(connection: Any, _: object) -> None:
        # transactions are begun below, not by the driver
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        # a commit is on disk when it returns
        connection.execute("PRAGMA synchronous = FULL")

    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def insert_into(connection: Connection, table: Table) -> Insert:
    """Returns an INSERT that knows ON CONFLICT; both databases spell it the same."""
    return sqlite.insert(table) if is_sqlite(connection) else postgresql.insert(table)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Opens a transaction that sees one state and locks nobody out."""
    with engine.connect() as connection:
        isolation = {} if is_sqlite(connection) else {"isolation_level": "REPEATABLE READ"}
        connection = connection.execution_options(reads=True, **isolation)
        with connection.begin():
            yield connection


@contextmanager
def writing(
    engine: Engine, *tenant_uids: str, while_still: str | None = None
) -> Iterator[Connection]:
    """Opens a transaction in which nobody else books for these tenants. On SQLite nobody else writes at all.

    while_still is a name that nobody locks meanwhile, and that other such transactions may have too.
    Each takes a place among the locks of the server, which has some thousands in all: give it some hundred at most.
    """
    if engine.dialect.name == "sqlite":
        # its own waiting is sleeping and trying again; four threads that do that book a quarter as much
        with _SQLITE_TURN, engine.begin() as connection:
            yield connection
        return
    with engine.begin() as connection:
        _lock(connection, {f"tenant/{uid}" for uid in tenant_uids})
        if while_still is not None:
            connection.execute(
                text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _key(while_still)}
            )
        yield connection


def lock(connection: Connection, name: str) -> None:
    """Waits on PostgreSQL until this transaction alone has the name, up to its end."""
    _lock(connection, (name,))


def _lock(connection: Connection, names: Iterable[str]) -> None:
    # two transactions that want the same ones take them in the same order
    keys = sorted(map(_key, names))
    connection.execute(
        text("SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"),
        {"keys": keys},
    )


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
