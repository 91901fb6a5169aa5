"""A provider that routes in force use stays within reach of new relay pods, whatever of it is deleted."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY, SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document
from relay_operator import names
from relay_operator.api.relay_route import Side, fingerprint
from relay_operator.api.tenant import Tenant
from relay_operator.manifests import composition, credentials, document_size, upstreams
from relay_operator.manifests.environment import Upstream
from relay_operator.names import Reason
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.upstream_access import UpstreamAccess, _no_room, _without_room
from relay_operator.reconcile.watched_state import WatchedState

SPACE = "relay-finance"
Loss = Callable[[Stage], None]
ADDRESSES: list[dict[str, Any]] = [
    {"url": "https://legacy.example.com/v1"},
    {"serviceRef": {"namespace": SYSTEM, "name": "llm", "port": 80}},
]


def provider_deleted(stage: Stage) -> None:
    stage.server.remove("Provider", "legacy")


def secret_deleted(stage: Stage) -> None:
    stage.server.remove("Secret", "legacy-key", namespace=SYSTEM)
    stage.tenant(queue={"concurrency": 3})


def service_deleted(stage: Stage) -> None:
    stage.server.remove("Service", "llm", namespace=SYSTEM)
    stage.provider("legacy", endpoint=ADDRESSES[1], headers={"x": "1"})


def everything_deleted(stage: Stage) -> None:
    for loss in (secret_deleted, service_deleted, provider_deleted):
        loss(stage)


def a_service() -> dict[str, Any]:
    metadata = {"name": "llm", "namespace": SYSTEM}
    spec = {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


async def a_stage(endpoint: dict[str, Any], **provider: Any) -> tuple[Stage, Life]:
    stage = Stage()
    stage.server.put(a_service())
    stage.provider("legacy", endpoint=endpoint, **provider)
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    return stage, life


def egress(stage: Stage) -> Any:
    policy = stage.server.stored("NetworkPolicy", names.RELAY, namespace=SPACE)
    return policy["spec"]["egress"]


def keys(stage: Stage) -> Any:
    return stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=SPACE).get("data", {})


@pytest.mark.parametrize("restarts", [False, True], ids=["alive", "restarted"])
@pytest.mark.parametrize(
    ("loss", "endpoint"),
    [
        (provider_deleted, ADDRESSES[0]),
        (provider_deleted, ADDRESSES[1]),
        (secret_deleted, ADDRESSES[0]),
        (service_deleted, ADDRESSES[1]),
        (everything_deleted, ADDRESSES[1]),
    ],
)
@in_virtual_time
async def test_key_and_network_access_of_a_provider_in_force_stay(
    loss: Loss, endpoint: dict[str, Any], restarts: bool
) -> None:
    stage, life = await a_stage(endpoint)
    before = (egress(stage), keys(stage))
    assert set(before[1]) == {"legacy"}
    if restarts:
        await life.end()
    loss(stage)
    if restarts:
        life = await stage.operator()
    await stage.settle(30)
    assert (egress(stage), keys(stage)) == before
    stage.server.remove("Pod", "relay-1", namespace=SPACE)
    stage.pod("relay-2")
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Programmed")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_declared_addresses_outlive_provider_and_operator() -> None:
    stage, life = await a_stage(ADDRESSES[0], egressCIDRs=["203.0.113.0/24"])
    before = egress(stage)
    await life.end()
    provider_deleted(stage)
    life = await stage.operator()
    await stage.settle()
    assert "203.0.113.0/24" in str(before)
    assert egress(stage) == before
    await life.end()


@in_virtual_time
async def test_nobody_opens_the_policy_by_its_annotation() -> None:
    stage, life = await a_stage(ADDRESSES[0], egressCIDRs=["203.0.113.0/24"])
    await life.end()
    provider_deleted(stage)
    policy = stage.server.stored("NetworkPolicy", names.RELAY, namespace=SPACE)
    for place in (
        policy["metadata"]["annotations"],
        policy["spec"]["egress"][1]["to"][0]["ipBlock"],
    ):
        for field, text in place.items():
            place[field] = text.replace("203.0.113.0/24", "10.0.0.0/8")
    stage.server.put(policy, manager="kubectl-edit")
    life = await stage.operator()
    await stage.settle()
    assert "10.0.0.0/8" not in str(egress(stage))
    await life.end()


@in_virtual_time
async def test_what_no_route_in_force_uses_any_more_is_taken_away() -> None:
    stage, life = await a_stage(ADDRESSES[0])
    new = stage.provider("new")["metadata"]["uid"]
    provider_deleted(stage)
    await stage.settle()
    assert set(keys(stage)) == {"legacy"}
    fingerprint_of_new = fingerprint(Side(provider="new"), provider_uid=new)
    jump = {names.ANNOTATION_ALLOW_JUMP: f"{fingerprint_of_new}/2"}
    stage.route(stable={"provider": "new"}, annotations=jump)
    await stage.settle()
    assert set(keys(stage)) == {"new"}
    assert stage.condition("Tenant", "finance", "CredentialsReady")["message"] == (
        "API keys and provider keys are in place"
    )
    await life.end()


@in_virtual_time
async def test_a_condition_says_who_still_uses_a_deleted_provider() -> None:
    stage, life = await a_stage(ADDRESSES[0])
    provider_deleted(stage)
    await stage.settle()
    found = stage.condition("Tenant", "finance", "CredentialsReady")
    assert (found["status"], found["message"]) == (
        "True",
        "API keys and provider keys are in place; there is no Provider legacy any more; "
        "its key and network access stay while route chat that uses it is in force",
    )
    route = stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert (route["status"], route["reason"]) == ("False", Reason.PROVIDER_NOT_FOUND)
    await life.end()


@in_virtual_time
async def test_a_provider_without_its_secret_says_who_goes_on_with_the_last_key() -> None:
    stage, life = await a_stage(ADDRESSES[0])
    secret_deleted(stage)
    stage.provider("legacy", key=False, headers={"x": "1"})
    await stage.settle()
    message = stage.condition("Provider", "legacy", "Ready")["message"]
    assert message == (
        "there is no Secret relay-system/legacy-key with the label relay-operator.dev/provider=legacy; "
        "create it with the entry api-key, or label it; relays go on with the last key that "
        "they were given, if any; Tenants with routes to it: finance"
    )
    stage.secret("legacy-key", value="bmV3")
    await stage.settle()
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    assert keys(stage) == {"legacy": "bmV3"}
    await life.end()


@in_virtual_time
async def test_a_key_that_was_never_there_is_not_said_to_stay() -> None:
    stage, life = await a_stage(ADDRESSES[0])
    stage.provider("new", key=False)
    stage.route(fallback=[{"provider": "new"}])
    await stage.settle()
    message = stage.condition("Tenant", "finance", "Ready")["message"]
    assert message == (
        "there is no Secret relay-system/new-key with the label relay-operator.dev/provider=new; "
        "create it with the entry api-key, or label it"
    )
    await life.end()


def test_what_the_most_providers_need_fits_into_its_objects() -> None:
    names_ = [f"{n:03d}".ljust(63, "p") for n in range(document_size.MOST_PROVIDERS)]
    cidrs = tuple(f"2001:db8:{n:04x}:ffff:ffff:ffff:ffff:ffff/128" for n in range(32))
    selector = tuple((f"{n:02d}".ljust(190, "l"), "v" * 60) for n in range(6))
    assert sum(len(a) + len(b) for a, b in selector) == upstreams.MOST_SELECTOR_CHARACTERS
    tenant = Tenant.parse({"metadata": {"name": "finance", "uid": "u" * 36}, "spec": {}})
    base = composition.tenant_part(tenant, {}, replicas=1)
    access = UpstreamAccess(
        api=InMemoryApiServer().connect(),
        watched_state=WatchedState(),
        signing_key=SIGNING_KEY,
        operator_namespace=SYSTEM,
    )
    for more in (
        {"cidrs": cidrs, "port": 65535},
        {"namespace": "n" * 63, "pod_selector": selector, "port": "p" * 15},
    ):
        found = {name: Upstream(provider=name, **more) for name in names_}
        publication = Publication(
            tenant=tenant, base=base, contents=Contents("relay-finance"), upstreams=found
        )
        assert len(access.note(publication)) < 255 * 1024
    secret = credentials.upstream_keys(tenant, dict.fromkeys(names_, "k" * 8192))
    assert sum(len(base64.b64decode(value)) for value in secret["data"].values()) < 1024 * 1024


def test_what_the_secret_cannot_hold_is_left_out_and_what_is_in_force_stays_longest() -> None:
    tenant = Tenant.parse({"metadata": {"name": "finance", "uid": "u"}, "spec": {}})
    base = composition.tenant_part(tenant, {}, replicas=1)
    side = document.Side(provider="a", fingerprint="0" * 12)
    contents = Contents("relay-finance", [document.Route(name="chat", stable=side)])
    publication = Publication(tenant=tenant, base=base, contents=contents)
    values = dict.fromkeys(("a", "b", "c_tls.crt"), "x" * 400000) | {"c_tls.key": "x"}
    assert _without_room(publication, values) == ["b"]
    assert set(values) == {"a", "c_tls.crt", "c_tls.key"}
    assert _without_room(publication, values) == []
    values |= {"d_proxy": "x" * 900_000}
    assert _without_room(publication, values) == ["c", "d"]
    assert set(values) == {"a"}
    values |= {"_tools_crm": "x" * 400_000, "_tools_erp": "x" * 400_000, "b": "x" * 400_000}
    assert _without_room(publication, values) == ["b", "_tools_crm"]
    assert set(values) == {"a", "_tools_erp"}
    assert "for what ToolServer crm is" in _no_room("_tools_crm", "relay-finance").message
    message = _no_room("d", "relay-finance").message
    assert message.startswith("Secret relay-finance/relay-upstream has no room for what Provider d")
