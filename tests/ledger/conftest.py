"""Fixtures of the ledger's suite: a fresh database of either kind, with tables and prices."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest
from sqlalchemy import Engine
from tests.ledger.ledger_process import LedgerProcess
from tests.ledger.postgresql_server import PostgresqlServer
from tests.ledger.serving.forked_ledger import ForkedLedger, end_forks
from tests.ledger.shell import Shell

from relay_ledger.booking.price_book import Assignment, PriceBook
from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.schema import upgrade

COSTS = """
name: openai
currency: USD
entries:
- models: [gpt-4.1]
  prices: {input: '2', cacheRead: '0.5', output: '8'}
  perPiece: {webSearch: '0.01'}
"""
RETAIL = """
name: retail
currency: USD
entries:
- models: [gpt-4.1]
  prices: {input: '3', cacheRead: '0.75', output: '12'}
  perPiece: {webSearch: '0.015'}
"""
_numbers = itertools.count()
_UPGRADED: Final = "upgraded"
_PRICED: Final = "priced"
"""Databases that are copied for the tests: with tables, and with prices too."""


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer()
    try:
        server.start()
        upgrade_in(server.create(_UPGRADED))
        price_in(server.create(_PRICED, template=_UPGRADED))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database with tables, which tests copy: migrations take 50 ms each time. Beside it is one with prices."""
    directory = tmp_path_factory.mktemp("sqlite")
    upgraded, priced = (directory / name for name in (_UPGRADED, _PRICED))
    upgrade_in(f"sqlite:///{upgraded}")
    shutil.copyfile(upgraded, priced)
    price_in(f"sqlite:///{priced}")
    # the last connection that is closed leaves nothing beside the file
    assert {path.name for path in directory.iterdir()} == {_UPGRADED, _PRICED}
    return upgraded


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    yield
    end_forks()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh database with tables, which goes with the test. For `books` it has their prices."""
    template = _PRICED if "books" in request.fixturenames else _UPGRADED
    if request.param == "sqlite":
        upgraded: Path = request.getfixturevalue("sqlite")
        file = tmp_path / "ledger.db"
        shutil.copyfile(upgraded.with_name(template), file)
        yield f"sqlite:///{file}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = f"ledger_{next(_numbers)}"
    yield server.create(name, template=template)
    server.drop(name)


@dataclass(frozen=True)
class Books:
    """A ledger with prices; uid-a and everybody named tenant-* is billed."""

    engine: Engine
    ledger: Ledger
    store: PriceBookStore

    @classmethod
    def at(cls, address: str) -> Self:
        """Opens the books of a database."""
        engine = open_database(address)
        return cls(engine, Ledger(engine), PriceBookStore(engine))

    @property
    def prices(self) -> PriceBook:
        return self.store.book()

    def bill(self, tenant_uid: str) -> None:
        self.store.assign(Assignment("charge", tenant_uid, 0, "retail"), now=1)


def upgrade_in(address: str) -> None:
    """Makes the tables."""
    engine = open_database(address)
    upgrade(engine)
    engine.dispose()


def price_in(address: str) -> None:
    """Loads the prices of `books`, and whom they are for."""
    books = Books.at(address)
    books.store.load(COSTS, now=1)
    books.store.load(RETAIL, now=1)
    books.store.assign(Assignment("cost", "openai", 0, "openai"), now=1)
    books.bill("uid-a")
    books.engine.dispose()


@pytest.fixture
def books(address: str) -> Iterator[Books]:
    opened = Books.at(address)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture
def serving(books: Books, address: str, tmp_path: Path) -> Iterator[LedgerProcess]:
    """A ledger that serves the database of `books`."""
    process = ForkedLedger(address, tmp_path, body_seconds=1.0)
    try:
        process.start()
        yield process
    finally:
        process.end()
