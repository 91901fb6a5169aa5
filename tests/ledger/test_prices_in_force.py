"""Prices over time: what is booked keeps its price, what has none waits for one, and corrections are differences."""

import pytest
from sqlalchemy import select
from tests.ledger.conftest import COSTS, RETAIL, Books
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.booking.price_book import Assignment
from relay_ledger.prices.back_dating import back_dated
from relay_ledger.prices.price_list import InvalidPrices
from relay_ledger.store.databases import reading
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.repricing import Difference, Repricing
from relay_ledger.store.tables import POSTINGS, PRICE_LISTS, PRICE_SOURCES

EVER = {"start": 0, "end": 2**60}
DEARER = COSTS.replace("input: '2'", "input: '2.5'")


def versions(books: Books) -> list[tuple[str, str, int]]:
    with reading(books.engine) as connection:
        rows = connection.execute(
            select(POSTINGS).order_by(POSTINGS.c.booked_at, POSTINGS.c.sequence)
        )
        return [(row.kind, row.cost_version, row.cost_pico) for row in rows]


def test_what_is_booked_keeps_its_price_and_says_which_it_was(books: Books) -> None:
    books.ledger.book("uid-a", [closed()], books.prices, now=1)
    before = books.prices.lists["openai"].version
    after = books.store.load(DEARER, now=2).version
    books.ledger.book("uid-a", [closed(), closed(attempt_id="b")], books.prices, now=2)
    assert versions(books) == [
        ("usage", before, 2_800_000_000),
        ("usage", after, 3_300_000_000),
    ]
    with reading(books.engine) as connection:
        kept = {row.version: row.content for row in connection.execute(select(PRICE_LISTS))}
    assert (kept[before], kept[after]) == (COSTS, DEARER)


def test_a_list_that_says_the_same_is_no_new_version(books: Books) -> None:
    for content in (COSTS, "# a comment\n" + COSTS):
        books.store.load(content, now=5)
    with reading(books.engine) as connection:
        assert len(connection.execute(select(PRICE_LISTS)).all()) == 2
    with pytest.raises(InvalidPrices):
        books.store.load(COSTS.replace("'2'", "'-2'"), now=5)
    with pytest.raises(InvalidPrices, match="there is no price list gold: load it first"):
        books.store.assign(Assignment("charge", "uid-a", 0, "gold"), now=5)
    assert PriceBookStore(books.engine).book().lists.keys() == {"openai", "retail"}


def test_another_source_or_day_of_checking_is_kept_and_is_no_new_version(books: Books) -> None:
    said = [
        "source: contract 7, checkedAt: 2026-10-01",
        "source: contract 7, checkedAt: 2026-11-01",
        "source: page 3, checkedAt: 2026-11-01",
    ]
    book, version = books.prices, books.prices.lists["retail"].version
    for now, words in enumerate((said[0], said[0], *said[1:]), start=5):
        content = RETAIL.replace("- models", f"- {words.replace(', ', chr(10) + '  ')}\n  models")
        prices = books.store.load(content, now=now)
        assert prices.version == version
        assert back_dated(book.lists["retail"], prices, now=NOON) is None
    # nothing is read again or booked otherwise because of it
    assert books.prices is book
    with reading(books.engine) as connection:
        assert len(connection.execute(select(PRICE_LISTS)).all()) == 2
        kept = connection.execute(select(PRICE_SOURCES).order_by(PRICE_SOURCES.c.number)).all()
        assert books.store.is_written(connection, "retail", content)
        assert not books.store.is_written(connection, "retail", RETAIL)
    assert [(row.version, row.number, row.loaded_at) for row in kept] == [
        *((version, 1, 5), (version, 2, 7), (version, 3, 8)),
    ]
    [entry] = books.store.lists_with_sources()["retail"].entries
    assert (entry.source, entry.checked_at) == ("page 3", "2026-11-01")
    books.store.load(RETAIL, now=9)
    [entry] = books.store.lists_with_sources()["retail"].entries
    assert (entry.source, entry.checked_at) == ("", "")
    assert books.store.lists_with_sources()["openai"] == book.lists["openai"]


