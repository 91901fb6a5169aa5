"""Price lists in the database: every version that was ever in force stays, and the last one of a name counts."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select, text

from relay_ledger.booking.price_book import Assigned, Assignment, Edition, PriceBook
from relay_ledger.prices.price_file import read_price_list
from relay_ledger.prices.price_list import InvalidPrices, PriceList
from relay_ledger.store.books.price_sources import (
    digest_of,
    digest_of_sources,
    keep_sources,
    with_sources,
)
from relay_ledger.store.databases import is_sqlite, lock, reading, writing
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.tables import ASSIGNMENTS, BOOKS, PRICE_LISTS

_LOCK: Final = "prices"
_PATIENCE_SECONDS: Final = 5
_Result = TypeVar("_Result")


class OutdatedPrices(Exception):
    """Others came into force after these prices were read: nothing is booked by them any more."""


class PriceBookStore:
    """Loads lists and says whose they are. Reads again only what has changed; threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = threading.Lock()
        self._book = PriceBook({}, ())
        self._lists: dict[str, PriceList] = {}

    def load(self, content: str, *, now: int) -> PriceList:
        """Puts a list into force, unless it is the one in force; raises InvalidPrices."""
        prices = read_price_list(content)
        with self._engine.begin() as connection:
            lock_prices(connection)
            self.load_in(connection, prices, content, now=now)
        return prices

    def load_in(
        self, connection: Connection, prices: PriceList, content: str, *, now: int
    ) -> int | None:
        """Puts a list into force in a transaction that has the lock; returns its number, None if it is in force already.

        Another source of the same prices, or another day on which it was checked, is kept, and is no other version.
        """
        keep_sources(connection, prices, content, now=now)
        latest = _latest(connection, prices.name)
        if latest is not None and latest.version == prices.version:
            return None
        row = {
            "name": prices.name,
            "number": 1 if latest is None else latest.number + 1,
            "version": prices.version,
            "loaded_at": now,
            "content": content,
        }
        connection.execute(insert(PRICE_LISTS), [row])
        return int(row["number"])

    def current(self, connection: Connection, name: str) -> PriceList | None:
        """Returns the version of a list that is in force, None for a name that is not known."""
        latest = _latest(connection, name)
        return None if latest is None else read_price_list(latest.content)

    def is_written(self, connection: Connection, name: str, content: str) -> bool:
        """Returns whether the version of a list that is in force was written like this, to the last character."""
        latest = _latest(connection, name)
        if latest is None:
            return False
        digest = digest_of_sources(connection, latest.version)
        return latest.content == content if digest is None else digest == digest_of(content)

    def assigned(self, connection: Connection, account: Assigned) -> set[str]:
        """Returns of whom it was ever said which list they have."""
        where = ASSIGNMENTS.c.account == account
        return set(
            connection.execute(select(ASSIGNMENTS.c.subject).where(where).distinct()).scalars()
        )

    def assign(self, assignment: Assignment, *, now: int) -> None:
        """Says whose a list is from a time on; the same again changes nothing. Raises InvalidPrices for an unknown list."""
        with self._engine.begin() as connection:
            lock_prices(connection)
            if assignment.list_name not in {"", *versions_in_force(connection)}:
                raise InvalidPrices(no_such_list(assignment.list_name))
            self.assign_in(connection, [assignment], now=now)

    def assign_in(
        self, connection: Connection, assignments: Sequence[Assignment], *, now: int
    ) -> None:
        """Says so of lists that there are, of each subject once, in a transaction that has the lock."""
        times = {one.starts_at for one in assignments}
        latest = {
            (row.account, row.subject, row.starts_at): row
            for row in connection.execute(
                select(ASSIGNMENTS)
                .where(ASSIGNMENTS.c.starts_at.in_(times))
                .order_by(ASSIGNMENTS.c.number)
            )
        }
        rows = []
        for one in assignments:
            known = latest.get((one.account, one.subject, one.starts_at))
            if known is None or known.list_name != one.list_name:
                rows.append(
                    {
                        "account": one.account,
                        "subject": one.subject,
                        "starts_at": one.starts_at,
                        "number": 1 if known is None else known.number + 1,
                        "list_name": one.list_name,
                        "loaded_at": now,
                    }
                )
        insert_rows(connection, ASSIGNMENTS, rows)

    def book(self) -> PriceBook:
        """Returns all that is in force now."""
        with self._reading, reading(self._engine) as connection:
            edition = _edition(connection)
            if edition != self._book.edition:
                self._book = PriceBook(
                    self._read_lists(connection),
                    _assignments(connection),
                    unbilled=_unbilled(connection),
                    edition=edition,
                )
            return self._book

    def lists_with_sources(self) -> dict[str, PriceList]:
        """Returns the lists in force by name, with what was said last of where their prices are from."""
        lists = self.book().lists
        with reading(self._engine) as connection:
            return {name: with_sources(connection, prices) for name, prices in lists.items()}

    def priced(self, work: Callable[[PriceBook], _Result]) -> _Result:
        """Does work by the prices in force: again, where it finds out that others came into force since they were read."""
        prices = self._book if self._book.edition else self.book()
        while True:
            try:
                return work(prices)
            except OutdatedPrices:
                prices = self.book()

    def _read_lists(self, connection: Connection) -> dict[str, PriceList]:
        latest = (
            select(PRICE_LISTS.c.name, func.max(PRICE_LISTS.c.number).label("number"))
            .group_by(PRICE_LISTS.c.name)
            .subquery()
        )
        rows = connection.execute(
            select(PRICE_LISTS.c.name, PRICE_LISTS.c.version, PRICE_LISTS.c.content).join(
                latest,
                (latest.c.name == PRICE_LISTS.c.name) & (latest.c.number == PRICE_LISTS.c.number),
            )
        )
        for name, version, content in rows:
            known = self._lists.get(name)
            if known is None or known.version != version:
                self._lists[name] = read_price_list(content)
        return self._lists


