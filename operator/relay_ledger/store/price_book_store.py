"""Price lists in the database: every version that was ever in force stays, and the last one of a name counts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.booking.price_book import Assigned, Assignment, PriceBook
from relay_ledger.prices.price_file import read_price_list
from relay_ledger.prices.price_list import InvalidPrices, PriceList
from relay_ledger.store.databases import is_sqlite, lock, reading
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.tables import ASSIGNMENTS, PRICE_LISTS


class PriceBookStore:
    """Loads lists and says whose they are. Reads again only what has changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._book = PriceBook({}, ())
        self._state: tuple[int, int] = (0, 0)
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
        """Puts a list into force in a transaction that has the lock; returns its number, None if it is in force already."""
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
        return latest is not None and latest.content == content

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
        with reading(self._engine) as connection:
            state = (
                connection.execute(select(func.count()).select_from(PRICE_LISTS)).scalar_one(),
                connection.execute(select(func.count()).select_from(ASSIGNMENTS)).scalar_one(),
            )
            if state != self._state:
                self._book = PriceBook(self._read_lists(connection), _assignments(connection))
                self._state = state
        return self._book

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
    """Waits until nobody else changes prices, up to the end of this transaction."""
    if not is_sqlite(connection):
        lock(connection, "prices")


def versions_in_force(connection: Connection) -> dict[str, str]:
    """Returns the version of every list that is in force."""
    rows = connection.execute(
        select(PRICE_LISTS.c.name, PRICE_LISTS.c.version).order_by(PRICE_LISTS.c.number)
    )
    return {row.name: row.version for row in rows}


def no_such_list(name: str) -> str:
    """Returns what is told of a list that is named and not there."""
    return f"there is no price list {name}: load it first"


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
