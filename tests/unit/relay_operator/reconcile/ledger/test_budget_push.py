"""Budgets of Tenants are in force in the ledger and in relays, and each threshold is told once. The ledger is the real one, on SQLite."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.ledger.test_price_push import (
    PRICES,
    LedgerOnSqlite,
    condition,
    price_list,
    stage_with,
    told,
    uid,
)
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.billing.budget import BudgetStandings, TenantAlert, TenantBudget
from relay_ledger.budgets.alert_delivery import TRIED_FOR
from relay_ledger.periods.zones import UnknownZone
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.limits.dead_letters import DeadLetters
from relay_operator.api.shards import MAIN, Shards
from relay_operator.cluster.webhook.message import Message
from relay_operator.errors import LedgerUnavailable

CALL = 1000 * 3 * 10**6 + 100 * 12 * 10**6
"""What the attempt of the records costs: 0.0042 USD."""


class BudgetsOnSqlite:
    """A ledger's routes of budgets without their port."""

    def __init__(self, ledger: LedgerOnSqlite) -> None:
        self.begin_anew(ledger)
        self.puts: list[TenantBudget] = []
        self.told_of: list[TenantAlert] = []
        self.later = 0

    def begin_anew(self, ledger: LedgerOnSqlite) -> None:
        self._ledger = ledger
        self._store = BudgetStore(ledger.engine)

    async def put(self, budgets: Sequence[TenantBudget]) -> dict[str, str]:
        self._answer()
        self.puts += budgets
        refused: dict[str, str] = {}
        for one in budgets:
            try:
                self._store.put(one, now=_now())
            except UnknownZone as error:
                refused[one.tenant_uid] = str(error)
        return refused

    async def standings(self, tenant_uids: Sequence[str]) -> BudgetStandings:
        self._answer()
        return self._store.standings(tenant_uids, now=_now())

    async def told(
        self, alerts: Sequence[TenantAlert], *, failed: Sequence[TenantAlert] = ()
    ) -> None:
        self._answer()
        self.told_of += alerts
        self._store.told(alerts, now=_now())
        DeadLetters(self._ledger.engine).failed(failed, now=_now() + self.later)

    def _answer(self) -> None:
        if self._ledger.is_away:
            raise LedgerUnavailable("it does not answer: the connection is refused")


