"""What a contract says of periods, and how answers are counted: the same on both databases, and repeated once."""

from collections import Counter

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError
from tests.ledger.conftest import Books
from tests.unit.relay_contract.billing.records import NOON, closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_ledger.booking.answer_times import ANSWER_FIGURES, time_step
from relay_ledger.periods.contracts import Terms, TermsChange
from relay_ledger.periods.zones import QUARTER, UnknownZone
from relay_ledger.store.contracts import ContractStore, TermsRefused
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import ANSWERS, STATEMENTS, TERMS

SHANGHAI = Terms(0, "Asia/Shanghai", 1, "CNY", "acme")


def test_answers_are_counted_once_by_their_time(books: Books) -> None:
    batch: list[AttemptRecord] = [
        closed(attempt_id="quick", closed_at=NOON + 40_000),
        closed(attempt_id="quick-too", closed_at=NOON + 41_000),
        closed(attempt_id="slow", closed_at=NOON + 9_000_000),
        closed(attempt_id="failed", outcome="failed", delivered=False),
        closed(attempt_id="again", attempt=2),
        closed(attempt_id="shadow", side="shadow", delivered=False),
        opened(attempt_id="open"),
    ]
    for _ in range(2):
        books.ledger.book("uid-a", batch, books.prices, now=NOON)
    books.ledger.book("uid-b", [closed(tenant_uid="uid-b")], books.prices, now=NOON)
    with reading(books.engine) as connection:
        rows = connection.execute(select(ANSWERS).where(ANSWERS.c.tenant_uid == "uid-a")).all()
    assert {row.quarter for row in rows} == {NOON // QUARTER * QUARTER}
    totals = Counter({name: sum(row._mapping[name] for row in rows) for name in ANSWER_FIGURES})
    assert totals == {"calls": 4, "served": 4, "delivered": 4}
    assert {row.step: row.delivered for row in rows} == {
        time_step(40): 2,
        time_step(9000): 1,
        time_step(1000): 1,
    }


def test_terms_come_into_force_at_their_time_and_stay(books: Books) -> None:
    store = ContractStore(books.engine)
    assert store.contract("uid-a").terms_at(NOON).zone == "UTC"
    assert store.put("uid-a", SHANGHAI, now=1)
    assert not store.put("uid-a", SHANGHAI, now=2)
    change = NOON // QUARTER * QUARTER
    for zone in ("Asia/Kathmandu", "Europe/Berlin"):
        assert store.put("uid-a", Terms(change, zone, 31, "USD", "acme"), now=3)
    contract = store.contract("uid-a")
    assert contract.terms_at(change - 1) == SHANGHAI
    assert contract.terms_at(change) == Terms(change, "Europe/Berlin", 31, "USD", "acme")
    assert store.contract("uid-b").terms_at(change).zone == "UTC"
    with pytest.raises(UnknownZone):
        store.put("uid-a", Terms(change, "Mars/Olympus"), now=4)
    with pytest.raises(TermsRefused, match="quarter"):
        store.put("uid-a", Terms(change + 1), now=4)
    for statement in (update(TERMS).values(zone="UTC"), delete(TERMS)):
        with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
            connection.execute(statement)


def test_a_change_of_terms_holds_for_all_that_is_not_final_and_leaves_the_rest(
    books: Books,
) -> None:
    store = ContractStore(books.engine)
    later = NOON // QUARTER * QUARTER
    # the operator told the zone in mid-month, and will tell another name
    store.put("uid-a", Terms(later, "Asia/Shanghai", tenant="acme"), now=1)
    store.put("uid-a", Terms(later + QUARTER, "Asia/Shanghai", tenant="acme-cn"), now=1)
    assert store.change("uid-a", TermsChange(currency="CNY"), now=2)
    assert not store.change("uid-a", TermsChange(currency="CNY", zone="Asia/Shanghai"), now=3)
    for at, name in ((0, "acme"), (later, "acme"), (later + QUARTER, "acme-cn")):
        held = store.contract("uid-a").terms_at(at)
        assert (held.zone, held.currency, held.tenant) == ("Asia/Shanghai", "CNY", name)
    # from a time on, and for what follows it
    assert store.change("uid-a", TermsChange(anchor_day=5), since=later, now=4)
    days = [one.anchor_day for one in store.contract("uid-a").terms]
    assert days == [1, 5, 5]
    with books.engine.begin() as connection:
        row = {"tenant_uid": "uid-a", "starts_at": 0, "ends_at": later}
        rest = {"name": "a-month", "finalized_at": 1, "content": "{}"}
        connection.execute(STATEMENTS.insert(), [row | rest])
    # what is final stays
    assert store.change("uid-a", TermsChange(currency="EUR"), now=5)
    currencies = [one.currency for one in store.contract("uid-a").terms]
    assert currencies == ["CNY", "EUR", "EUR"]
    with pytest.raises(TermsRefused, match="no currency"):
        store.change("uid-a", TermsChange(currency="XXX"), now=6)


def test_terms_do_not_change_what_a_final_statement_was_made_by(books: Books) -> None:
    store = ContractStore(books.engine)
    with books.engine.begin() as connection:
        row = {"tenant_uid": "uid-a", "starts_at": 0, "ends_at": 10 * QUARTER}
        rest = {"name": "1970-01", "finalized_at": 1, "content": "{}"}
        connection.execute(STATEMENTS.insert(), [row | rest])
    with pytest.raises(TermsRefused, match="final statement"):
        store.put("uid-a", Terms(9 * QUARTER, "Asia/Shanghai"), now=1)
    assert store.put("uid-a", Terms(10 * QUARTER, "Asia/Shanghai"), now=1)
    assert store.put("uid-b", Terms(9 * QUARTER, "Asia/Shanghai"), now=1)
    with reading(books.engine) as connection:
        rows = connection.execute(text("SELECT tenant_uid, zone, starts_at FROM terms")).all()
    # what the final statement was made by, without any terms, is written down
    assert sorted(map(tuple, rows)) == [
        ("uid-a", "Asia/Shanghai", 10 * QUARTER),
        ("uid-a", "UTC", 0),
        ("uid-b", "Asia/Shanghai", 9 * QUARTER),
    ]
