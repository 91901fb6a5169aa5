"""A Provider is no open door: who may not use it, or has no route that is accepted, gets no key, no way and no share."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document
from relay_operator import names
from relay_operator.errors import ApiServerRefused
from relay_operator.reconcile.work_queue import Key

EU = {"residency": "eu"}
ONLY_EU: dict[str, Any] = {"allowedTenants": {"matchLabels": EU}, "region": "eu-west"}


def keys(stage: Stage, tenant: str = "finance") -> set[str]:
    space = names.tenant_namespace(tenant)
    secret = stage.server.get("Secret", names.UPSTREAM_SECRET, namespace=space) or {}
    return set(secret.get("data") or {})


def ways(stage: Stage, tenant: str = "finance") -> int:
    """Counts the ways out that the tenant's policy has beside that to DNS."""
    space = names.tenant_namespace(tenant)
    policy = stage.server.stored("NetworkPolicy", names.RELAY, namespace=space)
    return len(policy["spec"]["egress"]) - 1


def accepted(stage: Stage, route: str = "chat", *, tenant: str = "finance") -> tuple[str, str]:
    found = stage.condition("RelayRoute", route, "Accepted", tenant=tenant)
    return found["reason"], found["message"]


def in_force(life: Life, tenant: str = "finance") -> dict[str, document.Provider]:
    publication = life.publisher.publication(names.tenant_namespace(tenant))
    assert publication is not None
    assert publication.document is not None
    return {one.name: one for one in publication.document.catalogue.providers}


async def a_stage(**labels: str) -> tuple[Stage, Life]:
    """Returns a tenant with a route to legacy, which everybody may use, beside the Provider eu."""
    stage = Stage()
    limits = {"requestsPerMinute": 100}
    stage.provider("legacy", limits=limits, models=[{"name": "gpt-4.1"}])
    stage.provider("eu", limits=limits, **ONLY_EU)
    stage.tenant(labels=labels)
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    return stage, life


@in_virtual_time
async def test_who_is_not_allowed_gets_nothing_and_learns_of_no_provider() -> None:
    stage, life = await a_stage()
    stage.route("probe", match={"models": ["x"]}, stable={"provider": "eu"})
    stage.route("guess", match={"models": ["y"]}, stable={"provider": "eu2"})
    await stage.settle()
    reason, message = accepted(stage, "probe")
    assert reason == "ProviderNotFound"
    # a Provider that is not for this tenant reads like one that does not exist
    assert accepted(stage, "guess") == (reason, message.replace("Provider eu:", "Provider eu2:"))
    assert message.endswith("it can use: legacy")
    assert keys(stage) == {"legacy"}
    assert ways(stage) == 1
    assert stage.status("Provider", "eu")["tenants"] == 0
    await life.end()


@in_virtual_time
async def test_a_tenant_that_is_allowed_has_key_way_and_share() -> None:
    stage, life = await a_stage(**EU)
    stage.route("eu", match={"models": ["x"]}, stable={"provider": "eu"})
    await stage.settle()
    assert accepted(stage, "eu")[0] == "Accepted"
    assert "eu" in keys(stage)
    assert in_force(life)["eu"].limits.requests_per_minute == 100
    assert stage.status("Provider", "eu")["tenants"] == 1
    await life.end()


@in_virtual_time
async def test_a_residency_keeps_a_tenant_from_every_other_region() -> None:
    stage = Stage()
    stage.provider("us", region="us-east")
    stage.provider("nowhere")
    stage.provider("eu", region="eu-west")
    stage.tenant(labels=EU)
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    for name in ("us", "nowhere"):
        stage.route(
            name, match={"models": [name]}, stable={"provider": "eu"}, fallback=[{"provider": name}]
        )
    stage.route("eu", match={"models": ["eu"]}, stable={"provider": "eu"})
    await stage.settle()
    reason, message = accepted(stage, "us")
    assert reason == "ProviderNotAllowed"
    assert message.startswith(
        "Provider us is in region us-east, and this Tenant has the label residency=eu"
    )
    assert accepted(stage, "nowhere")[1].startswith("Provider nowhere names no region")
    assert accepted(stage, "eu")[0] == "Accepted"
    assert keys(stage) == {"eu"}
    await life.end()