def test_the_list_of_the_time_of_dispatch_counts_to_the_microsecond(books: Books) -> None:
    books.store.load(RETAIL.replace("retail", "gold").replace("'3'", "'1'"), now=1)
    books.store.assign(Assignment("charge", "uid-a", NOON, "gold"), now=1)
    for number, at in enumerate((NOON - 1, NOON)):
        record = closed(attempt_id=f"call-{number}", dispatched_at=at)
        books.ledger.book("uid-a", [record], books.prices, now=NOON)
    # 1,000 of input at 3 and at 1, 100 of output at 12
    assert books.ledger.sums("uid-a", **EVER)["charge_pico"] == (4_200 + 2_200) * 10**6


def test_another_process_sees_new_prices(books: Books) -> None:
    other = PriceBookStore(books.engine)
    first = other.book()
    assert other.book() is first
    books.store.load(DEARER, now=2)
    assert other.book().lists["openai"].version != first.lists["openai"].version
    books.store.assign(Assignment("cost", "azure", 0, "openai"), now=2)
    assert other.book().price_list("cost", "azure", 1) is not None


def test_what_has_no_price_is_told_and_priced_when_there_is_one(books: Books) -> None:
    record = closed(provider="azure", attempt_id="azure-1")
    receipt = books.ledger.book("uid-a", [record, closed()], books.prices, now=1)
    assert receipt.unpriced == {"cost": 1, "charge": 0}
    sums = books.ledger.sums("uid-a", **EVER)
    assert (sums["cost_unpriced"], sums["cost_pico"]) == (1, 2_800_000_000)
    books.store.assign(Assignment("cost", "azure", 0, "openai"), now=2)
    assert Repricing(books.engine, books.prices, **EVER).run(now=2) == {
        "uid-a": Difference(attempts=1, cost_pico=2_800_000_000, charge_pico=0)
    }
    sums = books.ledger.sums("uid-a", **EVER)
    assert (sums["cost_unpriced"], sums["cost_pico"]) == (0, 5_600_000_000)


def test_a_correction_is_tried_first_then_booked_as_differences_and_once(books: Books) -> None:
    for tenant_uid in ("uid-a", "uid-b"):
        for number in range(600):
            record = closed(tenant_uid=tenant_uid, attempt_id=f"call-{number}")
            books.ledger.book(tenant_uid, [record], books.prices, now=1) if number == 0 else None
        rest = [
            closed(tenant_uid=tenant_uid, attempt_id=f"call-{number}") for number in range(1, 600)
        ]
        books.ledger.book(tenant_uid, rest, books.prices, now=1)
    books.store.load(DEARER, now=2)
    books.store.load(RETAIL.replace("'12'", "'11'"), now=2)
    repricing = Repricing(books.engine, books.prices, **EVER)
    wanted = {
        "uid-a": Difference(
            attempts=600, cost_pico=600 * 500_000_000, charge_pico=600 * -100_000_000
        ),
        "uid-b": Difference(attempts=600, cost_pico=600 * 500_000_000, charge_pico=0),
    }
    before = books.ledger.sums("uid-a", **EVER)
    assert repricing.dry_run() == wanted
    assert books.ledger.sums("uid-a", **EVER) == before
    assert repricing.run(now=3) == wanted
    assert repricing.run(now=4) == repricing.dry_run() == {}
    after = books.ledger.sums("uid-a", **EVER)
    assert after["cost_pico"] == 600 * 3_300_000_000
    assert after["charge_pico"] == 600 * 4_100_000_000
    assert {name for name in after if after[name] != before[name]} == {"cost_pico", "charge_pico"}
    assert books.ledger.differences(**EVER) == []


def test_a_correction_concerns_its_time_alone(books: Books) -> None:
    for number in range(3):
        record = closed(attempt_id=f"call-{number}", dispatched_at=NOON + number)
        books.ledger.book("uid-a", [record], books.prices, now=1)
    books.store.load(DEARER, now=2)
    changed = Repricing(books.engine, books.prices, start=NOON + 1, end=NOON + 2).run(now=3)
    assert changed == {"uid-a": Difference(attempts=1, cost_pico=500_000_000, charge_pico=0)}


def test_corrections_follow_each_other_and_go_back(books: Books) -> None:
    books.ledger.book("uid-a", [closed(tokens=TokenBuckets(input=1))], books.prices, now=1)
    for step, content in enumerate((DEARER, COSTS, DEARER)):
        books.store.load(content, now=2 + step)
        Repricing(books.engine, books.prices, **EVER).run(now=2 + step)
    assert [pico for _, _, pico in versions(books)] == [2_000_000, 500_000, -500_000, 500_000]
    assert books.ledger.sums("uid-a", **EVER)["cost_pico"] == 2_500_000
