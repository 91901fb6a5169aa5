"""Fixtures of the ledger's suite: a fresh database of either kind, with tables and prices."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.ledger.ledger_process import LedgerProcess
from tests.ledger.postgresql_server import PostgresqlServer
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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    server = PostgresqlServer()
    try:
        server.start()
        engine = open_database(server.create("upgraded"))
        upgrade(engine)
        engine.dispose()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database with tables, which tests copy: migrations take 50 ms each time."""
    file = tmp_path_factory.mktemp("sqlite") / "upgraded.db"
    engine = open_database(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()
    # the last connection that is closed leaves nothing beside the file
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh database with tables, which goes with the test."""
    if request.param == "sqlite":
        file = tmp_path / "ledger.db"
        shutil.copyfile(request.getfixturevalue("sqlite"), file)
        yield f"sqlite:///{file}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    name = f"ledger_{next(_numbers)}"
    yield server.create(name, template="upgraded")
    server.drop(name)


@dataclass(frozen=True)
class Books:
    """A ledger with prices; uid-a and everybody named tenant-* is billed."""

    engine: Engine
    ledger: Ledger
    store: PriceBookStore

    @property
    def prices(self) -> PriceBook:
        return self.store.book()

    def bill(self, tenant_uid: str) -> None:
        self.store.assign(Assignment("charge", tenant_uid, 0, "retail"), now=1)


@pytest.fixture
def books(address: str) -> Iterator[Books]:
    engine = open_database(address)
    store = PriceBookStore(engine)
    store.load(COSTS, now=1)
    store.load(RETAIL, now=1)
    store.assign(Assignment("cost", "openai", 0, "openai"), now=1)
    opened = Books(engine, Ledger(engine), store)
    opened.bill("uid-a")
    yield opened
    engine.dispose()


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture
def serving(books: Books, address: str, tmp_path: Path) -> Iterator[LedgerProcess]:
    """A ledger that serves the database of `books`."""
    process = LedgerProcess(address, tmp_path, body_seconds=1.0)
    try:
        process.start()
        yield process
    finally:
        process.end()