REFUSED: dict[str, dict[str, Any]] = {
    "conflicted": {"stable": {"provider": "shared"}},
    "model not found": {
        "match": {"models": ["z"]},
        "stable": {"provider": "shared", "model": "none"},
    },
    "other provider missing": {
        "match": {"models": ["z"]},
        "stable": {"provider": "shared"},
        "fallback": [{"provider": "nobody"}],
    },
}


@pytest.mark.parametrize("spec", REFUSED.values(), ids=REFUSED)
@in_virtual_time
async def test_a_refused_route_takes_no_key_no_way_and_no_share(spec: dict[str, Any]) -> None:
    stage, life = await a_stage()
    stage.provider(
        "shared", limits={"requestsPerMinute": 100}, models=[{"name": "m"}, {"name": "z"}]
    )
    stage.tenant("owner")
    await stage.settle()
    stage.pod("relay-9", tenant="owner")
    stage.route(tenant="owner", stable={"provider": "shared"})
    await stage.settle()
    stage.route("taker", **spec)
    await stage.settle()
    assert stage.condition("RelayRoute", "taker", "Accepted", tenant="finance")["status"] == "False"
    assert keys(stage) == {"legacy"}
    assert ways(stage) == 1
    assert in_force(life, "owner")["shared"].limits.requests_per_minute == 100
    assert stage.status("Provider", "shared")["tenants"] == 1
    await life.end()
    # nor does it after a restart of the operator, before the route is looked at again
    again = await stage.operator()
    assert again.watched_state.provider_share("shared", "owner") == 1.0
    await stage.settle()
    assert again.watched_state.provider_share("shared", "owner") == 1.0
    await again.end()


@in_virtual_time
async def test_a_route_that_is_corrected_gets_its_part_and_gives_it_back_when_it_goes() -> None:
    stage, life = await a_stage()
    stage.provider("shared", limits={"requestsPerMinute": 100}, models=[{"name": "m"}])
    stage.tenant("owner")
    await stage.settle()
    stage.pod("relay-9", tenant="owner")
    stage.route(tenant="owner", stable={"provider": "shared"})
    stage.route("taker", match={"models": ["z"]}, stable={"provider": "shared"})
    await stage.settle()
    assert in_force(life, "owner")["shared"].limits.requests_per_minute == 100
    # a model that is added to the Provider is enough: its routes are looked at again
    stage.provider(
        "shared", limits={"requestsPerMinute": 100}, models=[{"name": "m"}, {"name": "z"}]
    )
    await stage.settle()
    assert accepted(stage, "taker")[0] == "Accepted"
    assert in_force(life, "owner")["shared"].limits.requests_per_minute == 50
    stage.server.remove("RelayRoute", "taker", namespace="relay-finance")
    await stage.settle()
    assert in_force(life, "owner")["shared"].limits.requests_per_minute == 100
    assert keys(stage) == {"legacy"}
    await life.end()


def label_taken(stage: Stage) -> None:
    stage.tenant(labels={})


def selector_changed(stage: Stage) -> None:
    stage.provider("eu", allowedTenants={"matchLabels": {"residency": "us"}}, region="eu-west")


def region_changed(stage: Stage) -> None:
    stage.provider("eu", allowedTenants={"matchLabels": EU}, region="us-east")


def under_an_invalid_spec(stage: Stage) -> None:
    stage.provider(
        "eu",
        endpoint={"url": "https://u:p@eu.example.com"},
        allowedTenants={"matchLabels": {"a": "b"}},
    )


