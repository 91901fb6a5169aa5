"""Statements of periods in which prices change: each line has one price, and quantity times unit price is its amount."""

import csv
import io
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.conftest import RETAIL, Books
from tests.ledger.records.reading_costs import asked
from tests.ledger.tool_calls.prices import book as book_calls
from tests.ledger.tool_calls.prices import sell_tools
from tests.unit.relay_contract.billing.records import closed, tool_call

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.booking.posting import posting_of
from relay_ledger.booking.price_book import Assignment
from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.periods.contracts import Terms
from relay_ledger.periods.months import Month, Period
from relay_ledger.prices.price_list import NO_ENTRY
from relay_ledger.statements.statement import Line, Statement
from relay_ledger.statements.statement_page import statement_page
from relay_ledger.statements.statement_table import csv_table
from relay_ledger.store.batch_booking import BatchBooking
from relay_ledger.store.bills.charged_use import charged_use
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.repricing import Repricing

MARCH = Month(2026, 3)
HOUR = 3600 * 10**6
DAY = 24 * HOUR
START, END = (int(datetime(2026, month, 1, tzinfo=UTC).timestamp()) * 10**6 for month in (3, 4))
GRACE = 72 * HOUR
_numbers = itertools.count()


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def moment(time: int) -> str:
    return datetime.fromtimestamp(time // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows(statement: Statement) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_table(statement))))


def march_of(books: Books, tenant: str, *, now: int = END - 1) -> Statement:
    (statement,) = StatementStore(books.engine, grace=GRACE).statements(tenant, MARCH, now=now)
    return statement


def told(line: Line) -> tuple[str, int, str]:
    assert line.unit_price_micro is not None
    return line.counted, line.quantity, price_text(line.unit_price_micro)


def check_by_the_table_alone(statement: Statement, charged_pico: int) -> None:
    """Reckons as a reader does, who has the CSV and nothing else."""
    *lines, total = rows(statement)
    for line in lines:
        if line["unit_price_usd"]:
            product = Decimal(line["quantity"]) * Decimal(line["unit_price_usd"])
            assert product / Decimal(line["per"]) == Decimal(line["amount_usd"])
        else:
            assert Decimal(line["amount_usd"]) == 0
    assert sum(Decimal(line["amount_usd"]) for line in lines) == Decimal(total["amount_usd"])
    assert sum(Decimal(line["amount"]) for line in lines) == Decimal(total["amount"])
    assert total["amount_usd"] == usd_text(charged_pico)


# -- any changes of prices ----------------------------------------------------------------------------------------------

PRICES = st.fixed_dictionaries(
    {"input": st.integers(0, 10**7), "output": st.integers(0, 10**8)},
    optional={"cacheRead": st.integers(0, 10**6)},
)
PIECES = st.fixed_dictionaries(
    {}, optional={"call": st.integers(0, 10**5), "webSearch": st.integers(0, 10**5)}
)


@dataclass(frozen=True)
class Offer:
    """What is asked from a time on: dated as an entry that follows another, or by another list from then on, or in place of all before."""

    since: int
    prices: dict[str, int]
    pieces: dict[str, int]
    long_prices: dict[str, int] | None
    how: str


@dataclass
class Seller:
    """Changes a tenant's prices as time goes on."""

    books: Books
    tenant: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    name: str = ""

    def change(self, offer: Offer) -> None:
        if offer.how == "dated" and self.entries:
            for entry in self.entries:
                entry.setdefault("until", moment(offer.since))
            self.entries += self._entries(offer, since=moment(offer.since))
        else:
            self.entries = self._entries(offer)
        is_other = offer.how == "other list" or not self.name
        if is_other:
            self.name = f"list-{next(_numbers)}"
        content = {"name": self.name, "currency": "USD", "entries": self.entries}
        self.books.store.load(json.dumps(content), now=offer.since)
        if is_other:
            assigned = Assignment("charge", self.tenant, offer.since, self.name)
            self.books.store.assign(assigned, now=offer.since)

    def _entries(self, offer: Offer, since: str | None = None) -> list[dict[str, Any]]:
        first: dict[str, Any] = {"models": ["gpt-4.1"], "prices": _texts(offer.prices)}
        first |= {"perPiece": _texts(offer.pieces)} if offer.pieces else {}
        made = [first]
        if offer.long_prices is not None:
            made.append({**first, "prices": _texts(offer.long_prices), "aboveInputTokens": 500})
        return [{**one, "from": since} if since else dict(one) for one in made]


def _texts(micros: dict[str, int]) -> dict[str, str]:
    return {name: price_text(micro) for name, micro in micros.items()}


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    days = sorted(draw(st.sets(st.integers(1, 29), max_size=4)))
    return [
        Offer(
            since=0 if not day else START + day * DAY,
            prices=draw(PRICES),
            pieces=draw(PIECES),
            long_prices=draw(st.none() | PRICES),
            how=draw(st.sampled_from(["dated", "other list", "in place"])),
        )
        for day in [0, *days]
    ]


TOKENS = st.builds(
    TokenBuckets,
    input=st.integers(0, 1000),
    cache_read=st.integers(0, 100),
    output=st.integers(0, 1000),
    reasoning=st.integers(0, 100),
)


@st.composite
def attempts(draw: st.DrawFn, tenant: str) -> list[AttemptClosed]:
    """Some of which are late, and some of which nobody got the answer of; some ask for what may have no price."""
    made = []
    for number in range(draw(st.integers(1, 12))):
        is_lost = draw(st.integers(0, 9)) == 0
        changes: dict[str, Any] = {"delivered": False, "outcome": "truncated"} if is_lost else {}
        made.append(
            closed(
                attempt_id=f"{tenant}-{number}",
                tenant_uid=tenant,
                dispatched_at=draw(st.integers(START, END - 1)),
                tokens=draw(TOKENS),
                units=BilledUnits(web_search=draw(st.integers(0, 1))),
                **changes,
            )
        )
    return sorted(made, key=lambda one: one.dispatched_at)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_prices_change_each_line_is_quantity_times_price_and_all_are_what_is_booked(
    books: Books, data: st.DataObject
) -> None:
    tenant = f"tenant-{next(_numbers)}"
    changes, used = data.draw(offers()), data.draw(attempts(tenant))
    late = data.draw(st.sets(st.sampled_from([one.id for one in used])))
    seller = Seller(books, tenant)
    for offer, following in itertools.pairwise([*changes, None]):
        assert offer is not None
        seller.change(offer)
        until = END if following is None else following.since
        now = [one for one in used if offer.since <= one.dispatched_at < until]
        books.ledger.book(tenant, [one for one in now if one.id not in late], books.prices, now=END)
    books.ledger.book(tenant, [one for one in used if one.id in late], books.prices, now=END)
    if data.draw(st.booleans()):
        Repricing(books.engine, books.prices, start=START, end=END).run(now=END)
    statement = march_of(books, tenant)
    sums = books.ledger.sums(tenant, start=START, end=END)
    check_by_the_table_alone(statement, sums["charge_pico"])
    delivered = [one for one in used if one.delivered]
    assert sum(line.requests for line in statement.lines) == len(delivered)
    counted: Counter[str] = Counter()
    for one in delivered:
        assert one.tokens is not None
        counted["input"] += one.tokens.total_input
        counted["output"] += one.tokens.total - one.tokens.total_input
    assert sum(line.input_tokens for line in statement.lines) == counted["input"]
    assert sum(line.output_tokens for line in statement.lines) == counted["output"]
    times = [one.dispatched_at for one in delivered]
    assert all(
        min(times) <= line.first_at <= line.last_at <= max(times) for line in statement.lines
    )
    (final,) = StatementStore(books.engine, grace=GRACE).finalize(tenant, MARCH, now=END + GRACE)
    assert final.lines == statement.lines


# -- single changes -----------------------------------------------------------------------------------------------------

TWO_PRICES = """
name: dated
currency: USD
entries:
- {models: [gpt-4.1], until: '2026-03-15', prices: {input: '3', output: '12'}}
- {models: [gpt-4.1], from: '2026-03-15', prices: {input: '4', output: '12'}}
"""


def sell(books: Books, tenant: str, *lists: tuple[str, str]) -> None:
    """Puts lists into force and gives them to a tenant, each from a time on."""
    for since, content in lists:
        name = books.store.load(content, now=1).name
        start = at(since) if since else 0
        books.store.assign(Assignment("charge", tenant, start, name), now=1)


def use(books: Books, *times: str, tenant: str = "uid-a", **changes: Any) -> None:
    records = [
        closed(
            attempt_id=time.replace(":", "-"), dispatched_at=at(time), tenant_uid=tenant, **changes
        )
        for time in times
    ]
    books.ledger.book(tenant, records, books.prices, now=END)


def test_a_price_with_dates_gives_two_lines_and_says_when_each_was_used(books: Books) -> None:
    sell(books, "uid-a", ("", TWO_PRICES))
    ContractStore(books.engine).put("uid-a", Terms(0, "Asia/Shanghai", tenant="acme"), now=1)
    use(books, "2026-03-02T01:00:00", "2026-03-14T23:59:59", "2026-03-15T00:00:00")
    statement = march_of(books, "uid-a")
    assert [told(line) for line in statement.lines] == [
        *(("call", 2, "0"), ("input", 2000, "3"), ("output", 200, "12")),
        *(("call", 1, "0"), ("input", 1000, "4"), ("output", 100, "12")),
    ]
    _, first, _, _, second, *_ = rows(statement)
    assert (first["first_request"], first["last_request"]) == (
        *("2026-03-02T09:00:00+08:00", "2026-03-15T07:59:59+08:00"),
    )
    assert second["first_request"] == second["last_request"] == "2026-03-15T08:00:00+08:00"
    page = statement_page(statement)
    assert "2026-03-02 09:00:00 to 2026-03-15 07:59:59" in page
    assert "<td>input</td><td>2,000</td><td>3 per 1,000,000</td><td>0.006</td>" in page
    assert "Quantity times unit price is the exact amount in USD." in page


def test_another_version_of_a_list_divides_no_line_whose_price_it_leaves(books: Books) -> None:
    sell(books, "uid-a", ("", TWO_PRICES))
    use(books, "2026-03-02")
    books.store.load(TWO_PRICES + "- {models: [other], prices: {input: '1'}}\n", now=2)
    use(books, "2026-03-03")
    call, *_ = march_of(books, "uid-a").lines
    assert call.requests == 2
    use(books, "2026-03-04")
    versions = march_of(books, "uid-a").lines[1].price_version.split(", ")
    assert len(versions) == 2


def test_a_list_that_a_tenant_has_again_has_lines_for_each_time(books: Books) -> None:
    """Also where its prices are the same: a markup is a list of its own, which comes and goes."""
    other = TWO_PRICES.replace("dated", "dated-plus-20")
    sell(
        books,
        "uid-a",
        *(("", TWO_PRICES), ("2026-03-05", other), ("2026-03-08", TWO_PRICES)),
    )
    use(books, "2026-03-02", "2026-03-06", "2026-03-09", "2026-03-10")
    statement = march_of(books, "uid-a")
    inputs = [line for line in statement.lines if line.counted == "input"]
    assert [(one.price_version.split("@")[0], one.quantity, one.first_at) for one in inputs] == [
        ("dated", 1000, at("2026-03-02")),
        ("dated-plus-20", 1000, at("2026-03-06")),
        ("dated", 2000, at("2026-03-09")),
    ]


def test_a_line_says_of_which_requests_its_price_is(books: Books) -> None:
    content = """
name: tiers
currency: USD
entries:
- {models: [gpt-4.1], prices: {input: '3', output: '12'}}
- {models: [gpt-4.1], serviceTier: batch, region: eu, prices: {input: '1.5', output: '6'}}
- {models: [gpt-4.1], aboveInputTokens: 5000, prices: {input: '6', output: '24'}}
- {models: [gpt-4.1], hours: {start: '22:00', end: '06:00'}, prices: {input: '2', output: '8'}}
"""
    sell(books, "uid-a", ("", content))
    use(books, "2026-03-02T12:00:00", "2026-03-03T23:00:00")
    use(books, "2026-03-04T12:00:00", service_tier="batch", region="eu")
    use(books, "2026-03-05T12:00:00", tokens=TokenBuckets(input=5001))
    statement = march_of(books, "uid-a")
    assert {
        (line.conditions, line.unit_price_micro)
        for line in statement.lines
        if line.counted == "input"
    } == {
        ("", 3_000_000),
        ("tier batch, region eu", 1_500_000),
        ("above 5000 input tokens", 6_000_000),
        ("22:00-06:00 UTC", 2_000_000),
    }
    assert "tier batch, region eu" in statement_page(statement)


def test_a_corrected_price_is_that_of_the_whole_line(books: Books) -> None:
    sell(books, "uid-a", ("", TWO_PRICES))
    use(books, "2026-03-02", "2026-03-16")
    books.store.load(TWO_PRICES.replace("'3'", "'2.5'"), now=2)
    Repricing(books.engine, books.prices, start=START, end=END).run(now=3)
    statement = march_of(books, "uid-a")
    inputs = [told(line) for line in statement.lines if line.counted == "input"]
    assert inputs == [("input", 1000, "2.5"), ("input", 1000, "4")]
    check_by_the_table_alone(
        statement, books.ledger.sums("uid-a", start=START, end=END)["charge_pico"]
    )


def test_corrected_requests_are_each_read_a_few_times(books: Books) -> None:
    many = 1000
    times = [f"2026-03-02T00:{number // 60:02d}:{number % 60:02d}" for number in range(many)]
    use(books, *times)
    books.store.load(RETAIL.replace("'12'", "'13'"), now=2)
    Repricing(books.engine, books.prices, start=START, end=END).run(now=3)
    march = Period(MARCH.name, START, END)
    with reading(books.engine) as connection, asked(books.engine) as questions:
        [used] = charged_use(connection, "uid-a", march)
    assert (used.requests, used.version) == (many, books.prices.lists["retail"].version)
    assert questions.rows_read(books.engine) < 20 * many


def test_tools_have_unit_prices_and_a_failure_that_is_free_has_none(books: Books) -> None:
    sell_tools(books)
    day = at("2026-03-02")
    calls = [
        tool_call(round_id="read", name="read_all", called_at=day),
        tool_call(round_id="well", name="flaky", called_at=day),
        tool_call(round_id="ill", name="flaky", outcome="tool_error", called_at=day),
    ]
    book_calls(books, *calls, now=day)
    lines = {(one.model, one.unit_price_micro): one for one in march_of(books, "uid-a").lines}
    assert lines.keys() == {("flaky", 1), ("flaky", None), ("read_all", 5000)}
    assert lines["flaky", None].requests == 1
    assert lines["flaky", None].amount_pico == 0


def test_what_an_older_ledger_booked_keeps_its_amount_and_has_no_unit_price(books: Books) -> None:
    posting = posting_of(closed(dispatched_at=at("2026-03-02")), books.prices)
    former = replace(posting, charge=replace(posting.charge, entry=NO_ENTRY))
    Partitions(books.engine).ensure([posting.dispatched_at])
    with writing(books.engine, "uid-a") as connection:
        BatchBooking(connection, "uid-a", now=1).add([former])
    use(books, "2026-03-03")
    *new, old = march_of(books, "uid-a").lines
    assert [told(line) for line in new] == [
        *(("call", 1, "0"), ("input", 1000, "3"), ("output", 100, "12")),
    ]
    assert (old.unit_price_micro, old.amount_pico) == (None, 4_200_000_000)
    assert (old.requests, old.input_tokens, old.output_tokens) == (1, 1000, 100)
    assert old.price_version == books.prices.lists["retail"].version
