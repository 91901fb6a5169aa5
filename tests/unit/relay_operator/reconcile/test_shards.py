"""Several operators share a cluster: each acts for its own Tenants, and a Tenant that changes hands goes on as in a takeover."""

import json
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import until
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.api.shards import MAIN, Shards

LIST = json.dumps([{"name": "premium", "tenantSelector": "tier=premium"}])
PREMIUM = {"tier": "premium"}
CANARY: dict[str, Any] = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 25, "every": "10s", "minRequests": 20},
}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}
ROUTE = ("relay-finance", "chat")


async def operators(stage: Stage) -> tuple[Life, Life]:
    """Starts the main operator and the one of the shard."""
    found = [stage.life(shards=Shards.read(own, LIST)) for own in (MAIN, "premium")]
    for one in found:
        await one.start()
    return found[0], found[1]


async def operators_of_a_tenant(
    stage: Stage, labels: dict[str, str] | None = None
) -> tuple[Life, Life]:
    """Starts both operators with two providers and a tenant, which gets its pod once they have settled."""
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant(labels=labels)
    found = await operators(stage)
    await stage.settle()
    stage.pod()
    return found


async def ended(*lives: Life) -> None:
    """Ends all of them."""
    for one in lives:
        await one.end()


def homes(life: Life) -> set[str]:
    """Returns the namespaces in which an operator has written, and the Tenants among what else it has."""
    keys = [write.key for write in life.api.writes if write.key[0] != "Event"]
    return {space or name for kind, space, name in keys if kind not in ("Provider", "Lease")}


def weight(stage: Stage) -> int | None:
    """Returns the canary's weight in the relay pod."""
    return stage.relays.weight("relay-1", "chat", namespace="relay-finance")


async def a_climb(stage: Stage, labels: dict[str, str] | None) -> tuple[Life, Life, dict[str, Any]]:
    """Lets a canary climb to half of the calls."""
    main, premium = await operators_of_a_tenant(stage, labels)
    route = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(route, 50)
    await stage.settle(11)
    assert weight(stage) == 50
    return main, premium, route


@pytest.mark.parametrize("hour", [3600.0, -3600.0], ids=["ahead", "behind"])
def test_a_step_of_a_tenant_that_changes_hands_is_not_shifted_by_a_former_leaders_clock(
    hour: float,
) -> None:
    """The Lease tells of the clock of who led before, which is not the one that this Tenant's status was told by."""

    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        main, premium = await operators_of_a_tenant(stage)
        progression = CANARY["progression"] | {"every": "60s"}
        route = stage.route(canary=CANARY | {"progression": progression}, analysis=ANALYSIS)
        await stage.settle()
        stage.serve(route, 50)
        await stage.settle(20)
        assert weight(stage) == 25
        premium.elector.clock_ahead_seconds = hour
        stage.tenant(labels=PREMIUM)
        # 25 seconds of 60 are over
        for percent, seconds in ((25, 25), (50, 20)):
            for _ in range(seconds):
                stage.serve(route, 10)
                await stage.settle(1)
            assert weight(stage) == percent
        await ended(main, premium)

    story()


@in_virtual_time
async def test_each_operator_writes_for_its_own_tenants_alone() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant("finance")
    stage.tenant("legal", labels=PREMIUM)
    main, premium = await operators(stage)
    await stage.settle()
    for tenant in ("finance", "legal"):
        stage.pod(f"pod-of-{tenant}", tenant=tenant)
        stage.route(tenant=tenant)
    await stage.settle()
    for tenant in ("finance", "legal"):
        assert stage.condition("RelayRoute", "chat", "Ready", tenant=tenant)["status"] == "True"
    assert homes(main) == {"finance", "relay-finance"}
    assert homes(premium) == {"legal", "relay-legal"}
    await ended(main, premium)