def lock_prices(connection: Connection) -> None:
    """Waits until nobody else changes prices or books by them, up to the end of this transaction."""
    if not is_sqlite(connection):
        # all bookings wait behind this wait: one that hangs is not to stop the others for long
        connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE_SECONDS}s'"))
        lock(connection, _LOCK)


@contextmanager
def booking_by(engine: Engine, tenant_uid: str, prices: PriceBook) -> Iterator[Connection]:
    """Opens a transaction as writing does, in which these prices are in force and stay so; raises OutdatedPrices if they are not."""
    with writing(engine, tenant_uid, while_still=_LOCK) as connection:
        if prices.edition and prices.edition != _edition(connection):
            raise OutdatedPrices
        yield connection


def versions_in_force(connection: Connection) -> dict[str, str]:
    """Returns the version of every list that is in force."""
    rows = connection.execute(
        select(PRICE_LISTS.c.name, PRICE_LISTS.c.version).order_by(PRICE_LISTS.c.number)
    )
    return {row.name: row.version for row in rows}


def no_such_list(name: str) -> str:
    """Returns what is told of a list that is named and not there."""
    return f"there is no price list {name}: load it first"


def _edition(connection: Connection) -> Edition:
    """Returns how many rows there are of what a book is read from: none of them ever goes, but for books, which have numbers."""
    counts = (
        select(func.count()).select_from(table).scalar_subquery()
        for table in (PRICE_LISTS, ASSIGNMENTS)
    )
    newest = select(func.coalesce(func.max(BOOKS.c.number), 0)).scalar_subquery()
    return tuple(map(int, connection.execute(select(*counts, newest)).one()))


def _unbilled(connection: Connection) -> frozenset[str] | None:
    """Returns the tenants of whom the operator's newest book says that they have no list; None where there never was a book."""
    content = connection.execute(
        select(BOOKS.c.content).order_by(BOOKS.c.number.desc()).limit(1)
    ).scalar()
    if content is None:
        return None
    tenants = json.loads(content)["tenants"]
    return frozenset(uid for uid, tenant in tenants.items() if tenant.get("list") is None)


def _latest(connection: Connection, name: str) -> Any:
    """Returns the newest row of a list, None if there is none."""
    return connection.execute(
        select(PRICE_LISTS)
        .where(PRICE_LISTS.c.name == name)
        .order_by(PRICE_LISTS.c.number.desc())
        .limit(1)
    ).one_or_none()


def _assignments(connection: Connection) -> list[Assignment]:
    rows = connection.execute(select(ASSIGNMENTS).order_by(ASSIGNMENTS.c.number))
    last: dict[tuple[Assigned, str, int], Assignment] = {}
    for row in rows:
        one = Assignment(row.account, row.subject, row.starts_at, row.list_name)
        last[one.account, one.subject, one.starts_at] = one
    return list(last.values())
