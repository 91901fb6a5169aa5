"""The ledger audits itself: what was changed behind its back is told, what is being booked meanwhile is no difference."""

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from tests.ledger.conftest import Books
from tests.ledger.records.reading_costs import asked
from tests.unit.relay_contract.billing.records import closed

from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.settings import Settings
from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore
from relay_ledger.upkeep.audits import DAY, Audits

NOW = time.time_ns() // 1000


class Audited:
    """Audits of these books, with what they have logged."""

    def __init__(self, books: Books) -> None:
        self.metrics = LedgerMetrics()
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.desk = BookingDesk(
            books.ledger,
            ToolCallStore(books.engine),
            books.store,
            self.metrics,
            log=LedgerLog(),
            max_batches=4,
        )
        self._audits = self.audits(books.ledger)

    def audits(self, ledger: Ledger, *, audit_hours: int = 24) -> Audits:
        return Audits(
            Settings(database=SecretStr("sqlite:////nowhere"), audit_hours=audit_hours),
            ledger,
            desk=self.desk,
            metrics=self.metrics,
            log=LedgerLog(lambda event, **told: self.logged.append((event, told))),
        )

    def audit(self, now: int = NOW) -> int:
        self.logged.clear()
        return asyncio.run(self._audits.audit(now=now))

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"relay_ledger_audit_{name}")


@pytest.fixture
def audited(books: Books) -> Iterator[Audited]:
    made = Audited(books)
    try:
        yield made
    finally:
        made.desk.close()


def book(books: Books, name: str, at: int) -> None:
    books.ledger.book("uid-a", [closed(attempt_id=name, dispatched_at=at)], books.prices, now=at)


def test_what_was_booked_and_nothing_else_is_in_the_sums(books: Books, audited: Audited) -> None:
    for number in range(4):
        book(books, f"day-{number}", NOW - number * DAY)
    assert audited.metric("timestamp_seconds") == 0
    assert audited.audit() == 0
    assert audited.logged == [("audit", {"differences": 0, "days": 35})]
    assert (audited.metric("differences"), audited.metric("timestamp_seconds")) == (0, NOW / 10**6)


@pytest.mark.parametrize("days_ago", [0, 34])
def test_a_sum_that_somebody_has_changed_is_told(
    books: Books, audited: Audited, days_ago: int
) -> None:
    book(books, "one", NOW - days_ago * DAY)
    assert audited.audit(NOW - 1) == 0
    with books.engine.begin() as connection:
        connection.execute(text("UPDATE sums SET charge_pico = charge_pico + 1"))
    assert audited.audit() == 1
    (event, told), (last, _) = audited.logged
    assert (event, last, told["key"][0]) == ("audit_difference", "audit", "uid-a")
    assert told["sums"]["charge_pico"] == told["postings"]["charge_pico"] + 1
    # the last good one was before
    assert audited.metric("differences") == 1
    assert audited.metric("timestamp_seconds") == (NOW - 1) / 10**6


@pytest.mark.parametrize("table", ["sums", "postings"])
def test_what_has_only_one_side_is_told(books: Books, audited: Audited, table: str) -> None:
    names = ["uid-B", "uid-a", "uid-b"]
    for name in names:
        attempt = closed(attempt_id=name, tenant_uid=name, dispatched_at=NOW - 3 * DAY)
        books.ledger.book(name, [attempt], books.prices, now=NOW)
    with books.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # as one could who may do anything
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"DELETE FROM {table} WHERE tenant_uid <> 'uid-a'"))
    assert audited.audit() == 2
    told = {told["key"][0] for event, told in audited.logged if event == "audit_difference"}
    assert told == {"uid-B", "uid-b"}


def test_no_statement_reads_what_is_of_all_tenants(books: Books, audited: Audited) -> None:
    book(books, "one", NOW)
    with asked(books.engine) as questions:
        audited.audit()
    comparing = [one for one in questions.statements if "postings" in one[0]]
    assert comparing
    is_sqlite = books.engine.dialect.name == "sqlite"
    with books.engine.begin() as connection:
        if not is_sqlite:
            # it plans by the size of tables, and these are small: which index it would take is not told, but that there is one
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        for statement, values in comparing:
            if is_sqlite:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                lines = [row.detail for row in plan]
                reads = [line for line in lines if " sums" in line or " postings" in line]
                assert len(reads) == 2
                assert all(read.startswith("SEARCH") and "tenant_uid" in read for read in reads)
            else:
                explained = connection.exec_driver_sql(f"EXPLAIN {statement}", values).scalars()
                told = "\n".join(explained)
                assert "Seq Scan on" not in told, told


def test_an_audit_holds_nothing_of_what_agrees(books: Books, audited: Audited) -> None:
    attempts = [
        closed(attempt_id=f"attempt-{number}", key_name=f"key-{number}", dispatched_at=NOW - DAY)
        for number in range(2000)
    ]
    books.ledger.book("uid-a", attempts, books.prices, now=NOW)
    assert audited.audit() == 0
    tracemalloc.start()
    try:
        assert audited.audit() == 0
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # three KiB of each key would be six MiB
    assert most < 2_000_000


def test_audits_that_fail_come_at_ever_longer_times(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = open_database("sqlite:////nowhere/ledger.db")
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 7:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(audited.audits(Ledger(away), audit_hours=1).run())
    assert pauses == [900, 300, 600, 1200, 2400, 3600, 3600]


def test_attempts_that_do_not_balance_are_told(books: Books, audited: Audited) -> None:
    book(books, "one", NOW)
    with books.engine.begin() as connection:
        connection.execute(text("UPDATE tallies SET opened = opened + 1"))
    assert audited.audit() == 1
    assert audited.logged[0] == (
        "audit_unbalanced",
        {"in_flight": 0, "tally": 1},
    )


def test_what_is_booked_meanwhile_is_no_difference(books: Books, audited: Audited) -> None:
    over = threading.Event()
    booked = 0

    def book_on() -> None:
        nonlocal booked
        while not over.is_set():
            book(books, f"attempt-{booked}", NOW)
            booked += 1

    booker = threading.Thread(target=book_on)
    booker.start()
    try:
        assert [audited.audit() for _ in range(5)] == [0] * 5
    finally:
        over.set()
        booker.join()
    assert booked > 0
    assert audited.audit() == 0
