"""Tiers in force: what tenants get from them, what status tells of it, and that a refused one changes nothing."""

import json
from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.document import TenantDocument
from relay_operator.api.tiers import Tiers
from relay_operator.names import Reason

SPACE = "relay-finance"
PREMIUM = {
    "production": True,
    "relay": {"resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}},
    "queue": {"concurrency": 10, "maxWait": "90s"},
    "limits": {"requestsPerMinute": 600},
}


async def a_tenant(stage: Stage, **spec: Any) -> Life:
    stage.tiers = Tiers.parse(json.dumps({"premium": PREMIUM, "basic": {}}))
    stage.tenant(**spec)
    life = await stage.operator()
    await stage.settle()
    if stage.server.get("Namespace", SPACE) is not None:
        stage.pod("relay-1")
        stage.pod("relay-2")
        await stage.settle()
    return life


def served(stage: Stage) -> TenantDocument:
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    return stage.relays.documents[pod["metadata"]["uid"]].tenant


def container(stage: Stage) -> dict[str, Any]:
    deployment = stage.server.stored("Deployment", "relay", namespace=SPACE)
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@in_virtual_time
async def test_a_tenant_gets_what_its_tier_supplies_and_status_says_what_that_is() -> None:
    stage = Stage()
    life = await a_tenant(stage, tier="premium", queue={"concurrency": 20})
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    document = served(stage)
    assert (document.tier, document.queue.concurrency) == ("premium", 20)
    assert document.queue.max_wait_seconds == 90
    assert document.limits.requests_per_minute == 600
    assert container(stage)["resources"] == {
        "requests": {"cpu": "250m", "memory": "96Mi"},
        "limits": {"memory": "1Gi"},
    }
    status = stage.status("Tenant", "finance")
    assert status["relay"]["summary"] == "2/2"
    assert status["effective"] == {
        "tier": "premium",
        "fromTier": [
            "limits.requestsPerMinute",
            "queue.maxWait",
            "relay.replicas",
            "relay.resources.limits.memory",
            "relay.resources.requests.cpu",
        ],
        "relay": {
            "replicas": 2,
            "resources": {
                "requests": {"cpu": "250m", "memory": "96Mi"},
                "limits": {"memory": "1Gi"},
            },
        },
        "queue": {
            "concurrency": 20,
            "maxDepth": 256,
            "maxWait": "90s",
            "weight": 1,
            "guaranteedSeats": 0,
        },
        "limits": {"requestsPerMinute": 600, "burstSeconds": 10},
    }
    await life.end()


@in_virtual_time
async def test_without_a_tier_the_defaults_are_in_force_and_nothing_is_left_of_a_former_one() -> (
    None
):
    stage = Stage()
    life = await a_tenant(stage, tier="premium", limits={"models": [{"name": "m"}]})
    stage.tenant()
    await stage.settle()
    effective = stage.status("Tenant", "finance")["effective"]
    assert not {"tier", "fromTier"} & effective.keys()
    assert effective["limits"] == {"burstSeconds": 10}
    assert effective["relay"]["replicas"] == 1
    assert served(stage).tier == ""
    await life.end()


@in_virtual_time
async def test_an_unknown_tier_is_refused_and_the_last_valid_spec_stays_in_force() -> None:
    stage = Stage()
    life = await a_tenant(stage, tier="premium")
    before = served(stage), container(stage)
    stage.tenant(tier="gold", limits={"requestsPerMinute": 1})
    await stage.settle()
    for type_ in ("Ready", "Stalled"):
        found = stage.condition("Tenant", "finance", type_)
        assert found["reason"] == Reason.TIER_NOT_FOUND
        assert "no tier gold; choose one of basic, premium" in found["message"]
    assert (served(stage), container(stage)) == before
    await life.end()


@in_virtual_time
async def test_a_tier_that_the_platform_takes_away_leaves_its_tenants_as_they_are() -> None:
    stage = Stage()
    life = await a_tenant(stage, tier="premium")
    before = served(stage), container(stage)
    await life.end()
    stage.tiers = Tiers.parse('{"basic": {}}')
    life = await stage.operator()
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.TIER_NOT_FOUND
    assert stage.condition("Tenant", "finance", "Ready")["message"].endswith("calls are served")
    assert (served(stage), container(stage)) == before
    await life.end()


@in_virtual_time
async def test_values_of_spec_and_tier_that_do_not_go_together_are_refused_with_both_sources() -> (
    None
):
    stage = Stage()
    life = await a_tenant(stage, tier="premium", queue={"guaranteedSeats": 11})
    found = stage.condition("Tenant", "finance", "Ready")
    assert (found["status"], found["reason"]) == ("False", Reason.INVALID_SPEC)
    assert (
        "guaranteedSeats of 11 (spec) is above queue.concurrency of 10 (tier premium)"
        in found["message"]
    )
    assert stage.server.get("Namespace", SPACE) is None
    await life.end()
