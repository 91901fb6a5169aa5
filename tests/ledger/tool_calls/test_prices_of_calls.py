"""What tool calls cost: once each, by the price of their moment, and nothing that no server has carried out."""

import time
from typing import Any, get_args

import pytest
from sqlalchemy import inspect, select, text
from tests.ledger.conftest import COSTS, RETAIL, Books
from tests.ledger.ledger_process import LedgerProcess
from tests.ledger.postgresql_server import PostgresqlServer
from tests.ledger.tool_calls.prices import RETAIL_OF_TOOLS, book, sell_tools
from tests.unit.relay_contract.billing.records import NOON, closed, denied_call, tool_call

from relay_contract.billing.event_line import line_digest
from relay_contract.billing.tool_call import (
    CARRIED_OUT,
    IN_DOUBT,
    ToolCall,
    ToolOutcome,
    tool_call_line,
)
from relay_ledger.booking.posting import FIGURES
from relay_ledger.booking.price_book import Assignment
from relay_ledger.store.bills.own_use_reading import cost_of
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.databases import open_database, reading
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.migrations.steps import migrate
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.repricing import Difference, Repricing
from relay_ledger.store.schema import upgrade
from relay_ledger.store.tables import POSTINGS
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

DAY = 24 * 3600 * 10**6
MICRO = 10**6
ALWAYS = {"start": 0, "end": 2**60}


def sums(books: Books, tenant_uid: str = "uid-a") -> dict[str, int]:
    """Returns what is not 0 of a tenant's figures."""
    found = books.ledger.sums(tenant_uid, **ALWAYS)
    return {name: figure for name, figure in found.items() if figure}


def postings(books: Books) -> list[dict[str, Any]]:
    with reading(books.engine) as connection:
        rows = connection.execute(
            select(POSTINGS).order_by(POSTINGS.c.dispatched_at, POSTINGS.c.sequence)
        )
        return [dict(row._mapping) for row in rows]


def priced(micro: int, charge_micro: int, calls: int = 1) -> dict[str, int]:
    return {
        "tool_calls": calls,
        "cost_pico": micro * MICRO,
        "charge_pico": charge_micro * MICRO,
    }


def test_a_call_is_paid_for_once_at_the_price_of_its_moment(books: Books) -> None:
    sell_tools(books)
    midnight = 1_790_035_200_000_000
    before, after = (
        tool_call(called_at=at, round_id=name)
        for at, name in ((midnight - 1, "before"), (midnight, "after"))
    )
    book(books, before, now=midnight)
    assert sums(books) == priced(1000, 5000)
    # delivered again, alone and with another, and long after the price has changed
    book(books, after, before, before, now=midnight)
    book(books, before, after, now=midnight + DAY)
    assert sums(books) == priced(3000, 10_000, 2)
    first, second = postings(books)
    assert (first["event_id"], first["side"], first["provider"], first["model"]) == (
        *(before.id, "tool", "erp", "read_invoice"),
    )
    assert (first["cost_pico"], second["cost_pico"]) == (1000 * MICRO, 2000 * MICRO)
    assert first["charge_version"] == books.prices.lists["retail"].version
    assert books.ledger.differences(start=0, end=2**60) == []
    # it is no attempt
    assert books.ledger.standing("uid-a").tally.closed == 0


def test_the_same_call_with_another_content_is_kept_apart_and_costs_nothing(books: Books) -> None:
    sell_tools(books)
    book(books, tool_call(), now=NOON)
    receipt = book(books, tool_call(outcome="tool_error"), now=NOON)
    assert [one.reason for one in receipt.quarantined] == ["conflict"]
    assert sums(books) == priced(1000, 5000)


@pytest.mark.parametrize("outcome", get_args(ToolOutcome))
def test_a_tenant_pays_for_what_a_server_has_carried_out(
    books: Books, outcome: ToolOutcome
) -> None:
    sell_tools(books)
    book(books, tool_call(outcome=outcome), now=NOON)
    if outcome in CARRIED_OUT:
        assert sums(books) == priced(1000, 5000)
    elif outcome in IN_DOUBT:
        # the server may bill it, so its price is held, and nobody is charged
        assert sums(books) == {"held_pico": 1000 * MICRO}
    else:
        assert postings(books) == []


def test_nothing_else_than_calls_of_tools_has_a_price(books: Books) -> None:
    sell_tools(books)
    book(
        books,
        tool_call(round_id="1", method="prompts/get"),
        tool_call(round_id="2", method="resources/read", name=""),
        denied_call(round_id="3"),
        now=NOON,
    )
    assert postings(books) == []