@pytest.mark.parametrize(
    "taken", [label_taken, selector_changed, region_changed, under_an_invalid_spec]
)
@in_virtual_time
async def test_a_tenant_that_is_taken_out_loses_key_way_and_calls_at_once(taken: Any) -> None:
    stage, life = await a_stage(**EU)
    stage.provider("home", region="eu")
    stage.tenant("other", labels=EU)
    stage.route(
        "eu", match={"models": ["x"]}, stable={"provider": "eu"}, fallback=[{"provider": "home"}]
    )
    await stage.settle()
    assert {"eu", "home"} <= keys(stage)
    taken(stage)
    await stage.settle()
    closed = in_force(life)["eu"]
    assert closed.closed
    assert (closed.auth.key_file, closed.headers) == (None, {})
    assert "eu" not in keys(stage)
    assert "home" in keys(stage)
    assert accepted(stage, "eu")[0] in ("ProviderNotFound", "ProviderNotAllowed")
    assert stage.status("Provider", "eu")["tenants"] == 0
    # nobody waits for a key that is not to come
    assert stage.condition("Tenant", "finance", "Programmed")["status"] == "True"
    stage.tenant(labels=EU)
    stage.provider("eu", **ONLY_EU)
    await stage.settle()
    assert not in_force(life)["eu"].closed
    assert "eu" in keys(stage)
    assert accepted(stage, "eu")[0] == "Accepted"
    await life.end()


@pytest.mark.parametrize("failing", [{"Provider": 403}, {"Service": 503}, {"Event": 503}])
@pytest.mark.parametrize("taken", [selector_changed, under_an_invalid_spec])
@in_virtual_time
async def test_what_is_taken_from_a_tenant_waits_for_nothing_of_the_provider(
    taken: Any, failing: dict[str, int]
) -> None:
    stage, life = await a_stage(**EU)
    stage.route("eu", match={"models": ["x"]}, stable={"provider": "eu"})
    await stage.settle()
    life.api.failures.statuses = failing
    taken(stage)
    await stage.settle()
    assert in_force(life)["eu"].closed
    assert keys(stage) == set()
    assert ways(stage) == 0
    await life.end()


@in_virtual_time
async def test_a_secret_that_cannot_be_read_keeps_no_other_key_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, life = await a_stage(**EU)
    stage.provider("home", region="eu")
    stage.route("home", match={"models": ["y"]}, stable={"provider": "home"})
    stage.route("eu", match={"models": ["x"]}, stable={"provider": "eu"})
    await stage.settle()
    before = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace="relay-finance")["data"]
    get = life.api.get

    async def guarded(kind: str, name: str, *, namespace: str = "") -> Any:
        if (kind, namespace) == ("Secret", SYSTEM):
            raise ApiServerRefused(f"GET {kind}: 403 forbidden", status=403)
        return await get(kind, name, namespace=namespace)

    monkeypatch.setattr(life.api, "get", guarded)
    # what was read of one before is gone once another look at it has failed
    life.queue.add(Key("Provider", "", "home"))
    await stage.settle(0.1)
    stage.provider("eu", allowedTenants={"matchLabels": {"residency": "us"}}, region="eu-west")
    await stage.settle()
    after = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace="relay-finance")["data"]
    # of the Provider whose Secret is not read either, what it was last shown stays
    assert after == {"home": before["home"]}
    assert in_force(life)["eu"].closed
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "False"
    monkeypatch.undo()
    await stage.settle(40)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_canary_whose_provider_is_closed_has_no_weight_and_does_not_come_back_alone() -> (
    None
):
    stage, life = await a_stage(**EU)
    stage.provider("legacy", region="eu", models=[{"name": "gpt-4.1"}])
    route = stage.route(canary={"provider": "eu", "percent": 50})
    await stage.settle(10)
    assert stage.status("RelayRoute", "chat", tenant="finance")["weights"]["canaryPercent"] == 50
    label_taken(stage)
    await stage.settle()
    publication = life.publisher.publication("relay-finance")
    assert publication is not None
    assert publication.fragments["chat"].canary_percent == 0
    assert "eu" not in keys(stage)
    assert route["metadata"]["name"] == "chat"
    await life.end()


