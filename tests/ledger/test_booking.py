"""Whatever comes, in whatever order, however often, and whatever breaks: the sums are those of the attempts there were."""

import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, event, select, text, update
from sqlalchemy.exc import DBAPIError
from tests.ledger.conftest import COSTS, Books
from tests.unit.relay_contract.billing.records import NOON, closed, opened

from relay_contract.billing.attempt_event import AttemptClosed, AttemptOpened, AttemptRecord
from relay_contract.billing.event_line import event_line, read_event
from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.booking.price_book import Assignment
from relay_ledger.store import partitions
from relay_ledger.store.batch_booking import BatchBooking
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.tables import EVENTS, POSTINGS, QUARANTINE, SUMS

EVER = {"start": 0, "end": 2**60}
QUARTER = 15 * 60 * 10**6
_tenants = itertools.count()


class Crash(Exception):
    """The ledger dies before it commits."""


EXPECTED = st.builds(TokenBuckets, input=st.integers(0, 10**6), output=st.integers(0, 10**5))


BILLED = ({"delivered": True}, {"delivered": False}, {"delivered": False, "abandoned": True})


@st.composite
def lives(draw: st.DrawFn) -> list[list[AttemptRecord]]:
    """Returns the records of some attempts: opened and closed, or only one of the two."""
    tenant_uid = f"tenant-{next(_tenants)}"
    attempts: list[list[AttemptRecord]] = []
    for number in range(draw(st.integers(1, 6))):
        same: dict[str, Any] = {
            "tenant_uid": tenant_uid,
            "attempt_id": f"call-{number}",
            "dispatched_at": NOON + draw(st.integers(-2, 2)) * QUARTER,
            "provider": draw(st.sampled_from(["openai", "unknown"])),
            "side": draw(st.sampled_from(["stable", "canary"])),
            "reserved_pico": draw(st.none() | st.integers(0, 10**15)),
        }
        begun = opened(**same, reserved_tokens=draw(st.none() | EXPECTED))
        source = draw(st.sampled_from(["provider", "partial", "unknown", "none"]))
        counted = source in ("provider", "partial")
        ending = closed(
            **same,
            usage_source=source,
            tokens=TokenBuckets(
                input=draw(st.integers(0, 10**6)), output=draw(st.integers(0, 10**5))
            )
            if counted
            else None,
            reserved_tokens=draw(st.none() | EXPECTED) if source == "unknown" else None,
            units=BilledUnits(web_search=draw(st.integers(0, 2))) if counted else BilledUnits(),
            **draw(st.sampled_from(BILLED)),
            answered_model=draw(st.sampled_from(["gpt-4.1", "gpt-0", None])),
        )
        which = draw(st.sampled_from(["both", "both", "opened", "closed"]))
        attempts.append(
            [
                *([begun] if which != "closed" else []),
                *([ending] if which != "opened" else []),
            ]
        )
    return attempts


def usd_micro(record: AttemptClosed, prices: dict[str, int]) -> int | None:
    """Returns what an attempt costs, by hand; None where there is no price."""
    if record.tokens is None:
        return 0
    if (record.answered_model or record.routed_model) != "gpt-4.1":
        return None
    searches = record.units.web_search * prices["search"] * 10**6
    return (
        record.tokens.input * prices["input"] + record.tokens.output * prices["output"] + searches
    )


def held(record: AttemptRecord) -> int:
    """Returns the most that an attempt of unknown use, or without an end, may have cost, by hand; 0 where nobody can tell."""
    reserved = record.reserved_tokens
    if record.reserved_pico is not None or reserved is None or record.provider != "openai":
        return record.reserved_pico or 0
    answered = record.answered_model if isinstance(record, AttemptClosed) else None
    if (answered or record.routed_model) != "gpt-4.1":
        return 0
    return reserved.input * 2_000_000 + reserved.output * 8_000_000


