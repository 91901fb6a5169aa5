"""What calls cost stands on their routes, and a canary that costs too much is held. The ledger is the real one, on SQLite."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.relay_contract.billing.records import closed
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.reconcile.ledger.test_price_push import (
    LedgerOnSqlite,
    stage_with,
    uid,
)
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.billing.route_costs import RouteAsked, RouteCosts
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.route_cost_reading import RouteCostReading
from relay_operator.errors import LedgerUnavailable
from relay_operator.reconcile.ledger.route_costs import TOLD_SECONDS

MODEL = {"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "3", "output": "12"}}]}
DEARER = {"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "6", "output": "24"}}]}
LIMITS = {"minRequests": 20, "errorRate": {"maxPercent": 1}, "cost": {"maxIncreasePercent": 20}}


class CostsOnSqlite:
    """A ledger's route of costs without its port."""

    def __init__(self, ledger: LedgerOnSqlite) -> None:
        self._ledger = ledger
        self.asked = 0

    async def costs(self, routes: Sequence[RouteAsked], *, by_quarter: bool = False) -> RouteCosts:
        self.asked += 1
        if self._ledger.is_away:
            raise LedgerUnavailable("it does not answer: the connection is refused")
        # the stage's clock is none of the database
        from_the_first = [one.model_copy(update={"since": 0}) for one in routes]
        found = RouteCostReading(self._ledger.engine).costs(from_the_first, by_quarter=by_quarter)
        told = RouteCosts(until=0, costs=tuple(found)).model_dump_json(by_alias=True)
        return RouteCosts.model_validate_json(told)


