"""A platform without a ledger holds no budget and prices nothing, and says so; what relays count themselves holds all the same."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.ledger.test_price_push import price_list, told
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.spending import SessionCaps, Spending
from relay_operator.reconcile.ledger.lists_without_ledger import LOOK_SECONDS


async def serving(stage: Stage, **billing: Any) -> Life:
    stage.provider("legacy")
    stage.tenant(billing=billing)
    life = await stage.operator()
    await stage.settle(5)
    stage.pod()
    await stage.settle(20)
    return life


def spending_of(stage: Stage) -> Spending | None:
    pod = stage.server.list("Pod", namespace="relay-finance")[0]
    return stage.relays.documents[pod["metadata"]["uid"]].tenant.spending


@pytest.mark.parametrize(
    ("billing", "named"),
    [
        ({"budget": {"amount": "250", "period": "Month", "hard": True}}, "spec.billing.budget"),
        ({"budget": {"amount": "250", "period": "Month", "hard": False}}, "spec.billing.budget"),
        ({"credit": {}}, "spec.billing.credit"),
        ({"sessionCaps": {"calls": 5, "amount": "5"}}, "spec.billing.sessionCaps.amount"),
    ],
)
@in_virtual_time
async def test_a_tenant_whose_spending_nobody_counts_is_not_ready(
    billing: dict[str, Any], named: str
) -> None:
    stage = Stage()
    life = await serving(stage, priceList="standard", **billing)
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("Unknown", "NoLedger")
    assert told(stage, "Tenant", "finance", "Ready") == ("False", "NoLedger")
    assert told(stage, "Tenant", "finance", "Stalled") == ("True", "NoLedger")
    assert told(stage, "Tenant", "finance", "Reconciling") == ("", "")
    assert f"against {named}," in stage.condition("Tenant", "finance", "Ready")["message"]
    await life.end()


@in_virtual_time
async def test_calls_and_tokens_of_a_session_are_capped_without_a_ledger() -> None:
    stage = Stage()
    caps = {"calls": 5, "tokens": 900, "amount": "5"}
    budget = {"amount": "250", "period": "Month", "hard": True}
    life = await serving(stage, priceList="standard", budget=budget, sessionCaps=caps)
    # a limit in the document would have relays ask a ledger that is not there, and refuse every call
    assert spending_of(stage) == Spending(session_caps=SessionCaps(calls=5, tokens=900))
    await life.end()


@pytest.mark.parametrize("billing", [{"priceList": "standard"}, {"sessionCaps": {"tokens": 900}}])
@in_virtual_time
async def test_a_tenant_that_needs_no_ledger_is_ready_without_one(billing: dict[str, Any]) -> None:
    stage = Stage()
    life = await serving(stage, **billing)
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("", "")
    assert told(stage, "Tenant", "finance", "Ready") == ("True", "Available")
    await life.end()


@in_virtual_time
async def test_a_price_list_says_that_there_is_no_ledger() -> None:
    stage = Stage()
    price_list(stage)
    life = await stage.operator()
    await stage.settle(LOOK_SECONDS + 2)
    assert told(stage, "PriceList", "standard", "Ready") == ("False", "NoLedger")
    assert told(stage, "PriceList", "standard", "Stalled") == ("True", "NoLedger")
    price_list(stage, "second")
    price_list(stage, models=[])
    await stage.settle(LOOK_SECONDS + 2)
    for name in ("standard", "second"):
        stored = stage.server.stored("PriceList", name)
        assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]
    await life.end()


@in_virtual_time
async def test_what_the_ledger_said_of_a_list_goes_when_the_platform_has_none_any_more() -> None:
    stage = Stage()
    price_list(stage)
    status = {"version": "a1", "tenants": 3, "conditions": []}
    api = stage.server.connect(None)
    await api.patch("PriceList", "standard", {"status": status}, subresource="status")
    life = await stage.operator()
    await stage.settle(LOOK_SECONDS + 2)
    stored = stage.server.stored("PriceList", "standard")["status"]
    assert "version" not in stored
    assert "tenants" not in stored
    await life.end()