def test_a_call_that_its_tool_says_failed_costs_what_its_price_says(books: Books) -> None:
    sell_tools(books)
    free = tool_call(round_id="1", name="flaky", outcome="tool_error")
    book(books, free, now=NOON)
    [posting] = postings(books)
    assert (posting["cost_state"], posting["charge_state"]) == ("priced", "priced")
    assert sums(books) == {"tool_calls": 1}
    book(books, tool_call(round_id="2", name="flaky"), now=NOON)
    assert sums(books) == priced(4000, 1, 2)


def test_a_tool_is_priced_by_the_name_that_its_server_gives_it(books: Books) -> None:
    sell_tools(books)
    book(books, tool_call(name="crm_read_all", own_name="read_all"), now=NOON)
    assert sums(books) == priced(1000, 5000)
    assert postings(books)[0]["model"] == "read_all"


def test_without_a_price_a_call_is_free_or_unpriced_and_never_zero_by_mistake(
    books: Books,
) -> None:
    sell_tools(books)
    receipt = book(
        books,
        # the list has prices of erp, and none that covers this one
        tool_call(round_id="1", name="pay"),
        # it has none of wiki, and nobody says what wiki costs
        tool_call(round_id="2", server="wiki"),
        now=NOON,
    )
    assert receipt.unpriced_calls == {"cost": 0, "charge": 1}
    assert receipt.unpriced == {}
    assert {row["model"]: row["charge_state"] for row in postings(books)} == {
        "pay": "unpriced",
        "read_invoice": "free",
    }
    assert postings(books)[0]["charge_detail"] == "tool erp/pay"
    assert sums(books) == {"tool_calls": 2, "cost_pico": 1000 * MICRO, "charge_unpriced": 1}
    # a tenant without a list is not billed
    book(books, tool_call(tenant_uid="uid-b"), now=NOON)
    assert sums(books, "uid-b") == {"tool_calls": 1, "cost_pico": 1000 * MICRO}
    # a server whose prices are not there any more has none, which is not 0
    books.store.load("name: empty\ncurrency: USD\nentries: []\ntools: [{tools: [x], perCall: '1'}]", now=3)  # fmt: skip
    books.store.assign(Assignment("tool_cost", "wiki", 0, "empty"), now=3)
    receipt = book(books, tool_call(round_id="3", server="wiki", called_at=NOON + 1), now=NOON)
    assert receipt.unpriced_calls == {"cost": 1, "charge": 0}
    unpriced = MonthSums(books.engine).unpriced(now=NOON)
    assert unpriced == {"cost": {}, "tool_cost": {"wiki": ["read_invoice"]}, "charge": {"uid-a": ["erp/pay"]}}  # fmt: skip


def test_a_provider_of_the_same_name_is_another_account(books: Books) -> None:
    sell_tools(books)
    books.store.load(COSTS.replace("name: openai", "name: cost..erp"), now=3)
    books.store.assign(Assignment("cost", "erp", 0, "cost..erp"), now=3)
    books.ledger.book("uid-a", [closed(provider="erp")], books.prices, now=NOON)
    book(books, tool_call(), now=NOON)
    # 1,000 of input at 2 and 100 of output at 8
    assert cost_of(books.engine, "erp", **ALWAYS) == 2800 * MICRO
    assert sums(books)["cost_pico"] == 3800 * MICRO