class Scene:
    """A tenant with a route and a canary, whose calls are counted by relays and booked by the ledger."""

    def __init__(self, directory: Path, **analysis: Any) -> None:
        self.stage, self.ledger = stage_with(directory)
        self.stage.costs = CostsOnSqlite(self.ledger)
        self.stage.provider("legacy", models=[MODEL])
        self.stage.provider("new", models=[DEARER])
        self._analysis = analysis
        self._canary = {
            "provider": "new",
            "percent": 100,
            "progression": {"stepPercent": 50, "every": "10s"},
        }
        self._numbers = 0

    async def begin(self) -> Life:
        """Brings the canary to its first step."""
        life = await self.stage.operator()
        self.stage.tenant()
        await self.stage.settle(2)
        self.stage.pod()
        await self.stage.settle(5)
        self.put(**self._analysis)
        await self.stage.settle(8)
        assert self.status["weights"]["canaryPercent"] == 50
        return life

    def put(self, **analysis: Any) -> None:
        self.route = self.stage.route(canary=self._canary, analysis=LIMITS | analysis)

    def call(self, side: str, provider: str, number: int = 5, **changes: Any) -> None:
        at = time.time_ns() // 1000
        records = []
        for _ in range(number):
            self._numbers += 1
            name = f"call-{self._numbers}"
            fields = {"side": side, "provider": provider, "attempt_id": name, "dispatched_at": at}
            records.append(closed(tenant_uid=uid(self.stage), **(fields | changes)))
        Ledger(self.ledger.engine).book(uid(self.stage), records, self.ledger.book, now=at)

    async def traffic(self, seconds: int, *, canary: str = "new") -> None:
        """Lets time pass in which both sides are called."""
        for _ in range(seconds // 15):
            self.call("stable", "legacy")
            self.call("canary", canary)
            self.stage.serve(self.route, 50)
            await self.stage.settle(15)

    @property
    def status(self) -> dict[str, Any]:
        return self.stage.status("RelayRoute", "chat", tenant="finance")

    def told(self, type_: str) -> tuple[str, str]:
        found = self.stage.condition("RelayRoute", "chat", type_, tenant="finance")
        return found.get("status", ""), found.get("reason", "")

    def said(self, type_: str) -> str:
        found = self.stage.condition("RelayRoute", "chat", type_, tenant="finance")
        return str(found.get("message", ""))


@in_virtual_time
async def test_a_dearer_canary_is_held_told_once_and_goes_on_under_a_higher_limit(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    life = await scene.begin()
    await scene.traffic(60)
    # the step is passed but for its cost, of which too little is known
    assert scene.told("WithinCost") == ("Unknown", "TooFewRequests")
    assert scene.told("Ready") == ("True", "AwaitingEvidence")
    awaited = "at 50 %, the step is passed but for its cost: too few calls of both sides have been compared"
    assert awaited in scene.said("Ready")
    await scene.traffic(900)
    assert scene.status["weights"]["canaryPercent"] == 50
    assert scene.told("WithinCost") == ("False", "CostHigher")
    assert scene.told("Ready") == ("False", "CostHigher")
    assert scene.told("Stalled") == ("", "")
    moves = [one for one in scene.status["history"] if one["reason"] == "CostHigher"]
    events = [one for one in scene.stage.moves() if "CostHigher" in one]
    assert (len(moves), len(events)) == (1, 1)
    scene.put(cost={"maxIncreasePercent": 150})
    await scene.traffic(60)
    assert scene.status["weights"]["canaryPercent"] == 100
    await life.end()


@in_virtual_time
async def test_a_spec_that_cannot_be_read_costs_a_run_none_of_its_evidence(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    life = await scene.begin()
    await scene.traffic(900)
    assert scene.told("WithinCost") == ("False", "CostHigher")
    scene.put(minRequests="many")
    await scene.traffic(60)
    scene.put()
    await scene.traffic(60)
    # evidence that began anew would be too little
    assert scene.told("WithinCost") == ("False", "CostHigher")
    await life.end()


@in_virtual_time
async def test_a_restart_and_a_ledger_that_is_away_raise_no_canary_that_was_held(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, cost={"maxIncreasePercent": 20, "whenUnknown": "Continue"})
    life = await scene.begin()
    # it waits for nothing that is not known, so it is held by hand until there is enough
    scene.route = scene.stage.route(canary=scene._canary | {"percent": 50}, analysis=LIMITS)
    await scene.traffic(900)
    scene.put(cost={"maxIncreasePercent": 20, "whenUnknown": "Continue"})
    await scene.traffic(60)
    assert scene.told("WithinCost") == ("False", "CostHigher")
    await life.end()
    scene.ledger.is_away = True
    life = await scene.stage.operator()
    await scene.traffic(400)
    assert scene.status["weights"]["canaryPercent"] == 50
    assert scene.told("WithinCost") == ("False", "CostHigher")
    await life.end()


@in_virtual_time
async def test_a_hold_of_an_earlier_life_ends_where_nobody_can_tell_the_cost_any_more(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, cost={"maxIncreasePercent": 20})
    life = await scene.begin()
    await scene.traffic(900)
    scene.put(cost={"maxIncreasePercent": 20, "whenUnknown": "Continue"})
    await scene.traffic(30)
    assert scene.told("WithinCost") == ("False", "CostHigher")
    assert scene.status["weights"]["canaryPercent"] == 50
    await life.end()
    # the chart was upgraded to one without a ledger
    scene.stage.ledger = scene.stage.costs = None
    life = await scene.stage.operator()
    for _ in range(4):
        scene.stage.serve(scene.route, 50)
        await scene.stage.settle(15)
    assert scene.status["weights"]["canaryPercent"] == 100
    await life.end()


@in_virtual_time
async def test_a_canary_that_costs_the_same_climbs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.stage.provider("new", models=[MODEL])
    life = await scene.begin()
    await scene.traffic(900)
    assert scene.status["weights"]["canaryPercent"] == 100
    await life.end()


@in_virtual_time
async def test_without_a_ledger_a_limit_holds_and_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.stage.ledger = scene.stage.costs = None
    life = await scene.begin()
    for _ in range(4):
        scene.stage.serve(scene.route, 50)
        await scene.stage.settle(15)
    assert scene.status["weights"]["canaryPercent"] == 50
    assert scene.told("WithinCost") == ("Unknown", "NoLedger")
    assert scene.told("Ready") == ("False", "CostUnknown")
    assert scene.status["cost"] == {
        "reason": "NoLedger",
        "summary": "not known: the platform has no ledger",
    }
    await life.end()


@in_virtual_time
async def test_status_tells_what_a_thousand_calls_cost_every_few_minutes_at_most(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    life = await scene.begin()
    assert "cost" not in scene.status
    seen: list[Any] = []
    for _ in range(60):
        await scene.traffic(15)
        if (told := scene.status.get("cost")) and told not in seen:
            seen.append(told)
    assert 2 <= len(seen) <= 900 // TOLD_SECONDS
    # 1,000 of input at 3 and 100 of output at 12; the canary at twice that
    assert seen[-1]["summary"] == "stable 4.20 USD, canary 8.40 USD"
    assert seen[-1]["stable"]["perThousandCalls"] == "4.20"
    assert seen[-1]["canary"]["calls"] > 0
    scene.call("canary", "new", answered_model="gpt-new")
    await scene.stage.settle(TOLD_SECONDS + 60)
    assert scene.status["cost"]["canary"]["reason"] == "Unpriced"
    assert "perThousandCalls" not in scene.status["cost"]["canary"]
    assert scene.told("WithinCost") == ("Unknown", "Unpriced")
    # without calls it stays as it is told, times included
    before, asked = scene.status["cost"], scene.stage.costs.asked
    await scene.stage.settle(2 * TOLD_SECONDS)
    assert (scene.stage.costs.asked > asked, scene.status["cost"]) == (True, before)
    await life.end()


@in_virtual_time
async def test_a_route_without_a_canary_is_told_of_now_and_then(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    stage.costs = CostsOnSqlite(ledger)
    stage.provider("legacy", models=[MODEL])
    life = await stage.operator()
    stage.tenant()
    await stage.settle(2)
    stage.pod()
    stage.route()
    await stage.settle(10)
    at = time.time_ns() // 1000
    record = closed(tenant_uid=uid(stage), provider="legacy", dispatched_at=at)
    Ledger(ledger.engine).book(uid(stage), [record], ledger.book, now=at)
    await stage.settle(TOLD_SECONDS + 30)
    told = stage.status("RelayRoute", "chat", tenant="finance")["cost"]
    assert (told["reason"], told["summary"]) == ("Known", "stable 4.20 USD")
    assert "canary" not in told
    await life.end()