def expected(attempts: list[list[AttemptRecord]]) -> dict[str, int]:
    """Returns the sums once everything has come and what is open is swept."""
    money = ("cost_pico", "charge_pico", "held_pico", "cost_unpriced", "charge_unpriced")
    counts = ("attempts", "delivered", "abandoned", "input", "output", "web_search")
    sums = dict.fromkeys((*counts, *money), 0)
    for records in attempts:
        last = records[-1]
        sums["attempts"] += 1
        if not isinstance(last, AttemptClosed):
            sums["held_pico"] += held(last)
            continue
        if last.tokens is not None:
            sums["input"] += last.tokens.input
            sums["output"] += last.tokens.output
            sums["web_search"] += last.units.web_search
        sums["delivered"] += last.delivered
        sums["abandoned"] += last.abandoned
        if last.usage_source == "unknown":
            sums["held_pico"] += held(last)
        cost = usd_micro(last, {"input": 2_000_000, "output": 8_000_000, "search": 10_000})
        if last.tokens is not None and last.provider != "openai":
            cost = None
        sums["cost_pico"] += cost or 0
        sums["cost_unpriced"] += cost is None
        if last.delivered or last.abandoned:
            charge = usd_micro(last, {"input": 3_000_000, "output": 12_000_000, "search": 15_000})
            sums["charge_pico"] += charge or 0
            sums["charge_unpriced"] += charge is None
    return sums


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts=lives(), data=st.data())
def test_any_order_any_repetition_and_any_crash_give_the_same_sums(
    books: Books, attempts: list[list[AttemptRecord]], data: st.DataObject
) -> None:
    records = [record for life in attempts for record in life]
    tenant_uid = records[0].tenant_uid
    books.bill(tenant_uid)
    # every record once at least, some again, in any order
    deliveries = data.draw(
        st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=8)))
    )
    while deliveries:
        size = data.draw(st.integers(1, len(deliveries)))
        batch, deliveries = deliveries[:size], deliveries[size:]
        event = data.draw(st.sampled_from(["book", "book", "crash", "sweep"]))
        if event == "crash":
            crash_while_booking(books, tenant_uid, batch)
            # the relay had no answer, so it sends again
            deliveries = deliveries + batch
            continue
        if event == "sweep":
            books.ledger.sweep(sent_before=2**60, now=NOON)
        books.ledger.book(tenant_uid, batch, books.prices, now=NOON)
    books.ledger.sweep(sent_before=2**60, now=NOON)
    sums = books.ledger.sums(tenant_uid, **EVER)
    wanted = expected(attempts)
    assert {name: sums[name] for name in wanted} == wanted
    assert sum(sums.values()) == sum(wanted.values())
    standing = books.ledger.standing(tenant_uid)
    assert standing.tally.in_flight == standing.in_flight == 0
    assert standing.tally.opened == sum(life[0].phase == "opened" for life in attempts)
    assert standing.tally.closed == sum(life[-1].phase == "closed" for life in attempts)
    assert standing.quarantined == 0
    assert books.ledger.differences_of(tenant_uid, **EVER) == []


def crash_while_booking(books: Books, tenant_uid: str, batch: list[AttemptRecord]) -> None:
    Partitions(books.engine).ensure(record.dispatched_at for record in batch)

    def book_and_die() -> None:
        with writing(books.engine, tenant_uid) as connection:
            BatchBooking(connection, tenant_uid, now=NOON).book(batch, (), books.prices)
            raise Crash

    with pytest.raises(Crash):
        book_and_die()


def count(books: Books, table: Table, tenant_uid: str = "uid-a") -> int:
    with reading(books.engine) as connection:
        return len(connection.execute(select(table).where(table.c.tenant_uid == tenant_uid)).all())


def test_the_same_storm_from_four_sides_at_once_books_everything_once(books: Books) -> None:
    calls = [f"call-{number}" for number in range(120)]
    records: list[AttemptRecord] = [opened(attempt_id=call) for call in calls]
    records += [closed(attempt_id=call) for call in calls]

    def storm(side: int) -> int:
        booked = 0
        # each begins at another place, and goes round twice
        order = (records[side * 60 :] + records[: side * 60]) * 2
        for start in range(0, len(order), 50):
            batch = order[start : start + 50]
            booked += books.ledger.book("uid-a", batch, books.prices, now=NOON).booked
        return booked

    with ThreadPoolExecutor(4) as sides:
        booked = sum(sides.map(storm, range(4)))
    assert booked == len(records)
    assert books.ledger.sums("uid-a", **EVER)["cost_pico"] == 120 * 2_800_000_000
    assert books.ledger.standing("uid-a").tally.in_flight == 0
    assert books.ledger.differences(**EVER) == []


