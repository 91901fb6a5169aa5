"""Providers: address and key are looked up, and what is missing is named until it is there."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.names import Reason

REF = {"serviceRef": {"namespace": SYSTEM, "name": "llm", "port": 80}}


def ready(stage: Stage, name: str = "legacy") -> tuple[str, str]:
    found = stage.condition("Provider", name, "Ready")
    return found.get("status", ""), found.get("reason", "")


def put_service(stage: Stage, **spec: Any) -> None:
    body = {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": 8080}]} | spec
    metadata = {"name": "llm", "namespace": SYSTEM}
    stage.server.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body})


async def started(stage: Stage) -> Life:
    life = await stage.operator()
    await stage.settle()
    return life


@in_virtual_time
async def test_a_provider_with_address_and_key_is_ready() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await started(stage)
    assert ready(stage) == ("True", Reason.CONFIGURED)
    status = stage.status("Provider", "legacy")
    assert (status["url"], status["tenants"]) == ("https://legacy.example.com/v1", 0)
    assert life.watched_state.upstreams["legacy"].port == 443
    await life.end()


@in_virtual_time
async def test_a_provider_without_a_key_of_its_own_needs_no_secret() -> None:
    stage = Stage()
    stage.provider("legacy", key=False, auth=None)
    life = await started(stage)
    assert ready(stage) == ("True", Reason.CONFIGURED)
    await life.end()


@in_virtual_time
async def test_a_missing_secret_is_named_and_found_once_it_is_there() -> None:
    stage = Stage()
    stage.provider("legacy", key=False)
    life = await started(stage)
    assert ready(stage) == ("False", Reason.SECRET_MISSING)
    message = stage.condition("Provider", "legacy", "Stalled")["message"]
    assert message == (
        "there is no Secret relay-system/legacy-key with the label relay-operator.dev/provider=legacy; "
        "create it with the entry api-key, or label it"
    )
    stage.secret("legacy-key")
    await stage.settle()
    assert ready(stage) == ("True", Reason.CONFIGURED)
    assert stage.condition("Provider", "legacy", "Stalled") == {}
    await life.end()


@pytest.mark.parametrize(
    "spec",
    [
        {"ports": [{"port": 81}]},
        {"selector": None},
        {"selector": {f"label-{n}": "v" * 63 for n in range(30)}},
    ],
    ids=["other port", "no selector", "a huge selector"],
)
@in_virtual_time
async def test_a_service_that_leads_nowhere_is_looked_at_again(spec: dict[str, Any]) -> None:
    stage = Stage()
    put_service(stage, **spec)
    stage.provider("legacy", endpoint=REF)
    life = await started(stage)
    assert ready(stage) == ("False", Reason.SERVICE_UNUSABLE)
    put_service(stage)
    await stage.settle()
    assert ready(stage) == ("True", Reason.CONFIGURED)
    upstream = life.watched_state.upstreams["legacy"]
    assert (upstream.port, upstream.pod_selector) == (8080, (("app", "llm"),))
    stage.server.remove("Service", "llm", namespace=SYSTEM)
    await stage.settle(6)
    assert ready(stage) == ("False", Reason.SERVICE_NOT_FOUND)
    assert "legacy" not in life.watched_state.upstreams
    await life.end()


@in_virtual_time
async def test_a_service_that_changes_is_followed_by_the_policies_of_those_who_use_it() -> None:
    stage = Stage()
    put_service(stage)
    stage.provider("legacy", endpoint=REF)
    stage.tenant()
    life = await started(stage)
    stage.pod()
    stage.route()
    await stage.settle()

    def opened() -> list[dict[str, Any]]:
        policy = stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance")
        rules: list[dict[str, Any]] = policy["spec"]["egress"][1:]
        return rules

    def rule(selector: dict[str, str], port: int | str) -> dict[str, Any]:
        name = {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}}
        peer = {"namespaceSelector": name, "podSelector": {"matchLabels": selector}}
        return {"to": [peer], "ports": [{"protocol": "TCP", "port": port}]}

    assert opened() == [rule({"app": "llm"}, 8080)]
    put_service(stage, ports=[{"port": 80, "targetPort": "http"}])
    await stage.settle(6)
    assert opened() == [rule({"app": "llm"}, "http")]
    put_service(stage, selector={"app": "llm", "color": "green"})
    await stage.settle(6)
    assert opened() == [rule({"app": "llm", "color": "green"}, 8080)]
    # what is in force stays while the Service leads nowhere
    put_service(stage, selector=None)
    await stage.settle(6)
    assert ready(stage) == ("False", Reason.SERVICE_UNUSABLE)
    assert opened() == [rule({"app": "llm", "color": "green"}, 8080)]
    await life.end()


@in_virtual_time
async def test_a_spec_that_cannot_be_read_stalls_the_provider() -> None:
    stage = Stage()
    stage.provider("legacy", models="all")
    life = await started(stage)
    assert ready(stage) == ("False", Reason.INVALID_SPEC)
    assert "url" not in stage.status("Provider", "legacy")
    await life.end()


@pytest.mark.parametrize(
    ("http_status", "reason", "abnormal"),
    [
        (403, Reason.API_SERVER_REFUSED, "Stalled"),
        (503, Reason.API_SERVER_UNAVAILABLE, "Reconciling"),
    ],
)
@in_virtual_time
async def test_a_look_up_that_fails_is_told_in_the_api_servers_words(
    http_status: int, reason: Reason, abnormal: str
) -> None:
    stage = Stage()
    put_service(stage)
    stage.provider("legacy", endpoint=REF)
    life = stage.life()
    life.api.failures.statuses["Service"] = http_status
    await life.start()
    await stage.settle()
    assert ready(stage) == ("False", reason)
    found = stage.condition("Provider", "legacy", abnormal)
    assert (found["status"], found["reason"]) == ("True", reason)
    assert f"GET Service: {http_status} injected" in found["message"]
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert ready(stage) == ("True", Reason.CONFIGURED)
    await life.end()


@in_virtual_time
async def test_tenants_that_use_a_provider_are_counted_and_looked_at_when_it_changes() -> None:
    stage = Stage()
    stage.provider("legacy", limits={"requestsPerMinute": 100})
    for tenant in ("finance", "marketing"):
        stage.tenant(tenant)
    life = await started(stage)
    for tenant in ("finance", "marketing"):
        stage.pod(tenant=tenant)
        stage.route(tenant=tenant)
    await stage.settle()
    assert stage.status("Provider", "legacy")["tenants"] == 2
    stage.provider("legacy", limits={"requestsPerMinute": 60})
    await stage.settle()
    shares = [
        provider.limits.requests_per_minute
        for served in stage.relays.documents.values()
        for provider in served.catalogue.providers
    ]
    assert shares == [30, 30]
    await life.end()


@in_virtual_time
async def test_a_deleted_provider_is_forgotten() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await started(stage)
    stage.server.remove("Provider", "legacy")
    await stage.settle()
    assert "legacy" not in life.watched_state.upstreams
    assert "legacy" not in life.watched_state.resolved
    await life.end()


@pytest.mark.parametrize(
    "url", ["HTTPS://api.example.com/v1", "http:///v1", "http://example.com:99999/v1"]
)
@in_virtual_time
async def test_a_url_that_no_relay_can_use_is_told_by_its_provider_and_blocks_no_other_route(
    url: str,
) -> None:
    stage = Stage()
    # an object from before the API server refused that
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.provider("wrong", endpoint={"url": url})
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route("first", match={"models": ["a"]}, stable={"provider": "wrong"})
    stage.route("second", match={"models": ["b"]}, fallback=[{"provider": "wrong"}])
    stage.route("third", match={"models": ["c"]}, stable={"provider": "new"})
    await stage.settle(10)
    ready = stage.condition("Provider", "wrong", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.INVALID_SPEC)
    assert stage.condition("RelayRoute", "third", "Ready", tenant="finance")["status"] == "True"
    for route in ("first", "second"):
        accepted = stage.condition("RelayRoute", route, "Accepted", tenant="finance")
        assert (accepted["status"], accepted["reason"]) == ("False", Reason.PROVIDER_NOT_FOUND)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_provider_that_names_a_forbidden_address_leads_no_relay_there() -> None:
    stage = Stage()
    stage.provider("legacy", endpoint={"url": "http://169.254.169.254/v1"}, auth=None)
    stage.tenant()
    life = await started(stage)
    stage.pod()
    stage.route()
    await stage.settle()
    assert ready(stage) == ("False", Reason.ADDRESS_FORBIDDEN)
    assert stage.condition("Provider", "legacy", "Stalled")["status"] == "True"
    found = stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert (found["status"], found["reason"]) == ("False", Reason.PROVIDER_NOT_FOUND)
    assert "legacy" not in life.watched_state.upstreams
    await life.end()
