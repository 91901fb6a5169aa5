"""More routes, and larger Providers, than a tenant's document holds: the oldest are served, and the brake always fits."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document, endpoints, seal
from relay_operator.manifests import document_size
from relay_operator.names import Reason

SPACE = "relay-finance"
FAT_ROUTES = 16
CANARY = {"provider": "new", "percent": 10}


def fat(number: int, models: int = 32) -> dict[str, Any]:
    """Returns the match of a route that takes 16 kB: a quote becomes four characters in the envelope."""
    return {"models": [f"{number:04d}-{model:02d}-".ljust(128, '"') for model in range(models)]}


def models(count: int) -> list[dict[str, str]]:
    return [{"name": f"{number:03d}".ljust(128, "m")} for number in range(count)]


@pytest.fixture(autouse=True)
def _a_fifth_of_the_room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets fewer routes fill a document, but for the test of the bound itself."""
    if "bound" not in request.node.name:
        monkeypatch.setattr(document_size, "MOST_BYTES", document_size.MOST_BYTES // 5)


async def a_stage() -> tuple[Stage, Life]:
    """Sets up a tenant with one relay pod, and two providers; no route yet."""
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant(apiKeys=[{"name": "web"}, {"name": "batch"}])
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    return stage, life


def routes_of(stage: Stage, count: int) -> list[str]:
    """Creates fat routes, one a second, of which about 11 fit."""
    created = [f"r{number:04d}" for number in range(count)]
    for number, name in enumerate(created):
        stage.clock.now += 1
        stage.route(name, match=fat(number), canary=CANARY)
    return created


def accepted(stage: Stage, name: str) -> tuple[str, str]:
    found = stage.condition("RelayRoute", name, "Accepted", tenant="finance")
    return found.get("status", ""), found.get("reason", "")


def stored(stage: Stage) -> document.Document:
    """Returns the document in the ConfigMap."""
    configmap = stage.server.stored("ConfigMap", "relay-document", namespace=SPACE)
    sealed = configmap["data"][endpoints.DOCUMENT_KEY]
    return seal.unseal(sealed, [SIGNING_KEY.public_key()])[0]


def in_force(stage: Stage) -> document.Document:
    """Returns the document that the relay pod runs, which is the stored one."""
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    served = stage.relays.documents[uid]
    assert served == stored(stage)
    return served


def served(stage: Stage) -> list[str]:
    return [route.name for route in in_force(stage).tenant.routes]


def refused(stage: Stage, *routes: str) -> bool:
    return all(accepted(stage, name) == ("False", Reason.DOCUMENT_FULL) for name in routes)


@in_virtual_time
async def test_a_document_at_its_bound_is_stored_and_delivered() -> None:
    stage, life = await a_stage()
    routes_of(stage, 70)
    await stage.settle(30)
    assert 47 < len(served(stage)) < 57
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_the_youngest_routes_that_do_not_fit_are_refused_by_name() -> None:
    stage, life = await a_stage()
    created = routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    fitting = served(stage)
    assert 5 < len(fitting) < FAT_ROUTES - 3
    assert fitting == created[: len(fitting)]
    assert refused(stage, *created[len(fitting) :])
    found = stage.condition("RelayRoute", created[-1], "Ready", tenant="finance")
    assert "bytes more of the tenant's configuration" in found["message"]
    assert "delete or shorten routes" in found["message"]
    assert stage.events().count("DocumentFull") == FAT_ROUTES - len(fitting)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_the_oldest_are_served_whatever_order_the_operator_meets_them_in() -> None:
    stage, life = await a_stage()
    await life.end()
    created = routes_of(stage, FAT_ROUTES)
    # lists are sorted by name; now the oldest is the last of them
    for number, name in enumerate(created):
        stage.server.remove("RelayRoute", name, namespace=SPACE)
        created[number] = f"x{FAT_ROUTES - number:03d}"
        stage.clock.now += 1
        stage.route(created[number], match=fat(number))
    life = await stage.operator()
    await stage.settle(30)
    fitting = sorted(served(stage), reverse=True)
    assert fitting == created[: len(fitting)]
    assert refused(stage, *created[len(fitting) :])
    await life.end()


@in_virtual_time
async def test_a_restart_serves_and_refuses_the_same_routes() -> None:
    stage, life = await a_stage()
    created = routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    before = served(stage)
    await life.end()
    # one that is older than all in force, while nobody looks, waits as the others do
    stage.clock.now -= 10_000
    stage.route("oldest", match=fat(FAT_ROUTES))
    stage.clock.now += 10_000
    life = await stage.operator()
    await stage.settle(30)
    assert served(stage) == before
    assert refused(stage, "oldest", *created[len(before) :])
    assert {write.key[0] for write in life.api.writes if write.changed} <= {
        "RelayRoute",
        "Event",
        "Pod",
    }
    await life.end()


@in_virtual_time
async def test_the_brake_acts_in_a_full_document() -> None:
    stage, life = await a_stage()
    created = routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    first, second, third = created[:3]
    stage.route(first, match=fat(0), canary={"provider": "new", "percent": 0})
    # also in a spec that needs more than there is
    stage.route(
        second, match=fat(1) | {"tasks": ["t".ljust(64, "t")]}, canary=CANARY | {"percent": 4}
    )
    await stage.settle()
    assert stage.relays.weight("relay-1", first, namespace=SPACE) == 0
    assert stage.relays.weight("relay-1", second, namespace=SPACE) == 4
    stage.server.remove("RelayRoute", third, namespace=SPACE)
    stage.tenant(apiKeys=[{"name": "web"}], suspend=True)
    await stage.settle()
    document_in_force = in_force(stage)
    assert third not in served(stage)
    assert document_in_force.tenant.suspended
    assert [key.name for key in document_in_force.tenant.keys] == ["web"]
    await life.end()


@in_virtual_time
async def test_a_route_that_grows_beyond_the_room_keeps_its_last_form() -> None:
    stage, life = await a_stage()
    created = routes_of(stage, FAT_ROUTES)
    stage.route("small")
    await stage.settle(30)
    before = in_force(stage)
    assert before.tenant.routes[-1].name == "small"
    stage.route("small", match=fat(FAT_ROUTES))
    await stage.settle()
    assert accepted(stage, "small") == ("False", Reason.DOCUMENT_FULL)
    assert in_force(stage).tenant.routes == before.tenant.routes
    assert created[0] in served(stage)
    await life.end()


@in_virtual_time
async def test_freed_room_is_taken_by_the_oldest_that_waits() -> None:
    stage, life = await a_stage()
    created = routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    count = len(served(stage))
    stage.server.remove("RelayRoute", created[5], namespace=SPACE)
    await stage.settle()
    assert served(stage) == [*created[:5], *created[6 : count + 1]]
    # a shorter route frees room as well
    stage.route(created[0], match=fat(0, models=1))
    await stage.settle()
    assert len(served(stage)) == count + 1
    assert accepted(stage, created[count + 1]) == ("True", Reason.ACCEPTED)
    # and one that waits in vain for its provider holds none
    stage.route(created[count + 2], match=fat(count + 2), stable={"provider": "nobody"})
    stage.server.remove("RelayRoute", created[6], namespace=SPACE)
    await stage.settle()
    assert created[count + 3] in served(stage)
    await life.end()


@in_virtual_time
async def test_a_provider_that_grows_beyond_the_room_keeps_its_models_and_says_so() -> None:
    stage, life = await a_stage()
    routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    before = in_force(stage)
    stage.provider("legacy", models=models(128), limits={"requestsPerMinute": 7})
    await stage.settle()
    now = in_force(stage)
    [legacy] = [one for one in now.catalogue.providers if one.name == "legacy"]
    assert (legacy.models, legacy.limits.requests_per_minute) == ((), 7)
    assert now.tenant.routes == before.tenant.routes
    ready = stage.condition("Tenant", "finance", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.DOCUMENT_FULL)
    assert "Provider legacy has become too large" in ready["message"]
    assert stage.condition("Tenant", "finance", "Stalled")["reason"] == Reason.DOCUMENT_FULL
    stage.provider("legacy")
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_room_that_a_provider_frees_is_taken() -> None:
    stage, life = await a_stage()
    stage.provider("new", headers={f"x-{number}": '"' * 512 for number in range(16)})
    await stage.settle()
    routes_of(stage, FAT_ROUTES)
    await stage.settle(30)
    before = served(stage)
    assert before
    stage.provider("new")
    await stage.settle()
    assert len(served(stage)) > len(before)
    assert served(stage)[: len(before)] == before
    await life.end()


@in_virtual_time
async def test_refused_routes_bring_no_provider_into_the_tenants_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document_size, "MOST_PROVIDERS", 3)
    stage, life = await a_stage()
    for name in ("p1", "p2", "p3", "p4"):
        stage.provider(name)
        stage.clock.now += 1
        stage.route(name, match={"models": [name]}, stable={"provider": name})
    await stage.settle()
    assert served(stage) == ["p1", "p2", "p3"]
    assert refused(stage, "p4")
    secret = stage.server.stored("Secret", "relay-upstream", namespace=SPACE)
    assert sorted(secret["data"]) == ["p1", "p2", "p3"]
    policy = stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)
    assert len(policy["spec"]["egress"]) == 1 + 3
    stage.server.remove("RelayRoute", "p2", namespace=SPACE)
    await stage.settle()
    assert served(stage) == ["p1", "p3", "p4"]
    await life.end()
