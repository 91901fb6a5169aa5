"""The ledger audits itself: what was changed behind its back is told, what is being booked meanwhile is no difference."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from tests.ledger.conftest import Books
from tests.unit.relay_contract.billing.records import closed

from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.settings import Settings
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
            books.prices,
            self.metrics,
            log=LedgerLog(),
            max_batches=4,
        )
        self._audits = Audits(
            Settings(database=SecretStr("sqlite:////nowhere")),
            books.ledger,
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
