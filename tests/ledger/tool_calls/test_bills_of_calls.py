"""What people read of the money of tool calls: statements, reports of both sides, and what is left of budgets and credit."""

import csv
import io
import json
from datetime import UTC, datetime

from tests.ledger.conftest import Books
from tests.ledger.shell import Shell
from tests.ledger.test_budgets import Pod, budget
from tests.ledger.tool_calls.prices import RETAIL_OF_TOOLS, book, sell_tools
from tests.unit.relay_contract.billing.records import NOON, closed, tool_call

from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.periods.months import Month
from relay_ledger.reading.usage_desk import UsageDesk
from relay_ledger.reports.pages.document import name
from relay_ledger.statements.statement_page import statement_page
from relay_ledger.statements.statement_table import csv_table, json_document
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.credits import CreditStore, Payment
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.repricing import Repricing

DAY = 24 * 3600 * 10**6
MICRO = 10**6
SEPTEMBER, OCTOBER = Month(2026, 9), Month(2026, 10)
ELSEWHERE = """
name: elsewhere
currency: USD
entries: [{models: [gpt-4.1], prices: {input: '1', output: '4'}}]
tools: [{server: erp, tools: [read_all], perCall: '0.0005'}]
"""
GRACE = 72 * 3600 * 10**6


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def use_both(books: Books) -> None:
    """Books a model's attempt, three calls of its namesake among tools, one of another tool without a price, and one that failed."""
    books.ledger.book("uid-a", [closed(key_name="app")], books.prices, now=NOON)
    book(
        books,
        *(tool_call(round_id=f"read-{n}", name="read_all") for n in range(3)),
        tool_call(round_id="pay", name="pay"),
        tool_call(round_id="lost", name="read_all", outcome="unavailable"),
        tool_call(round_id="no", name="read_all", outcome="denied", server="", rule=""),
        now=NOON,
    )


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_statement_has_a_line_for_each_tool(books: Books) -> None:
    sell_tools(books)
    use_both(books)
    statements = StatementStore(books.engine, grace=GRACE)
    (draft,) = statements.statements("uid-a", SEPTEMBER, now=NOON)
    assert [
        (line.server, line.model, line.requests, line.unpriced, line.amount_pico)
        for line in draft.lines
    ] == [
        ("", "gpt-4.1", 1, 0, 0),
        ("", "gpt-4.1", 0, 0, 3000 * MICRO),
        ("", "gpt-4.1", 0, 0, 1200 * MICRO),
        ("erp", "pay", 1, 1, 0),
        ("erp", "read_all", 3, 0, 15_000 * MICRO),
    ]
    assert draft.lines[-1].price_version == books.prices.lists["retail"].version
    model, _, _, pay, read_all, total = rows(csv_table(draft))
    assert (model["model"], model["server"], model["tool"]) == ("gpt-4.1", "", "")
    assert (read_all["model"], read_all["server"], read_all["tool"]) == ("", "erp", "read_all")
    assert (read_all["requests"], read_all["amount_usd"]) == ("3", "0.015")
    assert (read_all["counted"], read_all["unit_price_usd"], read_all["per"]) == (
        *("call", "0.005", "1"),
    )
    assert (pay["unpriced_requests"], pay["amount_usd"]) == ("1", "0.00")
    assert (total["kind"], total["amount_usd"], total["unpriced_requests"]) == (
        *("total", "0.0192", "1"),
    )
    told = json.loads(json_document(draft))["lines"]
    assert [line["tool"] for line in told] == ["", "", "", "pay", "read_all"]
    page = statement_page(draft)
    assert f"<td>{name('erp/read_all (tool)')}<br>" in page
    assert "1 requests without a price, not charged" in page