def test_a_correction_of_past_prices_books_the_differences_once(books: Books) -> None:
    sell_tools(books)
    calls = [
        tool_call(round_id="1"),
        tool_call(round_id="2", called_at=NOON + 1, outcome="unknown"),
        tool_call(round_id="3", called_at=NOON + 2, name="pay"),
        tool_call(round_id="4", called_at=NOON + 3, name="flaky"),
    ]
    book(books, *calls, now=NOON)
    before = sums(books)
    dearer = RETAIL_OF_TOOLS.replace("'0.005'", "'0.007'").replace('["read_*"]', '["read_*", pay]')
    sell_tools(books, dearer)

    def repricing() -> Repricing:
        return Repricing(books.engine, books.prices, start=NOON, end=NOON + DAY)

    expected = {"uid-a": Difference(tool_calls=2, cost_pico=0, charge_pico=9000 * MICRO)}
    assert repricing().dry_run() == expected
    assert sums(books) == before
    assert repricing().run(now=NOON + DAY) == expected
    after = before | {"charge_pico": before["charge_pico"] + 9000 * MICRO}
    del after["charge_unpriced"]
    assert sums(books) == after
    # again it changes nothing, and a repeated delivery does not either
    assert repricing().run(now=NOON + 2 * DAY) == {}
    book(books, *calls, now=NOON + 2 * DAY)
    assert sums(books) == after
    costs = (
        "name: tools..erp\ncurrency: USD\nentries: []\ntools: [{tools: ['*'], perCall: '0.003'}]"
    )
    sell_tools(books, dearer, costs)
    assert repricing().run(now=NOON + 3 * DAY) == {
        "uid-a": Difference(tool_calls=4, cost_pico=3000 * MICRO, charge_pico=0)
    }
    assert sums(books)["held_pico"] == 3000 * MICRO
    assert books.ledger.differences(start=0, end=2**60) == []


def test_calls_of_a_ledger_without_prices_of_tools_stay_and_can_be_priced(
    tmp_path: Any, postgresql: PostgresqlServer
) -> None:
    for address in (f"sqlite:///{tmp_path}/old.db", postgresql.create("without_prices")):
        engine = open_database(address)
        with engine.begin() as connection:
            migrate(connection, "0008")
        call = tool_call()
        _book_as_before(engine, call)
        upgrade(engine)
        store = PriceBookStore(engine)
        books = Books(engine, Ledger(engine), store)
        for content in (RETAIL, COSTS):
            store.load(content, now=1)
        books.bill("uid-a")
        # the sums of attempts are as they were, and the call has cost nothing
        assert sums(books) == {"attempts": 3, "charge_pico": 7}
        assert ToolCallStore(engine).book("uid-a", [call], books.prices, now=NOON).repeated == 1
        sell_tools(books)
        repricing = Repricing(engine, books.prices, start=NOON, end=NOON + 1)
        assert repricing.run(now=NOON) == {
            "uid-a": Difference(tool_calls=1, cost_pico=1000 * MICRO, charge_pico=5000 * MICRO)
        }
        assert repricing.run(now=NOON) == {}
        assert sums(books)["charge_pico"] == 5000 * MICRO + 7
        assert sums(books)["tool_calls"] == 1
        engine.dispose()


def _book_as_before(engine: Any, call: ToolCall) -> None:
    """Writes rows as the ledger of version 0008 did: a tool call, and sums of attempts."""
    Partitions(engine).ensure([NOON])
    row = call.model_dump(exclude={"version", "id", "kind", "limit", "own_name"})
    digest = line_digest(tool_call_line(call))
    row |= {"event_id": call.id, "limit_name": "", "digest": digest, "received_at": NOON}
    names = ("tenant_uid", "route", "side", "provider", "model", "key_name", "usage_source")
    had = {column["name"] for column in inspect(engine).get_columns("sums")}
    summed = dict.fromkeys(names, "a") | {figure: 0 for figure in FIGURES if figure in had}
    summed |= {"tenant_uid": "uid-a", "quarter": 0, "attempts": 3, "charge_pico": 7}
    with engine.begin() as connection:
        for table, values in (("tool_calls", row), ("sums", summed)):
            statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(':' + name for name in values)})"
            connection.execute(text(statement), values)


def test_a_serving_ledger_prices_calls_and_counts_them(
    serving: LedgerProcess, books: Books
) -> None:
    sell_tools(books)
    serving.kill()
    serving.start()
    at = time.time_ns() // 1000
    calls = [
        tool_call(called_at=at, round_id="1"),
        tool_call(called_at=at, round_id="2", name="pay"),
        tool_call(called_at=at, round_id="3", outcome="unknown"),
    ]
    assert serving.send_tool_calls(calls).json()["booked"] == 3
    assert sums(books)["charge_pico"] == 5000 * MICRO
    told = serving.admin("/metrics").text
    for line in (
        'relay_ledger_booked_tool_calls_total{server="erp"} 2.0',
        'relay_ledger_booked_tool_micro_usd_total{account="charge",server="erp"} 5000.0',
        'relay_ledger_booked_tool_micro_usd_total{account="cost",server="erp"} 4000.0',
        'relay_ledger_unpriced_tool_calls_total{account="charge"} 1.0',
        'relay_ledger_unpriced_attempts_total{account="charge"} 0.0',
    ):
        assert line in told