def test_tenants_do_not_swallow_each_others_attempts(books: Books) -> None:
    for tenant_uid in ("uid-a", "uid-b"):
        receipt = books.ledger.book(
            tenant_uid, [closed(tenant_uid=tenant_uid)], books.prices, now=NOON
        )
        assert receipt.booked == 1
    # the one is billed, the other is not
    assert books.ledger.sums("uid-a", **EVER)["charge_pico"] == 4_200_000_000
    assert books.ledger.sums("uid-b", **EVER)["charge_pico"] == 0
    assert books.ledger.sums("uid-b", **EVER)["cost_pico"] == 2_800_000_000


def test_nobody_books_for_another_tenant(books: Books) -> None:
    with pytest.raises(ValueError, match="records of one tenant"):
        books.ledger.book("uid-b", [closed()], books.prices, now=NOON)


def test_the_same_id_with_another_content_is_kept_apart_and_told(books: Books) -> None:
    books.ledger.book("uid-a", [closed()], books.prices, now=NOON)
    other = closed(tokens=TokenBuckets(input=9))
    for _ in range(2):
        receipt = books.ledger.book("uid-a", [other, closed()], books.prices, now=NOON)
        assert (receipt.booked, receipt.repeated) == (0, 1)
        (told,) = receipt.quarantined
        assert told.reason == "conflict"
        assert other.id in told.detail
    assert count(books, QUARANTINE) == 1
    assert books.ledger.sums("uid-a", **EVER)["input"] == 1000
    receipt = books.ledger.book(
        "uid-a",
        [closed(attempt_id="x"), closed(attempt_id="x", status=201)],
        books.prices,
        now=NOON,
    )
    assert (receipt.booked, len(receipt.quarantined)) == (1, 1)


def postings(books: Books) -> list[tuple[str, str, int, int]]:
    with reading(books.engine) as connection:
        rows = connection.execute(select(POSTINGS).order_by(POSTINGS.c.sequence))
        return [(row.kind, row.cost_state, row.cost_pico, row.held_pico) for row in rows]


def test_what_a_crash_left_open_is_closed_at_its_worst_and_put_right_by_its_end(
    books: Books,
) -> None:
    books.ledger.book("uid-a", [opened(reserved_pico=77)], books.prices, now=NOON)
    assert books.ledger.standing().in_flight == 1
    assert postings(books) == [("opened", "unknown", 0, 77)]
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 0
    assert books.ledger.sweep(sent_before=NOON, now=NOON) == 0
    assert books.ledger.sweep(sent_before=NOON + 1, now=NOON) == 1
    assert books.ledger.sweep(sent_before=NOON + 1, now=NOON) == 0
    assert postings(books) == [("opened", "unknown", 0, 77), ("swept", "unknown", 0, 0)]
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 1
    assert books.ledger.standing().tally.swept == 1
    for _ in range(2):
        books.ledger.book("uid-a", [closed(reserved_pico=77)], books.prices, now=NOON)
    assert postings(books) == [
        ("opened", "unknown", 0, 77),
        ("swept", "unknown", 0, 0),
        ("reversal", "unknown", 0, -77),
        ("usage", "priced", 2_800_000_000, 0),
    ]
    standing = books.ledger.standing()
    assert (standing.tally.swept, standing.tally.closed, standing.in_flight) == (0, 1, 0)
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 1
    assert books.ledger.differences(**EVER) == []


def test_what_an_attempt_under_way_may_cost_is_held_at_the_price_of_its_dispatch(
    books: Books,
) -> None:
    begun = opened(reserved_tokens=TokenBuckets(input=1000, output=100))
    for _ in range(2):
        books.ledger.book("uid-a", [begun], books.prices, now=NOON)
    with reading(books.engine) as connection:
        [row] = connection.execute(select(POSTINGS)).all()
    version = books.prices.lists["openai"].version
    assert (row.kind, row.held_pico, row.cost_version) == ("opened", 2_800_000_000, version)
    # known before it is told, or in the same batch: it is booked by its end alone
    begun, ended = begun_and_ended("before")
    for record in (ended, begun):
        books.ledger.book("uid-a", [record], books.prices, now=NOON)
    books.ledger.book("uid-a", [*begun_and_ended("together")], books.prices, now=NOON)
    assert [one[0] for one in postings(books)] == ["opened", "usage", "usage"]


