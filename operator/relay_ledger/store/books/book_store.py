"""The operator's book in the database: the newest versions stay, and what cannot be used of one leaves what was in force."""

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import Connection, Engine, delete, func, insert, select

from relay_contract.billing.price_book import book_digest
from relay_ledger.booking.price_book import Assigned, Assignment
from relay_ledger.periods.contracts import DEFAULT, TermsChange
from relay_ledger.prices.back_dating import back_dated
from relay_ledger.prices.price_file import price_list_of
from relay_ledger.prices.price_list import InvalidPrices, PriceList
from relay_ledger.store.books.corrections import called_lately, uncorrected
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.databases import reading
from relay_ledger.store.price_book_store import (
    PriceBookStore,
    lock_prices,
    no_such_list,
    versions_in_force,
)
from relay_ledger.store.tables import BACK_DATED, BOOKS

Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
_MOST_TOLD_MODELS: Final = 20
KEPT_BOOKS: Final = 50
"""The newest ones. A book names all tenants, and there is another one with each that comes or goes; who has which list since when stands elsewhere."""


class BookRefused(ValueError):
    """Something that is no book; the message says what is wrong."""


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Tenant(_Form):
    name: Name
    list: Name | None = None
    zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "UTC"
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] | None = None


class _Book(_Form):
    v: Annotated[int, Field(ge=1, le=1)]
    lists: list[dict[str, Any]] = []
    costs: dict[Name, Name] = {}
    tools: dict[Name, Name] = {}
    tenants: dict[Name, _Tenant] = {}


@dataclass(slots=True)
class Problems:
    """What of a book could not come into force: by list, and by tenant."""

    lists: dict[str, str] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)

    def of_missing_list(self, account: Assigned, subject: str, name: str) -> None:
        """Tells of a list that is named and not there, unless there is something else to tell."""
        told, of = (self.tenants, subject) if account == "charge" else (self.lists, name)
        told.setdefault(of, no_such_list(name))


@dataclass(frozen=True, slots=True)
class _Former:
    """The newest book, its digest, and what of it could not come into force."""

    book: _Book
    digest: str | None
    problems: Problems

    def had_problem(self, account: str, subject: str, name: str) -> bool:
        """Tells whether its word that a subject has the list of this name may have come to nothing."""
        if account == "charge":
            return subject in self.problems.tenants
        return name in self.problems.lists