@in_virtual_time
async def test_a_providers_quota_is_divided_among_the_tenants_of_all_operators() -> None:
    stage = Stage()
    stage.provider("legacy", limits={"requestsPerMinute": 100})
    stage.tenant("finance")
    stage.tenant("legal", labels=PREMIUM)
    main, premium = await operators(stage)
    await stage.settle()
    for tenant in ("finance", "legal"):
        stage.pod(f"pod-of-{tenant}", tenant=tenant)
        stage.route(tenant=tenant)
    await stage.settle(120)
    shares = [
        document.catalogue.providers[0].limits.requests_per_minute
        for document in stage.relays.documents.values()
    ]
    assert shares == [50, 50]
    assert stage.status("Provider", "legacy")["tenants"] == 2
    stage.server.remove("RelayRoute", "chat", namespace="relay-legal")
    await stage.settle(120)
    [alone] = [
        document.catalogue.providers[0].limits.requests_per_minute
        for document in stage.relays.documents.values()
        if document.tenant.name == "finance"
    ]
    assert alone == 100
    assert stage.status("Provider", "legacy")["tenants"] == 1
    await ended(main, premium)


@in_virtual_time
async def test_the_main_operator_alone_tells_of_providers_and_of_routes_in_nobodys_namespace() -> (
    None
):
    stage = Stage()
    stage.provider("legacy")
    stage.tenant("legal", labels=PREMIUM)
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-none"}})
    stage.route(tenant="none")
    main, premium = await operators(stage)
    await stage.settle()
    told = [write.key[0] for write in premium.api.writes]
    assert "Provider" not in told
    assert "RelayRoute" not in told
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    refused = stage.condition("RelayRoute", "chat", "Ready", tenant="none")
    assert refused["reason"] == "NotATenantNamespace"
    await ended(main, premium)


@in_virtual_time
async def test_a_climb_goes_on_under_the_operator_that_a_tenant_moves_to() -> None:
    stage = Stage()
    main, premium, route = await a_climb(stage, None)
    moves, epoch = stage.moves(), max(one.epoch for one in stage.relays.leaders.values())
    stage.tenant(labels=PREMIUM)
    await stage.settle(4)
    assert (weight(stage), sorted(stage.moves())) == (50, sorted(moves))
    assert ROUTE not in main.canaries.runs
    assert main.publisher.publication("relay-finance") is None
    before = len(main.api.writes)
    stage.serve(route, 50)
    await stage.settle(20)
    assert weight(stage) == 75
    assert sorted(stage.moves()) == sorted([*moves, "StepPassed"])
    assert max(one.epoch for one in stage.relays.leaders.values()) > epoch
    assert [one.key for one in main.api.writes[before:]] == []
    await ended(main, premium)


@pytest.mark.parametrize("late", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2, 0.4, 1.0])
def test_no_move_is_told_again_where_a_tenant_is_shown_to_have_moved_before_its_routes_last_status(
    late: float, after: float
) -> None:
    """Each kind is watched by itself."""

    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        main, premium = await operators_of_a_tenant(stage)
        route = stage.route(canary=CANARY, analysis=ANALYSIS)
        await until(stage, lambda: weight(stage) == 25)
        await stage.settle(1)
        premium.lagging.add("RelayRoute")
        while weight(stage) != 50:
            stage.serve(route, 5)
            await stage.settle(0.05)
        await stage.settle(after)
        moves = stage.moves()
        stage.tenant(labels=PREMIUM)
        await stage.settle(late)
        premium.lagging.clear()
        # watches tell what they held back with the next news
        stage.provider("another")
        for _ in range(60):
            stage.serve(route, 10)
            await stage.settle(1)
        assert sorted(stage.moves()) == sorted([*moves, "StepPassed", "StepPassed", "Promoted"])
        history = stage.status("RelayRoute", "chat", tenant="finance")["history"]
        assert len(history) == len(stage.moves())
        await ended(main, premium)

    story()