def begun_and_ended(attempt_id: str) -> tuple[AttemptOpened, AttemptClosed]:
    begun = opened(attempt_id=attempt_id, reserved_tokens=TokenBuckets(input=1000, output=100))
    return begun, closed(attempt_id=attempt_id)


@pytest.mark.parametrize("is_swept", [False, True])
def test_a_correction_holds_an_attempt_without_an_end_at_the_new_price(
    books: Books, is_swept: bool
) -> None:
    """Also one whose provider had no price when it began, of which nothing was held."""
    expected = TokenBuckets(input=1000, output=100)
    priced = opened(attempt_id="priced", reserved_tokens=expected)
    unpriced = opened(attempt_id="unpriced", provider="other", reserved_tokens=expected)
    books.ledger.book("uid-a", [priced, unpriced], books.prices, now=NOON)
    if is_swept:
        books.ledger.sweep(sent_before=2**60, now=NOON)
    assert books.ledger.sums("uid-a", **EVER)["held_pico"] == 2_800_000_000
    books.store.load(COSTS.replace("'8'", "'9'"), now=2)
    books.store.assign(Assignment("cost", "other", 0, "openai"), now=2)
    for _ in range(2):
        Repricing(books.engine, books.prices, start=NOON, end=NOON + 1).run(now=NOON)
        assert books.ledger.sums("uid-a", **EVER)["held_pico"] == 2 * 2_900_000_000
    ends = [closed(attempt_id="priced"), closed(attempt_id="unpriced", provider="other")]
    books.ledger.book("uid-a", ends, books.prices, now=NOON)
    sums = books.ledger.sums("uid-a", **EVER)
    assert (sums["held_pico"], sums["cost_pico"], sums["attempts"]) == (0, 2 * 2_900_000_000, 2)
    assert books.ledger.differences(**EVER) == []


def test_an_attempt_that_ends_while_prices_are_corrected_is_booked_as_it_ended(
    books: Books,
) -> None:
    """A correction reads attempts a page at a time, and books it when nobody else books for the tenant."""
    expected = TokenBuckets(input=1000, output=100)
    records = [opened(attempt_id=name, reserved_tokens=expected) for name in ("held", "unpriced")]
    records[1] = records[1].model_copy(update={"provider": "other"})
    books.ledger.book("uid-a", records, books.prices, now=NOON)
    ends: list[AttemptRecord] = [
        closed(attempt_id="held"),
        closed(attempt_id="unpriced", provider="other"),
    ]
    correction = Repricing(books.engine, books.prices, start=NOON, end=NOON + 1)

    def end_them(_: object, __: object, statement: str, *rest: object) -> None:
        if "events.line" in statement and ends:
            batch = [ends.pop(), ends.pop()]
            books.ledger.book("uid-a", batch, books.prices, now=NOON)

    event.listen(books.engine, "after_cursor_execute", end_them)
    correction.run(now=NOON)
    assert not ends
    sums = books.ledger.sums("uid-a", **EVER)
    assert (sums["cost_pico"], sums["charge_pico"]) == (2_800_000_000, 2 * 4_200_000_000)
    assert (sums["held_pico"], sums["cost_unpriced"]) == (0, 1)
    assert correction.run(now=NOON) == {}
    assert books.ledger.differences(**EVER) == []


def test_an_attempt_that_was_opened_by_a_former_version_is_no_conflict(books: Books) -> None:
    """The relay before told nothing of what was expected. Its records are delivered again by the one after, as they are in its files."""
    former = event_line(opened(attempt_id="former"))
    new = event_line(opened(attempt_id="new", reserved_tokens=TokenBuckets(input=1000)))
    for lines in ([former], [former, new], [new, former]):
        records = [read_event(line) for line in lines]
        receipt = books.ledger.book("uid-a", records, books.prices, now=NOON)
        assert receipt.quarantined == ()
    ends: list[AttemptRecord] = [closed(attempt_id="former"), closed(attempt_id="new")]
    assert books.ledger.book("uid-a", ends, books.prices, now=NOON).quarantined == ()
    sums = books.ledger.sums("uid-a", **EVER)
    assert (sums["attempts"], sums["held_pico"]) == (2, 0)
    assert books.ledger.standing().in_flight == 0