class BookStore:
    """Puts books into force, one at a time."""

    def __init__(self, engine: Engine, prices: PriceBookStore) -> None:
        self._engine = engine
        self._prices = prices
        self._contracts = ContractStore(engine)

    def put(self, content: bytes, *, now: int) -> None:
        """Puts a book into force, unless it is the one in force; raises BookRefused. now is in microseconds since 1970."""
        digest = book_digest(content)
        former = self._latest()
        if digest == former.digest:
            return
        book = _read(content)
        problems = Problems()
        self._put_terms(book, former, problems, now=now)
        late = self._late_lists(book, now=now)
        with self._engine.begin() as connection:
            lock_prices(connection)
            for one in book.lists:
                self._put_list(connection, one, problems, late=late, now=now)
            self._assign(connection, book, former, problems, now=now)
            number = connection.execute(select(func.max(BOOKS.c.number))).scalar() or 0
            row = {
                "number": number + 1,
                "loaded_at": now,
                "digest": digest,
                "content": book.model_dump_json(exclude={"lists"}),
                "problems": json.dumps({"lists": problems.lists, "tenants": problems.tenants}),
            }
            connection.execute(insert(BOOKS), [row])
            connection.execute(delete(BOOKS).where(BOOKS.c.number <= number + 1 - KEPT_BOOKS))

    def told(self) -> dict[str, Any]:
        """Returns what is in force, and what keeps the newest book from it, as the operator is told."""
        with reading(self._engine) as connection:
            latest = connection.execute(
                select(BOOKS).order_by(BOOKS.c.number.desc()).limit(1)
            ).one_or_none()
            lists = _lists(connection)
        problems = Problems(**json.loads(latest.problems)) if latest is not None else Problems()
        for name, problem in problems.lists.items():
            lists.setdefault(name, {"version": ""})["problem"] = problem
        return {
            "book": latest.digest if latest is not None else None,
            "lists": lists,
            "tenants": problems.tenants,
        }

    def tenants(self) -> Mapping[str, str]:
        """Returns the tenants of the book in force by UID, each with the zone of its months."""
        return {uid: tenant.zone for uid, tenant in self._latest().book.tenants.items()}

    def _latest(self) -> _Former:
        with reading(self._engine) as connection:
            latest = connection.execute(
                select(BOOKS).order_by(BOOKS.c.number.desc()).limit(1)
            ).one_or_none()
        if latest is None:
            return _Former(_Book(v=1), None, Problems())
        book = _Book.model_validate_json(latest.content)
        return _Former(book, latest.digest, Problems(**json.loads(latest.problems)))

    def _late_lists(self, book: _Book, *, now: int) -> set[str]:
        """Returns the lists of tool servers that never had prices and of which calls are booked already."""
        if not book.tools:
            return set()
        # nobody books while a book is put, so this is asked before
        with reading(self._engine) as connection:
            priced = self._prices.assigned(connection, "tool_cost")
            new = {server: name for server, name in book.tools.items() if server not in priced}
            return {new[server] for server in called_lately(connection, new, now=now)}

    def _put_terms(self, book: _Book, former: _Former, problems: Problems, *, now: int) -> None:
        """Has a tenant's months and statements be those that the book says from now on; nothing else of its terms changes."""
        changed: dict[str, TermsChange] = {}
        for uid, tenant in book.tenants.items():
            before = former.book.tenants.get(uid)
            is_same = before is not None and _terms_of(before) == _terms_of(tenant)
            if not is_same or uid in former.problems.tenants:
                wanted = _terms_of(tenant)
                if before is not None and before.currency and not tenant.currency:
                    wanted = replace(wanted, currency=DEFAULT.currency)
                changed[uid] = wanted
        problems.tenants |= self._contracts.change_from_now(changed, now=now)

    def _put_list(
        self,
        connection: Connection,
        content: dict[str, Any],
        problems: Problems,
        *,
        late: Container[str],
        now: int,
    ) -> None:
        """Puts a list into force. late are the names of lists of what was used before they came."""
        written = json.dumps(content)
        if self._prices.is_written(connection, str(content.get("name")), written):
            # nobody books while a book is put: most lists of one are those of the last, and reading them would take seconds
            return
        try:
            prices = price_list_of(content)
        except InvalidPrices as error:
            problems.lists[str(content.get("name"))[:253]] = str(error)[:1000]
            return
        former = self._prices.current(connection, prices.name)
        if former is None and prices.name in late:
            # what is booked was free, as nothing said what it costs
            former = PriceList(prices.name, ())
        number = self._prices.load_in(connection, prices, written, now=now)
        changed = None if former is None or number is None else back_dated(former, prices, now=now)
        if changed is not None:
            row = {
                "name": prices.name,
                "number": number,
                "since": changed.since or 0,
                "models": "\n".join(changed.models),
            }
            connection.execute(insert(BACK_DATED), [row])

    def _assign(
        self, connection: Connection, book: _Book, former: _Former, problems: Problems, *, now: int
    ) -> None:
        """Says whose the lists are. The first of somebody holds for all time before, and another one from now on; a tenant that was not billed
        until now had none.

        A list that was not there when the former book named it may be there now.
        """
        accounts: tuple[tuple[Assigned, Mapping[str, str], Mapping[str, str]], ...] = (
            ("cost", book.costs, former.book.costs),
            ("tool_cost", book.tools, former.book.tools),
            ("charge", _lists_of(book), _lists_of(former.book)),
        )
        lists = {"", *versions_in_force(connection)}
        assignments: list[Assignment] = []
        for account, wanted, before in accounts:
            known = self._prices.assigned(connection, account)
            if account == "charge":
                unbilled = _unbilled(former.book) - _unbilled(book) - known
                assignments += (Assignment(account, uid, 0, "") for uid in sorted(unbilled))
                known |= unbilled
            for subject in sorted(wanted.keys() | before.keys()):
                name = wanted.get(subject, "")
                is_same = name == before.get(subject, "")
                if is_same and not former.had_problem(account, subject, name):
                    continue
                if name not in lists:
                    problems.of_missing_list(account, subject, name)
                    continue
                assignments.append(
                    Assignment(account, subject, now if subject in known else 0, name)
                )
        self._prices.assign_in(connection, assignments, now=now)


def _read(content: bytes) -> _Book:
    try:
        return _Book.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BookRefused(f"{place or 'the book'}: {first['msg']}"[:1000]) from None


def _terms_of(tenant: _Tenant) -> TermsChange:
    return TermsChange(zone=tenant.zone, currency=tenant.currency, tenant=tenant.name)


def _unbilled(book: _Book) -> set[str]:
    """Returns the tenants of which a book says that they have no list."""
    return {uid for uid, tenant in book.tenants.items() if tenant.list is None}


def _lists_of(book: _Book) -> dict[str, str]:
    return {uid: tenant.list for uid, tenant in book.tenants.items() if tenant.list is not None}


def _lists(connection: Connection) -> dict[str, dict[str, Any]]:
    """Returns the version in force of every list, and what of it is dated back and not corrected since."""
    found: dict[str, dict[str, Any]] = {
        name: {"version": version} for name, version in versions_in_force(connection).items()
    }
    for one in uncorrected(connection):
        told = found[one.name].setdefault("backDated", {"since": one.since, "models": []})
        told["since"] = min(told["since"], one.since)
        told["models"] = sorted({*told["models"], *one.models})[:_MOST_TOLD_MODELS]
    return found
