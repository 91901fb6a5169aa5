"""Tenants and routes that are deleted while finalizers of others keep them: the deletion acts at once, and is told."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document, endpoints, seal
from relay_operator.names import Reason

SPACE = "relay-finance"
CANARY = {"provider": "new", "percent": 10}
HELD = ["example.com/backup"]


async def a_stage() -> tuple[Stage, Life]:
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider, limits={"requestsPerMinute": 100})
    for tenant in ("finance", "other"):
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle()
    for tenant in ("finance", "other"):
        stage.pod(f"pod-of-{tenant}", tenant=tenant)
        stage.route(tenant=tenant, canary=CANARY)
    await stage.settle()
    return stage, life


def hold(stage: Stage, kind: str, name: str, *, tenant: str = "") -> None:
    """Sets a finalizer that nobody removes, and deletes the object."""
    namespace = f"relay-{tenant}" if tenant else ""
    body = stage.server.stored(kind, name, namespace=namespace)
    body["metadata"]["finalizers"] = [*body["metadata"].get("finalizers", ()), *HELD]
    stage.server.put(body)
    stage.server.remove(kind, name, namespace=namespace)


def release(stage: Stage, kind: str, name: str, *, tenant: str = "") -> None:
    key = (kind, f"relay-{tenant}" if tenant else "", name)
    kept = stage.server.stored(*key[::2], namespace=key[1])["metadata"].get("finalizers", ())
    left = [one for one in kept if one not in HELD]
    patch: dict[str, Any] = {"metadata": {"finalizers": left}}
    stage.server.patch(key, patch, ("backup", "Update"))


def in_force(stage: Stage, tenant: str = "finance") -> document.Document:
    """Returns the document that the tenant's pod runs, which is the stored one."""
    space = f"relay-{tenant}"
    uid = stage.server.stored("Pod", f"pod-of-{tenant}", namespace=space)["metadata"]["uid"]
    configmap = stage.server.stored("ConfigMap", "relay-document", namespace=space)
    sealed = configmap["data"][endpoints.DOCUMENT_KEY]
    served = stage.relays.documents[uid]
    assert served == seal.unseal(sealed, [SIGNING_KEY.public_key()])[0]
    return served


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
@in_virtual_time
async def test_a_tenant_that_is_held_in_deletion_has_no_keys_and_its_weights_still_fall(
    restart: bool,
) -> None:
    stage, life = await a_stage()
    assert [key.name for key in in_force(stage).tenant.keys] == ["default"]
    if restart:
        await life.end()
    hold(stage, "Tenant", "finance")
    if restart:
        life = await stage.operator()
    await stage.settle(1)
    assert in_force(stage).tenant.keys == ()
    assert in_force(stage).tenant.suspended
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.TERMINATING)
    assert "API keys are refused" in ready["message"]
    assert "finalizers (example.com/backup)" in ready["message"]
    stage.route(canary=CANARY | {"percent": 0})
    await stage.settle(1)
    assert in_force(stage).tenant.routes[0].canary_percent == 0
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert status["observedGeneration"] == 2
    # what goes is not made again
    stage.server.remove("Deployment", "relay", namespace=SPACE)
    await stage.settle(60)
    assert stage.server.get("Deployment", "relay", namespace=SPACE) is None
    release(stage, "Tenant", "finance")
    stage.server.collect_garbage()
    await stage.settle()
    assert stage.server.get("Namespace", SPACE) is None
    assert life.publisher.publication(SPACE) is None
    await life.end()


@in_virtual_time
async def test_a_tenant_that_is_held_while_its_namespace_goes_says_nothing_else() -> None:
    stage, life = await a_stage()
    hold(stage, "Tenant", "finance")
    stage.server.remove("Namespace", SPACE)
    await stage.settle()
    stage.server.remove("ConfigMap", "relay-document", namespace=SPACE)
    stage.route(canary=CANARY | {"percent": 0})
    await stage.settle(30)
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.TERMINATING
    assert stage.relays.weight("pod-of-finance", "chat", namespace=SPACE) == 0
    stage.server.collect_garbage()
    await stage.settle(30)
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.TERMINATING
    assert stage.server.get("Namespace", SPACE) is None
    await life.end()


@in_virtual_time
async def test_a_tenant_that_goes_leaves_its_part_of_a_quota_to_the_others() -> None:
    stage, life = await a_stage()

    def share() -> int | None:
        [legacy] = [
            one for one in in_force(stage, "other").catalogue.providers if one.name == "legacy"
        ]
        return legacy.limits.requests_per_minute

    assert (share(), stage.status("Provider", "legacy")["tenants"]) == (50, 2)
    hold(stage, "Tenant", "finance")
    await stage.settle()
    assert (share(), stage.status("Provider", "legacy")["tenants"]) == (100, 1)
    await life.end()


@in_virtual_time
async def test_a_namespace_that_goes_for_long_leaves_its_part_of_a_quota_to_the_others() -> None:
    stage, life = await a_stage()
    stage.server.remove("Namespace", SPACE)
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.NAMESPACE_TERMINATING
    assert stage.status("Provider", "legacy")["tenants"] == 1
    stage.secret("legacy-key", value="bmV3")
    stage.provider("legacy", headers={"x-team": "a"}, limits={"requestsPerMinute": 60})
    await stage.settle()
    assert in_force(stage, "other").catalogue.providers[0].limits.requests_per_minute == 60
    status = stage.status("Provider", "legacy")
    assert (status["tenants"], status["observedGeneration"]) == (1, 2)
    stage.server.collect_garbage()
    await stage.settle(20)
    stage.pod("pod-of-finance")
    stage.route(canary=CANARY)
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    assert stage.status("Provider", "legacy")["tenants"] == 2
    assert in_force(stage, "other").catalogue.providers[0].limits.requests_per_minute == 30
    await life.end()


@in_virtual_time
async def test_a_route_that_is_held_in_deletion_takes_no_calls_and_gives_its_match_away() -> None:
    stage, life = await a_stage()
    stage.clock.now += 1
    stage.route("younger")
    await stage.settle()
    hold(stage, "RelayRoute", "chat", tenant="finance")
    await stage.settle(1)
    assert [route.name for route in in_force(stage).tenant.routes] == ["younger"]
    ready = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert (ready["status"], ready["reason"]) == ("False", Reason.TERMINATING)
    assert "the route takes no calls" in ready["message"]
    release(stage, "RelayRoute", "chat", tenant="finance")
    await stage.settle()
    assert [route.name for route in in_force(stage).tenant.routes] == ["younger"]
    await life.end()
