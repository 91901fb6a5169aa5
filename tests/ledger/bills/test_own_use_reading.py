"""What is booked of a provider is read once from its beginning to its end, however much of others there is."""

from datetime import UTC, datetime
from hashlib import md5
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests.ledger.conftest import Books
from tests.ledger.records.reading_costs import asked, fill
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import event_line
from relay_ledger.booking.posting import posting_of
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.bills import booked_costs as booked_costs_reading
from relay_ledger.store.bills import own_use_reading
from relay_ledger.store.bills.booked_costs import booked_costs
from relay_ledger.store.bills.own_use_reading import attempts_of
from relay_ledger.store.databases import is_sqlite
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.rows.posting_rows import row_of
from relay_ledger.store.tables import POSTINGS

START = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10**6
MINUTE = 60 * 10**6
MANY = 20_000
"""Attempts of a fortnight, one each minute: as many as make pages of them differ from all of them."""
END = START + MANY * MINUTE


def fill_fortnight(engine: Engine) -> list[int]:
    """Fills a fortnight with attempts, one in a thousand of which is of openai; returns when those were sent."""
    own = range(500, MANY, 1000)
    # what is not looked at more closely need not be another line each time
    line = event_line(closed(provider='"openai"')).decode()
    fill(engine, [row(number, number in own, line) for number in range(MANY)])
    return [START + number * MINUTE for number in own]


def row(number: int, is_own: bool, line: str) -> dict[str, Any]:
    at, tenant_uid = START + number * MINUTE, f"uid-{number % 7}"
    if is_own:
        own = closed(tenant_uid=tenant_uid, attempt_id=f"a{number}", dispatched_at=at)
        line = event_line(own).decode()
    return {
        "tenant_uid": tenant_uid,
        "event_id": md5(str(number).encode(), usedforsecurity=False).hexdigest(),
        "dispatched_at": at,
        "line": line,
    }


def post_fortnight(engine: Engine) -> None:
    """Posts something of each attempt."""
    posting = row_of(posting_of(closed(), PriceBook({}, ())), 0)
    names = ("tenant_uid", "event_id", "dispatched_at")
    rows = [row(number, False, "") for number in range(MANY)]
    with engine.begin() as connection:
        insert_rows(
            connection, POSTINGS, [posting | {name: one[name] for name in names} for one in rows]
        )
        if not is_sqlite(connection):
            connection.execute(text("ANALYZE postings"))


def test_a_providers_attempts_are_read_in_their_order_and_nothing_is_read_twice(
    books: Books,
) -> None:
    times = fill_fortnight(books.engine)
    with asked(books.engine) as reading:
        found = list(attempts_of(books.engine, "openai", start=START, end=END))
    assert [one.dispatched_at for one in found] == times
    assert {one.provider for one in found} == {"openai"}
    pages = [one for one in reading.statements if "events" in one[0]]
    # none takes longer because few of many are the provider's
    assert len(pages) == MANY // own_use_reading.PAGE + 1
    assert reading.rows_read(books.engine) < 2 * MANY


@pytest.mark.parametrize("page", [1, 2, 3, own_use_reading.PAGE])
def test_an_attempt_is_read_once_as_it_ended_or_else_as_it_began(
    books: Books, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(own_use_reading, "PAGE", page)
    # of the same moment, as those of several relays may be
    times = {"ended": START, "open": START, "swept": START, "late": START + 1, "alone": START + 1}
    begun = {name: opened(attempt_id=name, dispatched_at=at) for name, at in times.items()}
    ends = {name: closed(attempt_id=name, dispatched_at=at) for name, at in times.items()}
    first: list[AttemptRecord] = [
        one for name, one in begun.items() if name not in ("open", "alone")
    ]
    first.append(ends["ended"])
    books.ledger.book("uid-a", first, books.prices, now=START)
    assert books.ledger.sweep(sent_before=END, now=START) == 2
    rest: list[AttemptRecord] = [begun["open"], ends["late"], ends["alone"]]
    books.ledger.book("uid-a", rest, books.prices, now=START)
    found = list(attempts_of(books.engine, "openai", start=START, end=END))
    assert {one.attempt_id: one.phase for one in found} == {
        "ended": "closed",
        "open": "opened",
        "swept": "opened",
        "late": "closed",
        "alone": "closed",
    }
    assert len(found) == len(times)


@pytest.mark.parametrize(("tenant_uid", "attempts"), [(None, MANY), ("uid-3", MANY // 7)])
def test_booked_costs_are_read_once(books: Books, tenant_uid: str | None, attempts: int) -> None:
    fill_fortnight(books.engine)
    post_fortnight(books.engine)
    with asked(books.engine) as reading:
        list(booked_costs(books.engine, start=START, end=END, tenant_uid=tenant_uid))
    assert len(reading.statements) > attempts // booked_costs_reading.PAGE
    # each with what is posted of it
    assert reading.rows_read(books.engine) < 5 * attempts