@pytest.mark.parametrize("under_way", [0.3, 1.0, 3.0, 5.0])
def test_a_reconcile_that_is_under_way_when_its_tenant_moves_brings_nothing_of_before_back(
    under_way: float,
) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        main, premium, _ = await a_climb(stage, None)
        stage.tenant(apiKeys=[{"name": "kept"}, {"name": "revoked"}])
        await stage.settle(10)
        main.api.failures.seconds = 2.0
        stage.tenant(
            apiKeys=[{"name": "kept"}, {"name": "revoked"}], queue={"maxDepth": 77, "weight": 2}
        )
        await stage.settle(under_way)
        before = len(main.api.writes)
        stage.tenant(labels=PREMIUM, apiKeys=[{"name": "kept"}], queue={"maxDepth": 78})
        await stage.settle(0.5)
        for _ in range(60):
            [document] = stage.relays.documents.values()
            assert [key.name for key in document.tenant.keys] == ["kept"]
            assert document.tenant.queue.max_depth == 78
            await stage.settle(1)
        # the one write that was on its way is put right
        assert len(main.api.writes[before:]) <= 1
        stored = stage.server.stored("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=ROUTE[0])
        [accepted] = stage.relays.in_force.values()
        assert stored["data"]["relay.json"] == accepted.envelope.decode()
        await ended(main, premium)

    story()


@in_virtual_time
async def test_a_tenant_that_comes_back_is_led_on_by_who_had_it_first() -> None:
    stage = Stage()
    main, premium, route = await a_climb(stage, PREMIUM)
    for labels in (None, PREMIUM, {"tier": "standard"}):
        stage.tenant(labels=labels or {})
        await stage.settle(4)
    assert weight(stage) == 50
    stage.serve(route, 50)
    await stage.settle(20)
    assert weight(stage) == 75
    assert ROUTE in main.canaries.runs
    assert ROUTE not in premium.canaries.runs
    await ended(main, premium)


@in_virtual_time
async def test_a_breach_after_the_move_is_rolled_back_by_the_new_operator() -> None:
    stage = Stage()
    main, premium, route = await a_climb(stage, None)
    stage.tenant(labels=PREMIUM)
    await stage.settle(4)
    await stage.fail(route)
    await stage.settle(2)
    assert weight(stage) == 0
    assert stage.moves().count("SloBreach") == 1
    await ended(main, premium)


@in_virtual_time
async def test_two_that_act_for_one_tenant_during_a_rollout_cost_a_few_pushes_and_no_calls() -> (
    None
):
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant(labels=PREMIUM)
    # of the list before there were shards
    former = stage.life()
    await former.start()
    await stage.settle()
    stage.pod()
    route = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(route, 50)
    await stage.settle(11)
    main, premium = await operators(stage)
    pushes = stage.relays.pushes
    for _ in range(6):
        stage.serve(route, 50)
        await stage.settle(5)
        assert weight(stage) in (50, 75, 100)
    assert stage.relays.pushes - pushes < 60
    await former.end()
    await stage.settle(30)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    stage.route(canary=CANARY | {"percent": 10}, analysis=ANALYSIS)
    await stage.settle(5)
    assert weight(stage) == 10
    await ended(main, premium)


@in_virtual_time
async def test_a_tenant_is_released_by_its_own_operator() -> None:
    stage = Stage()
    stage.tenant("legal", labels=PREMIUM)
    main, premium = await operators(stage)
    await stage.settle()
    stage.server.remove("Tenant", "legal")
    await stage.settle()
    assert stage.server.get("Tenant", "legal") is None
    assert [write.key for write in main.api.writes if write.key[0] == "Tenant"] == []
    await ended(main, premium)


def test_every_shard_has_a_lease_of_its_own() -> None:
    assert names.leader_lease(MAIN) == "relay-operator-leader"
    assert names.leader_lease("premium") == "relay-operator-leader-premium"
