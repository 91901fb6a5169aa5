"""A call of a tool is paid for from the tenant's budget before it is sent, and refused in the protocol's words where nothing covers it."""

from typing import Any

import pytest
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import Platform
from tests.blackbox.test_budgets import CALL, RATE, ServeBy, bounded, give_budget, standing
from tests.blackbox.test_budgets import ledger as ledger
from tests.blackbox.test_budgets import pod as pod
from tests.blackbox.tool_calls import SECRET, call, document
from tests.blackbox.tool_server import ToolServer, called, result
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer
from tests.ledger.ledger_process import LedgerProcess

from relay_contract.spending import Spending, ToolRate

pytestmark = pytest.mark.timeout(180)
MICRO = CALL // 10**6
"""Of one call of a tool."""
PRICED = (
    ToolRate(server="erp", name="read_*", call=MICRO),
    ToolRate(server="erp", name="list_orders", call=MICRO, pays_errors=False),
    ToolRate(server="erp", name="list_secrets", call=0),
)
GRANTED = ("read_invoice", "list_orders", "list_secrets", "pay")
PATIENCE = 60.0


def give_tools(
    relay: Relay, platform: Platform, erp: ToolServer, spending: Spending, **fields: Any
) -> None:
    relay.give_key("tools-erp", SECRET)
    whole = document(platform, erp, GRANTED, **fields)
    tenant = whole.tenant.model_copy(update={"spending": spending})
    relay.push(whole.model_copy(update={"tenant": tenant}))


def called_in_time(relay: Relay, name: str) -> Answer:
    """Calls again while more of the budget is on its way."""
    return eventually(
        lambda: call(relay, name),
        lambda answer: answer.status != 429,
        what=f"an answer of {name}",
        within_seconds=PATIENCE,
    )


def error(answer: Answer) -> tuple[int, str]:
    assert answer.status == 200, answer
    found = answer.json().get("error") or {"code": 0, "message": ""}
    return found["code"], found["message"].partition(":")[0].partition(".")[0]


def failing(body: dict[str, Any]) -> Any:
    return result(body, {**called(body["params"]), "isError": True})


SPENT = (-32000, "The tenant's budget is spent")
SERVED = (0, "")


def test_calls_are_paid_for_until_the_budget_is_spent(
    ledger: LedgerProcess, pod: ServeBy, platform: Platform, erp: ToolServer
) -> None:
    give_budget(ledger, 2)
    spending = bounded(tool_rates=PRICED)
    relay = pod("a", spending)
    give_tools(relay, platform, erp, spending)
    erp.behaviours["list_orders"] = failing
    # what the tool says failed costs nothing at this price, and what is free is free
    for name in ("list_orders", "list_secrets", "list_orders", "list_orders"):
        assert error(called_in_time(relay, name)) == SERVED
    assert [error(called_in_time(relay, "read_invoice")) for _ in range(3)] == [
        *(SERVED, SERVED, SPENT),
    ]
    sent = len(erp.calls())
    assert error(called_in_time(relay, "read_invoice")) == SPENT
    assert error(called_in_time(relay, "list_orders")) == SPENT
    # nobody asked the server, and what costs nothing is served
    assert len(erp.calls()) == sent
    assert error(called_in_time(relay, "list_secrets")) == SERVED
    # a model is paid for from the same budget
    assert relay.chat(max_tokens=100).status == 429
    told = eventually(
        lambda: standing(ledger).standings[0].spent,
        lambda spent: spent == 2 * CALL,
        what="the spending that the pod tells",
        within_seconds=PATIENCE,
    )
    assert told == 2 * CALL


def test_a_call_without_a_price_is_refused_where_money_bounds_the_tenant(
    ledger: LedgerProcess, pod: ServeBy, platform: Platform, erp: ToolServer
) -> None:
    give_budget(ledger, 10)
    spending = bounded(tool_rates=PRICED)
    relay = pod("a", spending)
    give_tools(relay, platform, erp, spending)
    assert error(call(relay, "pay")) == (-32000, "The tool has no price, and the tenant's calls without one are refused")  # fmt: skip
    assert erp.calls() == []
    served = spending.model_copy(update={"on_unpriced": "Serve"})
    give_tools(relay, platform, erp, served)
    assert error(call(relay, "pay")) == SERVED
    unbound = Spending(rates=(RATE,), tool_rates=PRICED, on_unpriced="Refuse")
    give_tools(relay, platform, erp, unbound)
    assert error(call(relay, "pay"))[0] == -32000
    assert error(call(relay, "list_secrets")) == SERVED
    # a list that sells none of the server's tools gives them away, and without a limit nothing is asked
    for free in (bounded(), Spending(rates=(RATE,), tool_rates=PRICED)):
        give_tools(relay, platform, erp, free)
        assert error(call(relay, "pay")) == SERVED


def test_a_call_that_its_server_does_not_answer_costs_nothing(
    ledger: LedgerProcess, pod: ServeBy, platform: Platform, erp: ToolServer
) -> None:
    give_budget(ledger, 1)
    spending = bounded(tool_rates=PRICED)
    relay = pod("a", spending)
    give_tools(relay, platform, erp, spending)
    erp.behaviours["read_invoice"] = lambda body: (200, "application/json", b"{no answer")
    for _ in range(3):
        assert called_in_time(relay, "read_invoice").status == 502
    erp.behaviours.pop("read_invoice")
    assert error(called_in_time(relay, "read_invoice")) == SERVED
    assert error(called_in_time(relay, "read_invoice")) == SPENT