def test_more_is_swept_than_one_batch(books: Books) -> None:
    records = [opened(attempt_id=f"call-{number}") for number in range(1100)]
    books.ledger.book("uid-a", records, books.prices, now=NOON)
    assert books.ledger.sweep(sent_before=2**60, now=NOON) == 1100
    assert books.ledger.standing().in_flight == 0


@pytest.mark.parametrize("table", [EVENTS, POSTINGS, QUARANTINE])
def test_the_database_refuses_to_change_what_is_booked(books: Books, table: Table) -> None:
    books.ledger.book("uid-a", [closed()], books.prices, now=NOON)
    books.ledger.book("uid-a", [closed(status=201)], books.prices, now=NOON)
    assert count(books, table) == 1
    with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
        connection.execute(update(table).values(tenant_uid="uid-b"))


def test_a_sum_that_is_not_that_of_its_postings_is_found(books: Books) -> None:
    books.ledger.book("uid-a", [closed()], books.prices, now=NOON)
    assert books.ledger.differences(**EVER) == []
    with books.engine.begin() as connection:
        connection.execute(update(SUMS).values(cost_pico=SUMS.c.cost_pico + 1))
    (difference,) = books.ledger.differences(**EVER)
    assert difference["key"][0] == "uid-a"
    assert difference["sums"]["cost_pico"] - difference["postings"]["cost_pico"] == 1


def months(books: Books) -> Iterable[str]:
    with reading(books.engine) as connection:
        for (line,) in connection.execute(select(EVENTS.c.dispatched_at)):
            yield str(line)


def test_months_go_as_a_whole_and_their_sums_stay(books: Books) -> None:
    days = [NOON - 60 * 86_400 * 10**6, NOON]
    for day in days:
        record = closed(attempt_id=f"call-{day}", dispatched_at=day)
        books.ledger.book("uid-a", [record], books.prices, now=NOON)
    assert books.ledger.drop_before(NOON - 90 * 86_400 * 10**6) == []
    gone = books.ledger.drop_before(NOON)
    assert {"events", "postings"} <= {one.removesuffix("_2026_07") for one in gone}
    assert list(months(books)) == [str(NOON)]
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 2
    # a month that is gone is made again for what comes late
    late = closed(attempt_id="late", dispatched_at=days[0])
    assert books.ledger.book("uid-a", [late], books.prices, now=NOON).booked == 1


def test_rows_of_old_months_go_some_at_a_time_and_are_looked_for_once_a_month(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite nobody else writes meanwhile; PostgreSQL drops a table."""
    monkeypatch.setattr(partitions, "_AT_ONCE", 2)
    old = NOON - 60 * 86_400 * 10**6
    for number in range(5):
        ids = {"attempt_id": f"call-{number}", "dispatched_at": old + number}
        books.ledger.book("uid-a", [opened(**ids), closed(**ids)], books.prices, now=NOON)
    books.ledger.book("uid-a", [closed()], books.prices, now=NOON)
    commits: list[Any] = []
    event.listen(books.engine, "commit", commits.append)
    assert books.ledger.drop_before(NOON)
    is_sqlite = books.engine.dialect.name == "sqlite"
    assert len(commits) > 3 if is_sqlite else commits
    assert list(months(books)) == [str(NOON)]
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 6
    statements: list[str] = []
    event.listen(books.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    assert books.ledger.drop_before(NOON + 1) == []
    assert not any("FROM events" in one for one in statements)


def test_an_address_is_no_statement(books: Books) -> None:
    label = "'); DROP TABLE sums; -- \U0001f4b6 %s :x {y}"
    record = closed(route=label, key_name=label, requested_model=label)
    books.ledger.book("uid-a", [record], books.prices, now=NOON)
    with reading(books.engine) as connection:
        assert connection.execute(text("SELECT route FROM sums")).scalar_one() == label