def test_a_late_call_and_a_corrected_price_are_adjustments_of_their_tool(books: Books) -> None:
    sell_tools(books)
    use_both(books)
    statements = StatementStore(books.engine, grace=GRACE)
    due = at("2026-11-01") + GRACE
    (september,) = statements.finalize("uid-a", SEPTEMBER, now=due)
    book(books, tool_call(round_id="late", name="read_all", called_at=NOON + 1), now=due)
    sell_tools(books, RETAIL_OF_TOOLS.replace('["read_*"]', '["read_*", pay]'))
    Repricing(books.engine, books.prices, start=NOON, end=NOON + DAY).run(now=due)
    (october,) = statements.finalize("uid-a", OCTOBER, now=due)
    assert [
        (line.kind, line.period, line.server, line.model, line.amount_pico)
        for line in october.lines
    ] == [
        ("adjustment", "2026-09", "erp", "pay", 5000 * MICRO),
        ("adjustment", "2026-09", "erp", "read_all", 5000 * MICRO),
    ]
    charged = books.ledger.sums("uid-a", start=0, end=2**60)["charge_pico"]
    assert september.total_pico + october.total_pico == charged
    # a final one is read as it was written
    assert statements.statements("uid-a", SEPTEMBER, now=due) == [september]


def test_a_tenant_is_told_what_its_tools_came_to_beside_its_models(books: Books) -> None:
    sell_tools(books)
    use_both(books)
    desk = UsageDesk(books.engine, LedgerLog())
    report = desk.report("uid-a", "2026-09-01", "2026-10-01", now=NOON)
    desk.close()
    summary = report["summary"]
    assert (summary["requests"], summary["attempts"], summary["amount"]) == (1, 1, "0.0192")
    assert (summary["tool_calls"], summary["tool_amount"], summary["tool_unpriced_calls"]) == (
        *(4, "0.015", 1),
    )
    assert summary["usage_source"]["provider"]["share"] == "1.0000"
    assert [one["model"] for one in report["by_model"]] == ["gpt-4.1"]
    assert report["by_tool"] == [
        {"server": "erp", "tool": "read_all", "calls": 3, "amount": "0.015", "unpriced_calls": 0},
        {"server": "erp", "tool": "pay", "calls": 1, "amount": "0.00", "unpriced_calls": 1},
    ]


def test_the_platform_is_told_what_tools_cost_and_earned(
    books: Books, address: str, shell: Shell
) -> None:
    sell_tools(books)
    use_both(books)
    period = ("--from", "2026-09-21", "--until", "2026-09-22")
    code, out, _ = shell.run(address, "report", *period, "--by", "side,provider,model")
    assert code == 0
    model, pay, read_all = rows(out)
    assert (model["side"], model["attempts"], model["tool_calls"]) == ("stable", "1", "0")
    assert (pay["provider"], pay["model"], pay["charge_unpriced"]) == ("erp", "pay", "1")
    assert (read_all["side"], read_all["attempts"], read_all["tool_calls"]) == ("tool", "0", "3")
    assert (read_all["cost_usd"], read_all["charge_usd"], read_all["margin_usd"]) == (
        *("0.003", "0.015", "0.012"),
    )
    # the one that fell silent may be billed
    assert read_all["held_usd"] == "0.001"
    code, out, _ = shell.run(address, "report", *period, "--format", "focus")
    tools = [row for row in rows(out) if row["ResourceType"] == "Tool"]
    assert [(row["ResourceId"], row["ConsumedQuantity"], row["ConsumedUnit"]) for row in tools] == [
        ("pay", "1", "Calls"),
        ("read_all", "3", "Calls"),
    ]
    assert (tools[1]["ServiceName"], tools[1]["BilledCost"], tools[1]["x_TenantCharge"]) == (
        *("erp", "0.003", "0.015"),
    )
    assert sum(row["ResourceType"] == "Model" for row in rows(out)) == 1


