"""Callers that come and are taken away, and the tenant's own entry for them."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

SPACE = "relay-finance"
WEB, BATCH = {"namespace": "web"}, {"namespace": "batch"}
BLOCK, HALF = {"cidr": "203.0.113.0/24"}, {"cidr": "203.0.113.0/25"}


async def a_serving_tenant(*allowed: dict[str, str]) -> tuple[Stage, Life]:
    stage = Stage()
    stage.tenant(network={"allowFrom": [*allowed]})
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    return stage, life


def renewals(stage: Stage) -> int:
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    return stage.relays.documents[uid].tenant.renewals


def ingress(stage: Stage) -> Any:
    policy = stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)
    return policy["spec"]["ingress"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([WEB], [WEB, BATCH], 0),
        ([WEB, BATCH], [BATCH, WEB], 0),
        ([WEB, BATCH], [WEB], 1),
        ([WEB], [], 1),
        ([BLOCK], [HALF], 1),
        ([WEB], [BATCH], 1),
    ],
)
@in_virtual_time
async def test_connections_are_made_anew_when_somebody_is_taken_away(
    before: list[dict[str, str]], after: list[dict[str, str]], expected: int
) -> None:
    stage, life = await a_serving_tenant(*before)
    stage.tenant(network={"allowFrom": after})
    await stage.settle()
    assert renewals(stage) == expected
    # and once alone
    stage.tenant(network={"allowFrom": after}, suspend=True)
    await stage.settle(700)
    assert renewals(stage) == expected
    await life.end()


@in_virtual_time
async def test_the_policy_is_in_force_before_connections_are_closed() -> None:
    stage, life = await a_serving_tenant(WEB, BATCH)
    seen: list[Any] = []

    def look() -> None:
        seen.append(str(ingress(stage)).count("batch"))

    stage.relays.meanwhile = look
    stage.tenant(network={"allowFrom": [WEB]})
    await stage.settle()
    assert renewals(stage) == 1
    assert seen[-1] == 0
    # a policy that cannot be written keeps who is there
    life.api.failures.statuses["NetworkPolicy"] = 422
    stage.tenant(network={"allowFrom": []})
    await stage.settle()
    assert renewals(stage) == 1
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert renewals(stage) == 2
    await life.end()


@in_virtual_time
async def test_callers_taken_away_while_the_operator_was_down_are_noticed() -> None:
    stage, life = await a_serving_tenant(WEB, BATCH)
    await life.end()
    stage.tenant(network={"allowFrom": [BATCH]})
    life = await stage.operator()
    await stage.settle()
    assert renewals(stage) == 1
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert renewals(stage) == 1
    await life.end()


@pytest.mark.parametrize("status", [422, 500])
@in_virtual_time
async def test_callers_taken_away_are_noticed_although_the_policy_follows_in_another_life(
    status: int,
) -> None:
    stage, life = await a_serving_tenant(WEB, BATCH)
    life.api.failures.statuses["NetworkPolicy"] = status
    stage.tenant(network={"allowFrom": [WEB]})
    await stage.settle(5)
    # what takes something away is published before the policy, and the spec is noted with the document
    stage.tenant(network={"allowFrom": [WEB]}, suspend=True)
    await stage.settle(5)
    assert (renewals(stage), "batch" in str(ingress(stage))) == (0, True)
    await life.end()
    for expected in (1, 1):
        # once: the next life has nothing left to find
        life = await stage.operator()
        await stage.settle(60)
        assert (renewals(stage), "batch" in str(ingress(stage))) == (expected, False)
        await life.end()


@in_virtual_time
async def test_the_address_is_known_to_a_leader_that_was_shown_the_service_before_its_tenant() -> (
    None
):
    stage = Stage()
    standby = stage.life()
    await standby.stand_by()
    # its watch of Tenants is down meanwhile
    standby.lagging.add("Tenant")
    life = await stage.operator()
    stage.tenant(network={"service": RANGES})
    await stage.settle()
    stage.pod()
    balance(stage, {"ip": "192.0.2.7"})
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    standby.lagging.clear()
    # whatever happens, its watches tell what they have
    stage.provider("another")
    await stage.settle()
    await life.end()
    standby.lead()
    await stage.settle(60)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert stage.status("Tenant", "finance")["endpoint"] == "http://192.0.2.7:8080/v1"
    assert [*standby.watched_state.rollouts] == [SPACE]
    await standby.end()


RANGES = {"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"]}


def balance(stage: Stage, *ingress: dict[str, str]) -> None:
    """Plays whatever makes load balancers."""
    service = stage.server.stored("Service", "relay", namespace=SPACE)
    stage.server.put({**service, "status": {"loadBalancer": {"ingress": [*ingress]}}})


@in_virtual_time
async def test_a_tenant_is_ready_at_its_load_balancers_address() -> None:
    stage, life = await a_serving_tenant(WEB)
    stage.tenant(network={"service": RANGES})
    await stage.settle()
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Provisioning")
    assert "has no address yet" in ready["message"]
    assert stage.condition("Tenant", "finance", "Reconciling")["status"] == "True"
    balance(stage, {"ip": "192.0.2.7"})
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert stage.status("Tenant", "finance")["endpoint"] == "http://192.0.2.7:8080/v1"
    await life.end()
    life = await stage.operator()
    balance(stage, {"hostname": "lb.example.com", "ip": "192.0.2.7"})
    await stage.settle()
    assert stage.status("Tenant", "finance")["endpoint"] == "http://lb.example.com:8080/v1"
    stage.tenant(network={"allowFrom": [WEB]})
    await stage.settle()
    endpoint = stage.status("Tenant", "finance")["endpoint"]
    assert endpoint == "http://relay.relay-finance.svc:8080/v1"
    await life.end()


@in_virtual_time
async def test_source_ranges_that_are_taken_away_lose_their_connections() -> None:
    stage, life = await a_serving_tenant()
    stage.tenant(network={"service": RANGES})
    await stage.settle()
    assert (renewals(stage), "203.0.113.0/24" in str(ingress(stage))) == (0, True)
    stage.tenant(network={"service": RANGES | {"loadBalancerSourceRanges": []}})
    await stage.settle()
    assert (renewals(stage), "203.0.113.0/24" in str(ingress(stage))) == (1, False)
    await life.end()


@in_virtual_time
async def test_another_class_of_load_balancer_takes_another_service() -> None:
    stage, life = await a_serving_tenant()
    uids = []
    for balancer in ("example.com/a", "example.com/a", "example.com/b"):
        stage.tenant(network={"service": RANGES | {"loadBalancerClass": balancer}})
        await stage.settle()
        service = stage.server.stored("Service", "relay", namespace=SPACE)
        assert service["spec"]["loadBalancerClass"] == balancer
        uids.append(service["metadata"]["uid"])
    assert (uids[0] == uids[1], uids[1] == uids[2]) == (True, False)
    await life.end()