class KeptWebhook:
    """Keeps messages, and ends each as it is set to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.outcome = "delivered"

    def tell(self, message: Message, ended: Any = None) -> None:
        self.messages.append(message)
        if ended is not None:
            ended(self.outcome)


def _now() -> int:
    return time.time_ns() // 1000


def stage_with_budgets(directory: Path) -> tuple[Stage, LedgerOnSqlite, BudgetsOnSqlite, Any]:
    stage, ledger = stage_with(directory)
    stage.budgets = budgets = BudgetsOnSqlite(ledger)
    webhook: Any = KeptWebhook()
    stage.webhook = webhook
    price_list(stage)
    return stage, ledger, budgets, webhook


def budget(amount: str = "0.0084", **changes: Any) -> dict[str, Any]:
    return {"priceList": "standard", "budget": {"amount": amount, "period": "Day"} | changes}


def events(stage: Stage) -> list[str]:
    return [
        one["message"]
        for one in stage.server.list("Event", namespace="default")
        if one["reason"] == "BudgetAlert"
    ]


@in_virtual_time
async def test_a_budget_is_in_force_and_its_thresholds_are_told_once(tmp_path: Path) -> None:
    stage, ledger, budgets, webhook = stage_with_budgets(tmp_path)
    stage.tenant(billing=budget())
    life = await stage.operator()
    await stage.settle(40)
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("True", "WithinBudget")
    assert [one.budget.amount_pico for one in budgets.puts if one.budget] == [2 * CALL]
    ledger.sell(uid(stage))
    await stage.settle(60)
    (message,) = webhook.messages
    content = json.loads(message.body)
    assert content["type"] == "tenant.budget_alert"
    assert (content["data"]["threshold"], content["data"]["spent"]) == ("50%", "0.0042")
    assert len(events(stage)) == 1
    assert len(budgets.told_of) == 1
    ledger.sell(uid(stage), attempt_id="second")
    await stage.settle(400)
    assert [json.loads(one.body)["data"]["threshold"] for one in webhook.messages] == [
        *("50%", "80%", "100%"),
    ]
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("False", "BudgetSpent")
    assert stage.server.stored("Tenant", "finance")["status"]["billing"]["budgetPercent"] == 100
    await life.end()


@in_virtual_time
async def test_a_ledger_that_begins_anew_is_told_every_budget_again(tmp_path: Path) -> None:
    stage, ledger, budgets, _ = stage_with_budgets(tmp_path)
    stage.tenant(billing=budget())
    life = await stage.operator()
    await stage.settle(40)
    ledger.begin_anew(tmp_path / "empty.db")
    budgets.begin_anew(ledger)
    await stage.settle(40)
    (standing,) = (await budgets.standings([uid(stage)])).standings
    assert (standing.amount, standing.hard) == (2 * CALL, True)
    puts = len(budgets.puts)
    assert puts == 2
    await stage.settle(100)
    assert len(budgets.puts) == puts
    await life.end()


@in_virtual_time
async def test_a_tenant_that_cannot_be_written_keeps_no_alert_back(tmp_path: Path) -> None:
    stage, ledger, _, webhook = stage_with_budgets(tmp_path)
    for name in ("acme", "finance"):
        stage.tenant(name, billing=budget(alertAtPercent=[50]))
    life = await stage.operator()
    await stage.settle(40)
    life.api.failures.refused_objects["Tenant", "acme"] = 422
    for name in ("acme", "finance"):
        ledger.sell(uid(stage, name))
    await stage.settle(400)
    told_of = [json.loads(one.body)["data"]["tenant"] for one in webhook.messages]
    assert sorted(told_of) == ["acme", "finance"]
    assert stage.server.stored("Tenant", "finance")["status"]["billing"]["budgetPercent"] == 50
    await life.end()


@in_virtual_time
async def test_an_alert_that_nobody_takes_is_told_again_under_the_same_id(tmp_path: Path) -> None:
    stage, ledger, budgets, webhook = stage_with_budgets(tmp_path)
    webhook.outcome = "given_up"
    stage.tenant(billing=budget(alertAtPercent=[50]))
    life = await stage.operator()
    await stage.settle(40)
    ledger.sell(uid(stage))
    await stage.settle(60)
    assert len(webhook.messages) > 1
    assert budgets.told_of == []
    webhook.outcome = "delivered"
    await stage.settle(40)
    count = len(webhook.messages)
    await stage.settle(100)
    assert len(webhook.messages) == count
    assert len({one.id for one in webhook.messages}) == 1
    assert len(budgets.told_of) == len(events(stage)) == 1
    await life.end()


@pytest.mark.parametrize("outcome", ["given_up", "refused"])
def test_an_alert_that_nobody_takes_for_days_is_kept_and_sent_again_when_asked(
    tmp_path: Path, outcome: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        stage, ledger, budgets, webhook = stage_with_budgets(tmp_path)
        webhook.outcome, budgets.later = outcome, TRIED_FOR
        stage.tenant(billing=budget(alertAtPercent=[50]))
        stage.tenant("other", billing=budget(alertAtPercent=[50]))
        life = await stage.operator()
        await stage.settle(40)
        ledger.sell(uid(stage))
        await stage.settle(60)
        letters = DeadLetters(ledger.engine)
        dead, count = letters.all(), len(webhook.messages)
        assert len(dead) == 1
        assert undelivered() == 1
        # whoever reads the Tenant sees it too, and no other Tenant has it
        assert "not taken 1 alert of this Tenant" in within_budget(stage, "finance")
        assert "not taken" not in within_budget(stage, "other")
        await stage.settle(60)
        assert len(webhook.messages) == count
        webhook.outcome = "delivered"
        letters.send_again(dead, now=_now())
        await stage.settle(60)
        assert len(webhook.messages) == count + 1
        assert len({one.id for one in webhook.messages}) == 1
        assert len(budgets.told_of) == 1
        assert undelivered() == 0
        await stage.settle(60)
        assert "not taken" not in within_budget(stage, "finance")
        await life.end()

    run()


def within_budget(stage: Stage, name: str) -> str:
    found: str = condition(stage, "Tenant", name, "WithinBudget")["message"]
    return found


@in_virtual_time
async def test_what_gave_way_in_a_full_queue_was_not_tried_and_is_not_given_up(
    tmp_path: Path,
) -> None:
    stage, ledger, budgets, webhook = stage_with_budgets(tmp_path)
    webhook.outcome, budgets.later = "dropped", TRIED_FOR
    stage.tenant(billing=budget(alertAtPercent=[50]))
    life = await stage.operator()
    await stage.settle(40)
    ledger.sell(uid(stage))
    await stage.settle(60)
    assert len(webhook.messages) > 1
    assert DeadLetters(ledger.engine).all() == []
    await life.end()


def undelivered() -> float | None:
    return REGISTRY.get_sample_value("relay_operator_budget_alerts_undelivered")


@in_virtual_time
async def test_a_ledger_that_is_away_and_a_budget_that_is_taken_back(tmp_path: Path) -> None:
    stage, ledger, budgets, _ = stage_with_budgets(tmp_path)
    stage.tenant(billing=budget())
    ledger.is_away = True
    life = await stage.operator()
    await stage.settle(40)
    assert budgets.puts == []
    ledger.is_away = False
    await stage.settle(40)
    assert len(budgets.puts) == 1
    stage.tenant(billing={"priceList": "standard"})
    await stage.settle(40)
    assert budgets.puts[-1].budget is None
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("", "")
    await life.end()


@in_virtual_time
async def test_a_budget_that_the_ledger_refuses_holds_up_no_other(tmp_path: Path) -> None:
    stage, ledger, budgets, webhook = stage_with_budgets(tmp_path)
    stage.tenant("acme", billing=budget(alertAtPercent=[50]) | {"zone": "Mars/Olympus"})
    stage.tenant(billing=budget(alertAtPercent=[50]))
    life = await stage.operator()
    await stage.settle(40)
    ledger.sell(uid(stage))
    await stage.settle(60)
    told_of = [json.loads(one.body)["data"]["tenant"] for one in webhook.messages]
    assert told_of == ["finance"]
    assert told(stage, "Tenant", "acme", "Priced") == ("False", "PricesRefused")
    puts = len(budgets.puts)
    await stage.settle(60)
    assert len(budgets.puts) == puts
    stage.tenant("acme", billing=budget() | {"zone": "Asia/Shanghai"})
    await stage.settle(40)
    assert told(stage, "Tenant", "acme", "WithinBudget") == ("True", "WithinBudget")
    # one that is taken back is taken back in any zone
    stage.tenant("acme", billing={"priceList": "standard", "zone": "Mars/Olympus"})
    await stage.settle(40)
    assert (await budgets.standings([uid(stage, "acme")])).standings == ()
    await life.end()


@pytest.mark.parametrize("refused", [{"tier": "nosuch"}, {"queue": {"concurrency": "many"}}])
def test_a_budget_stays_in_force_while_the_newest_spec_is_refused(
    tmp_path: Path, refused: dict[str, Any]
) -> None:
    @in_virtual_time
    async def story() -> None:
        stage, _, budgets, _ = stage_with_budgets(tmp_path)
        stage.tenant(billing=budget())
        life = await stage.operator()
        await stage.settle(40)
        # one that takes the budget back is not in force either
        for billing in (budget(), {"priceList": "standard"}, {}):
            stage.tenant(billing=billing, **refused)
            await stage.settle(40)
        assert len(budgets.puts) == 1
        stage.tenant(billing={})
        await stage.settle(40)
        assert budgets.puts[-1].budget is None
        await life.end()

    story()


@in_virtual_time
async def test_a_budget_goes_with_its_tenant(tmp_path: Path) -> None:
    stage, _, budgets, _ = stage_with_budgets(tmp_path)
    stage.tenant(billing=budget())
    life = await stage.operator()
    await stage.settle(40)
    stage.server.remove("Tenant", "finance")
    await stage.settle(40)
    assert [one.budget is None for one in budgets.puts] == [False, True]
    await life.end()


@in_virtual_time
async def test_a_budget_stays_in_force_while_its_tenant_moves_to_another_operator(
    tmp_path: Path,
) -> None:
    stage, _, budgets, _ = stage_with_budgets(tmp_path)
    listed = json.dumps([{"name": "premium", "tenantSelector": "tier=premium"}])
    lives = [stage.life(shards=Shards.read(own, listed)) for own in (MAIN, "premium")]
    for life in lives:
        await life.start()
    stage.tenant(billing=budget())
    await stage.settle(40)
    for labels in ({"tier": "premium"}, {}):
        stage.tenant(labels=labels, billing=budget())
        await stage.settle(40)
    assert len(budgets.puts) == 3
    assert [one for one in budgets.puts if one.budget is None] == []
    # and one that is taken back at the same time is taken back by who has the Tenant now
    stage.tenant(labels={"tier": "premium"}, billing={"priceList": "standard"})
    await stage.settle(40)
    assert budgets.puts[-1].budget is None
    for life in lives:
        await life.end()


@in_virtual_time
async def test_a_relay_of_an_earlier_version_is_not_cut_off_by_prices_that_it_does_not_know(
    tmp_path: Path,
) -> None:
    stage, _, _, _ = stage_with_budgets(tmp_path)
    priority = {"perMillionTokens": {"input": "9", "output": "36"}, "serviceTier": "priority"}
    models = [{"name": "gpt-4.1", "provider": "", "prices": [*PRICES, priority]}]
    price_list(stage, models=models)
    stage.tenant(billing=budget(hard=True))
    life = await stage.operator()
    await stage.settle(1)
    stage.pod()
    stage.relays.older.add("relay-1")
    await stage.settle(20)
    assert tiers_in_force(stage) == [""]
    stage.relays.older.clear()
    stage.server.remove("Pod", "relay-1", namespace="relay-finance")
    stage.pod()
    await stage.settle(70)
    assert tiers_in_force(stage) == ["", "priority"]
    await life.end()


def tiers_in_force(stage: Stage) -> list[str]:
    (pod,) = stage.server.list("Pod", namespace="relay-finance")
    spending = stage.relays.documents[pod["metadata"]["uid"]].tenant.spending
    return [] if spending is None else [rate.tier for rate in spending.rates]


IMPOSSIBLE = [PRICES[0] | {"from": "2026-02-31T00:00:00Z"}]
"""A time that has the form of one, and that no month has."""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [("gone", "PriceListNotFound"), ("mistyped", "PriceListNotFound"), ("impossible", "")],
)
def test_prices_in_force_stay_while_those_of_the_list_are_not_known(
    tmp_path: Path, damage: str, reason: str
) -> None:
    @in_virtual_time
    async def story() -> None:
        stage, _, _, _ = stage_with_budgets(tmp_path)
        stage.tenant(billing=budget(hard=True))
        life = await stage.operator()
        await stage.settle(1)
        stage.pod()
        await stage.settle(20)
        assert tiers_in_force(stage) == [""]
        if damage == "gone":
            stage.server.remove("PriceList", "standard")
        elif damage == "mistyped":
            stage.tenant(billing=budget(hard=True) | {"priceList": "standart"})
        else:
            price_list(stage, models=[{"name": "gpt-4.1", "provider": "", "prices": IMPOSSIBLE}])
        await stage.settle(40)
        # without a price every call would be refused
        assert tiers_in_force(stage) == [""]
        if reason:
            assert told(stage, "Tenant", "finance", "Priced") == ("False", reason)
        # nor does another operator know more than what is in force
        await life.end()
        life = await stage.operator()
        await stage.settle(40)
        assert tiers_in_force(stage) == [""]
        await life.end()

    story()


@in_virtual_time
async def test_a_list_of_an_impossible_time_holds_up_no_tenant_and_no_list(tmp_path: Path) -> None:
    stage, _, budgets, _ = stage_with_budgets(tmp_path)
    price_list(stage, "bad", models=[{"name": "gpt-4.1", "provider": "", "prices": IMPOSSIBLE}])
    stage.tenant("acme", billing=budget() | {"priceList": "bad"})
    stage.tenant(billing=budget())
    life = await stage.operator()
    await stage.settle(40)
    assert told(stage, "PriceList", "bad", "Ready") == ("False", "PricesRefused")
    assert told(stage, "PriceList", "standard", "Ready") == ("True", "InForce")
    assert told(stage, "Tenant", "finance", "WithinBudget") == ("True", "WithinBudget")
    assert told(stage, "Tenant", "acme", "Priced")[0] == "False"
    assert {one.tenant for one in budgets.puts} == {"acme", "finance"}
    await life.end()