def test_a_call_is_spent_of_its_pods_part_of_a_budget_and_of_credit(books: Books) -> None:
    sell_tools(books)
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    pod = Pod(store, "a")
    pod.ask(NOON, wanted=20_000 * MICRO)
    use_both(books)
    before = pod.ask(NOON).base
    book(books, tool_call(round_id="mine", relay="a"), now=NOON)
    assert pod.ask(NOON).base - before == 5000 * MICRO
    paid = CreditStore(books.engine)
    paid.add("uid-a", Payment("first", 10**12), now=NOON)
    # the quarter of an hour of the payment counts as a whole
    assert paid.balance("uid-a") == 10**12 - (4200 + 20_000) * MICRO
    book(books, tool_call(round_id="again", called_at=NOON + 1), now=NOON)
    assert paid.balance("uid-a") == 10**12 - (4200 + 25_000) * MICRO


def test_an_alert_of_a_budget_is_crossed_by_tool_calls_alone(books: Books) -> None:
    sell_tools(books)
    store = BudgetStore(books.engine)
    store.put(budget(amount_pico=10_000 * MICRO, alert_at_percent=(50,)), now=NOON)
    book(books, tool_call(round_id="1"), now=NOON)
    [one] = store.standings(["uid-a"], now=NOON).alerts
    assert (one.tenant_uid, one.alert.threshold) == ("uid-a", 50)


def test_who_called_what_is_told_with_its_amount(books: Books, address: str, shell: Shell) -> None:
    sell_tools(books)
    use_both(books)
    sell_tools(books, RETAIL_OF_TOOLS.replace("'0.005'", "'0.007'"))
    Repricing(books.engine, books.prices, start=NOON, end=NOON + DAY).run(now=NOON + DAY)
    period = ("--from", "2026-09-21", "--until", "2026-09-22", "--format", "json")
    code, out, _ = shell.run(address, "tools", *period, "--by", "tool,outcome")
    assert code == 0
    told = {
        (row["tool"], row["outcome"]): (row["unpriced"], row["cost_usd"], row["amount_usd"])
        for row in json.loads(out)["rows"]
    }
    assert told == {
        ("pay", "ok"): (1, "0.001", "0.00"),
        ("read_all", "denied"): (0, "0.00", "0.00"),
        ("read_all", "ok"): (0, "0.003", "0.021"),
        ("read_all", "unavailable"): (0, "0.00", "0.00"),
    }
    total = json.loads(out)["total"]
    assert (total["calls"], total["cost_usd"], total["amount_usd"]) == (6, "0.004", "0.021")
    _, out, _ = shell.run(address, "tools", *period, "--each", "--tool", "read_all")
    # each with what its correction has added
    assert sorted(call["amount_usd"] for call in json.loads(out)["calls"]) == [
        *("0.00", "0.00", "0.007", "0.007", "0.007"),
    ]
    shown = shell.run(address, "tools", *period[:4], "--by", "server")[1].splitlines()
    assert shown[0].split()[-1] == "amount_usd"
    assert shown[-1].split()[-1] == "0.021"


def test_a_comparison_has_tools_beside_models(books: Books, address: str, shell: Shell) -> None:
    sell_tools(books)
    use_both(books)
    books.store.load(ELSEWHERE, now=3)
    book(books, tool_call(round_id="wiki", server="wiki"), now=NOON)
    book(books, tool_call(round_id="other", tenant_uid="uid-b", name="read_all"), now=NOON)
    compare = ("compare", "--price-list", "elsewhere", "--month", "2026-09")
    found = json.loads(shell.run(address, *compare)[1])
    assert found["total"]["attempts"] == 1
    assert found["total_of_tools"] == {
        "calls": 4,
        "booked_usd": "0.004",
        "other_usd": "0.002",
        "difference_usd": "-0.002",
        "other_of_booked": "0.5000",
        "unpriced_calls": 0,
        # one of a tool that the list does not cover, one of a server that it does not name
        "unpriced_calls_of_other": 2,
    }
    by_tool = {(one["server"], one["tool"]): one["calls"] for one in found["by_tool"]}
    assert by_tool == {("erp", "pay"): 0, ("erp", "read_all"): 4, ("wiki", "read_invoice"): 0}
    alone = json.loads(shell.run(address, *compare, "--tenant", "uid-b")[1])
    assert alone["total_of_tools"]["other_usd"] == "0.0005"
