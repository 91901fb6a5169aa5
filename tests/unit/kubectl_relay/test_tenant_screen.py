"""What the screen of a tenant tells of its bill and its tools, of objects that the operator wrote; the ledger is the real one, on SQLite."""

from pathlib import Path
from typing import Any

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.ledger.test_budget_push import budget, stage_with_budgets
from tests.unit.relay_operator.reconcile.ledger.test_price_push import uid
from tests.unit.relay_operator.reconcile.ledger.test_without_a_ledger import serving as unbounded
from tests.unit.relay_operator.reconcile.tools.test_tool_servers import listing, serving
from tests.unit.relay_operator.virtual_time import in_virtual_time

from kubectl_relay.texts import tenant as tenant_text
from kubectl_relay.texts.screen import Screen
from kubectl_relay.views.tenant import status_view


def lines(stage: Stage) -> dict[str, str]:
    """Returns the facts of the tenant's screen by their labels, and what is wrong as `screen`."""
    body: dict[str, Any] = stage.server.stored("Tenant", "finance")
    screen = Screen(width=10_000, has_colour=False, now=stage.clock())
    told = list(tenant_text.status(status_view("relay-finance", body, [], [], []), screen))
    facts = dict(line.strip().split(maxsplit=1) for line in told if line.startswith("  "))
    return facts | {"screen": "\n".join(told)}


@in_virtual_time
async def test_a_bill_tells_what_is_owed_and_how_much_of_the_budget_that_is(tmp_path: Path) -> None:
    stage, ledger, _, _ = stage_with_budgets(tmp_path)
    stage.tenant(billing=budget())
    life = await stage.operator()
    await stage.settle(40)
    ledger.sell(uid(stage))
    await stage.settle(400)
    month = stage.status("Tenant", "finance")["billing"]["month"]
    owed, used, left = lines(stage)["bill"].split("; ")
    assert (owed, used) == (f"0.0042 USD in {month}", "50 % of what it may spend")
    assert left.startswith("the budget of 0.0084 USD until ")
    ledger.sell(uid(stage), attempt_id="second")
    await stage.settle(400)
    told = lines(stage)
    assert told["bill"] == f"0.0084 USD in {month}; 100 % of what it may spend"
    assert "WithinBudget False (BudgetSpent)" in told["screen"]
    assert told["screen"].count("calls are refused with insufficient_quota until then") == 1
    await life.end()


@in_virtual_time
async def test_a_tenant_that_is_not_billed_has_no_bill_and_one_that_nobody_counts_says_so_once() -> (
    None
):
    stage = Stage()
    life = await unbounded(stage, priceList="standard", budget={"amount": "250", "period": "Month"})
    told = lines(stage)
    assert "bill" not in told
    assert told["screen"].count("the platform has no ledger") == 1
    await life.end()


@in_virtual_time
async def test_tools_tell_what_can_be_used_or_what_keeps_them() -> None:
    stage = listing()
    life = await serving(stage)
    assert lines(stage)["tools"].startswith("2 tools, 0 prompts and 0 patterns of resources of erp")
    stage.tenant(tools={"grants": [{"server": "crm", "tools": ["*"]}]})
    await stage.settle(10)
    told = lines(stage)
    assert "tools" not in told
    assert told["screen"].count("there is no ToolServer crm") == 1
    await life.end()


@in_virtual_time
async def test_a_tenant_without_tools_has_no_line_of_them() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle(5)
    assert "tools" not in lines(stage)
    await life.end()