@in_virtual_time
async def test_only_a_tenant_that_owns_its_namespace_has_a_share() -> None:
    stage, life = await a_stage()
    stage.server.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-squatter"}}
    )
    stage.tenant("squatter")
    stage.route(tenant="squatter")
    await stage.settle()
    assert in_force(life)["legacy"].limits.requests_per_minute == 100
    assert stage.status("Provider", "legacy")["tenants"] == 1
    await life.end()


@in_virtual_time
async def test_a_canary_that_lacks_what_stable_has_is_told_and_holds_nothing_up() -> None:
    stage, life = await a_stage()
    able = {"name": "gpt-4.1", "capabilities": {"contextWindow": 1000, "tools": True}}
    stage.provider("legacy", models=[able])
    stage.provider("new", models=[able | {"capabilities": {"contextWindow": 1000}}])
    stage.route(canary={"provider": "new", "percent": 50})
    await stage.settle(15)
    found = stage.condition("RelayRoute", "chat", "CanaryCapable", tenant="finance")
    assert (found["status"], found["reason"]) == ("False", "CapabilityMissing")
    assert "gpt-4.1: no tools" in found["message"]
    assert stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["status"] == "True"
    assert stage.status("RelayRoute", "chat", tenant="finance")["weights"]["canaryPercent"] == 50
    # what is said of the catalogue is looked at again at once
    stage.provider("new", models=[able])
    await stage.settle()
    found = stage.condition("RelayRoute", "chat", "CanaryCapable", tenant="finance")
    assert (found["status"], found["reason"]) == ("True", "CapabilitiesMatch")
    await life.end()


@in_virtual_time
async def test_a_quota_that_tenants_are_promised_more_than_once_is_told() -> None:
    stage, life = await a_stage()
    assert stage.condition("Provider", "legacy", "Oversubscribed")["status"] == "False"
    stage.tenant(limits={"requestsPerMinute": 101})
    await stage.settle()
    found = stage.condition("Provider", "legacy", "Oversubscribed")
    assert (found["status"], found["reason"]) == ("True", "PromisedMore")
    # it is for the platform to decide; nothing is held up
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    stage.provider("legacy")
    await stage.settle()
    assert stage.condition("Provider", "legacy", "Oversubscribed") == {}
    await life.end()


@in_virtual_time
async def test_others_have_the_part_of_a_suspended_tenant_until_it_goes_on() -> None:
    stage, life = await a_stage()
    stage.tenant("second")
    await stage.settle()
    stage.pod("relay-2", tenant="second")
    stage.route(tenant="second")
    await stage.settle()

    def parts() -> list[int | None]:
        known = (in_force(life, tenant)["legacy"] for tenant in ("finance", "second"))
        return [one.limits.requests_per_minute for one in known]

    assert parts() == [50, 50]
    stage.tenant("second", suspend=True)
    await stage.settle()
    assert parts()[0] == 100
    assert stage.status("Provider", "legacy")["tenants"] == 1
    assert "legacy" in keys(stage, "second")
    stage.tenant("second")
    await stage.settle()
    assert parts() == [50, 50]
    await life.end()


@pytest.mark.parametrize("into", [0.2, 1.1, 2.2])
@in_virtual_time
async def test_a_tenant_that_its_labels_shut_out_makes_no_call_past_a_slow_reconcile(
    into: float,
) -> None:
    stage, life = await a_stage(**EU)
    stage.route("eu", match={"models": ["x"]}, stable={"provider": "eu"})
    await stage.settle()
    life.api.failures.seconds = 1.0
    life.queue.add(Key("Tenant", "", "finance"))
    await stage.settle(into)
    label_taken(stage)
    await stage.settle(0.5)
    [pod] = stage.relays.documents
    closed = {one.name: one.closed for one in stage.relays.documents[pod].catalogue.providers}
    assert closed == {"eu": True}
    # the reconcile that was under way does not open it again
    for _ in range(40):
        await stage.settle(0.25)
        assert in_force(life)["eu"].closed
    await life.end()
