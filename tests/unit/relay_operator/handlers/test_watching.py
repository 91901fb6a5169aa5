"""Handlers update the watched state and enqueue each intent once, in whatever order an object comes to be known."""

import itertools
from dataclasses import replace
from typing import Any

import kopf
import pytest
from tests.unit.relay_operator.handlers.recording_queue import a_context
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.manifests.test_tenant_objects import every_object

from relay_operator import names
from relay_operator.cluster.api_server import PATHS
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.handlers import listing, owned_objects, resources, watches
from relay_operator.handlers.context import Context
from relay_operator.manifests import capacity

PROVIDERS = ("Provider/p", "Provider/q")
ROUTE = {"stable": {"provider": "p"}, "canary": {"provider": "q", "percent": 10}}


def a_body(
    name: str,
    *,
    namespace: str = "",
    generation: int = 1,
    uid: str = "",
    version: int | None = None,
    annotations: dict[str, str] | None = None,
    **fields: Any,
) -> kopf.Body:
    metadata: dict[str, Any] = {
        "name": name,
        "uid": uid or f"uid-{name}",
        "generation": generation,
        "managedFields": ["long"],
    }
    if namespace:
        metadata["namespace"] = namespace
    if version is not None:
        metadata["resourceVersion"] = str(version)
    if annotations is not None:
        metadata["annotations"] = annotations
    raw: Any = {"kind": "X", "metadata": metadata, **fields}
    return kopf.Body(raw)


async def tenant_event(context: Context, type_: str | None, body: kopf.Body) -> None:
    """Calls the function as kopf does for one event."""
    await resources.tenant_seen(body=body, memo=context, type=type_, event="ignored")


async def route_event(context: Context, type_: str | None, body: kopf.Body) -> None:
    await resources.route_seen(body=body, memo=context, type=type_)


async def pod_event(context: Context, type_: str | None, body: kopf.Body) -> None:
    await owned_objects.pod_seen(body=body, memo=context, type=type_)


async def test_the_first_object_of_an_empty_cluster_is_queued() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    assert queue.drained() == ["Tenant/finance"]


async def test_a_listed_object_is_queued_once() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, None, a_body("finance", spec={}))
    assert queue.drained() == ["Tenant/finance"]
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    assert queue.drained() == []


async def test_what_appears_after_the_watch_began_is_queued_whatever_its_kind() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, None, a_body("finance", spec={}))
    await route_event(context, None, a_body("chat", namespace="relay-finance", spec=ROUTE))
    await pod_event(context, None, a_relay_pod("True"))
    queue.drained()
    await tenant_event(context, "ADDED", a_body("legal", spec={}))
    assert queue.drained() == ["Tenant/legal"]
    await route_event(context, "ADDED", a_body("chat", namespace="relay-legal", spec=ROUTE))
    assert set(queue.drained()) == {"RelayRoute/chat", "Provider/p", "Provider/q"}
    # once for all that come in the same second
    assert queue.seconds == {"Provider/p": 1.0, "Provider/q": 1.0}
    await pod_event(context, "ADDED", a_relay_pod("True", uid="u2"))
    assert queue.drained() == ["Tenant/finance", "RelayRoute/chat"]


async def test_a_later_list_queues_what_changed_meanwhile_and_nothing_else() -> None:
    context, queue = a_context("p", "q", "r")
    for name in ("changed", "unchanged"):
        await tenant_event(context, None, a_body(name, spec={}, version=5))
    await pod_event(context, None, a_relay_pod("True"))
    queue.drained()
    await tenant_event(context, None, a_body("unchanged", spec={}, version=7))
    await tenant_event(context, None, a_body("changed", spec={}, generation=2, version=8))
    await pod_event(context, None, a_relay_pod("True"))
    assert queue.drained() == ["Tenant/changed"]


async def test_an_object_made_again_is_queued_in_whatever_order_the_two_are_shown() -> None:
    old = a_body("finance", spec={}, uid="old", version=5)
    new = a_body("finance", spec={}, uid="new", version=9)
    for order in ((("DELETED", old), ("ADDED", new)), (("ADDED", new), ("DELETED", old))):
        context, queue = a_context("p", "q", "r")
        await tenant_event(context, "ADDED", old)
        queue.drained()
        for type_, body in order:
            await tenant_event(context, type_, body)
        assert queue.drained() == ["Tenant/finance"]
        watched = context.watched_state.tenants.get("finance")
        assert watched is not None
        assert watched.uid == "new"


async def test_an_older_state_never_replaces_a_newer_one() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, "MODIFIED", a_body("finance", spec={}, generation=2, version=10))
    queue.drained()
    await tenant_event(context, None, a_body("finance", spec={}, generation=1, version=9))
    assert queue.drained() == []
    watched = context.watched_state.tenants.get("finance")
    assert watched is not None
    assert watched.body["metadata"]["generation"] == 2


async def test_our_own_status_writes_are_not_queued() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, None, a_body("finance", spec={}))
    queue.drained()
    written = a_body("finance", spec={}, status={"namespace": "x"})
    await tenant_event(context, "MODIFIED", written)
    assert queue.drained() == []
    watched = context.watched_state.tenants.get("finance")
    assert watched is not None
    assert watched.body["status"] == {"namespace": "x"}


async def test_a_new_spec_an_annotation_or_a_deletion_is_queued() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, None, a_body("finance", spec={}))
    queue.drained()
    await tenant_event(context, "MODIFIED", a_body("finance", spec={}, generation=2))
    assert queue.drained() == ["Tenant/finance"]
    noted = a_body(
        "finance", spec={}, generation=2, annotations={names.ANNOTATION_ROTATE_KEYS: "b"}
    )
    await tenant_event(context, "MODIFIED", noted)
    assert queue.drained() == ["Tenant/finance"]
    others = {names.ANNOTATION_ROTATE_KEYS: "b", "of.somebody/else": "c"}
    await tenant_event(
        context, "MODIFIED", a_body("finance", spec={}, generation=2, annotations=others)
    )
    assert queue.drained() == []


async def test_a_tenant_that_has_more_routes_than_a_document_holds_is_queued_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "MOST_ROUTES", 3)
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    queue.drained()
    found = []
    for number in range(6):
        name = f"r{number}"
        body = a_body(name, namespace="relay-finance", spec=ROUTE | {"match": {"tasks": [name]}})
        await route_event(context, "ADDED", body)
        found.append("Tenant/finance" in queue.drained())
    assert found == [False, False, False, True, False, False]


async def test_only_what_status_writing_needs_is_kept_in_memory() -> None:
    context, _ = a_context("p", "q", "r")
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    watched = context.watched_state.tenants.get("finance")
    assert watched is not None
    assert watched.body == {
        "metadata": {"name": "finance", "uid": "uid-finance", "generation": 1, "labels": {}},
        "status": {},
    }


async def test_a_route_wakes_its_siblings_and_its_providers() -> None:
    context, queue = a_context("p", "q", "r")
    for name in ("chat", "other"):
        await route_event(context, "ADDED", a_body(name, namespace="relay-finance", spec=ROUTE))
    assert set(queue.drained()) == {
        "RelayRoute/chat",
        "RelayRoute/other",
        "Provider/p",
        "Provider/q",
    }


async def test_a_route_wakes_only_those_whose_conflict_it_changes() -> None:
    context, queue = a_context("p", "q", "r")
    routes = {
        name: a_body(name, namespace="relay-finance", spec=ROUTE | {"match": {"tasks": [task]}})
        for name, task in (("a", "x"), ("b", "x"), ("c", "x"), ("d", "y"))
    }
    for name, body in routes.items():
        await route_event(context, "ADDED", body)
        # the older ones keep their calls, and another route that uses the providers changes no share
        providers = {*PROVIDERS} if name == "a" else set()
        assert set(queue.drained()) == {f"RelayRoute/{name}", *providers}
    await route_event(context, "DELETED", routes["d"])
    assert set(queue.drained()) == {"RelayRoute/d"}
    await route_event(context, "DELETED", routes["a"])
    assert set(queue.drained()) == {"RelayRoute/a", "RelayRoute/b", "RelayRoute/c"}


async def test_the_work_that_routes_make_grows_with_their_number_only() -> None:
    context, queue = a_context("p", "q", "r")
    for number in range(400):
        spec = ROUTE | {"match": {"tasks": [f"t{number}"]}}
        body = a_body(f"r{number}", namespace="relay-finance", spec=spec)
        await route_event(context, "ADDED", body)
    assert len(queue.keys) == 400 + len(PROVIDERS)


async def test_a_provider_that_a_route_no_longer_names_is_queued_too() -> None:
    context, queue = a_context("p", "q", "r")
    await route_event(context, "ADDED", a_body("chat", namespace="relay-finance", spec=ROUTE))
    queue.drained()
    moved = a_body(
        "chat", namespace="relay-finance", generation=2, spec={"stable": {"provider": "r"}}
    )
    await route_event(context, "MODIFIED", moved)
    assert set(queue.drained()) == {"RelayRoute/chat", "Provider/p", "Provider/q", "Provider/r"}
    await route_event(context, "DELETED", moved)
    assert set(queue.drained()) == {"RelayRoute/chat", "Provider/r"}


async def test_a_deleted_object_is_forgotten_and_queued_once_more() -> None:
    context, queue = a_context("p", "q", "r")
    body = a_body("p", spec={})
    await resources.provider_seen(body=body, type="ADDED", memo=context)
    assert queue.drained() == ["Provider/p"]
    await resources.provider_seen(body=body, type="DELETED", memo=context)
    assert queue.drained() == ["Provider/p"]
    assert context.watched_state.providers.get("p") is None
    await resources.provider_seen(body=body, type="DELETED", memo=context)
    assert queue.drained() == []
    await resources.provider_seen(body=body, type="ADDED", memo=context)
    assert queue.drained() == ["Provider/p"]


async def test_a_status_of_a_provider_or_a_route_is_not_queued() -> None:
    context, queue = a_context("p", "q", "r")
    provider = a_body("p", spec={}, version=5)
    route = a_body("chat", namespace="relay-finance", spec=ROUTE, version=5)
    await resources.provider_seen(body=provider, type="ADDED", memo=context)
    await route_event(context, "ADDED", route)
    queue.drained()
    await resources.provider_seen(
        body=a_body("p", spec={}, version=6), type="MODIFIED", memo=context
    )
    told = a_body("chat", namespace="relay-finance", spec=ROUTE, version=6)
    await route_event(context, "MODIFIED", told)
    assert queue.drained() == []


async def test_a_tenant_wakes_the_providers_whose_shares_it_may_change() -> None:
    context, queue = a_context("p", "q", "r")
    await route_event(context, "ADDED", a_body("chat", namespace="relay-finance", spec=ROUTE))
    queue.drained()
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    assert set(queue.drained()) == {"Tenant/finance", "RelayRoute/chat", "Provider/p", "Provider/q"}


async def test_a_provider_that_is_only_mentioned_makes_no_work() -> None:
    context, queue = a_context("p", "q", "r")
    spec = {"stable": {"provider": "unheard-of"}}
    await route_event(context, "ADDED", a_body("chat", namespace="relay-finance", spec=spec))
    assert queue.drained() == ["RelayRoute/chat"]


@pytest.mark.parametrize(
    ("percent", "in_force", "urgent"),
    [(0, 40, True), (30, 40, True), (40, 40, False), (60, 40, False), ("much", 40, False)],
)
async def test_a_lower_weight_is_urgent_whether_or_not_the_spec_is_valid(
    percent: object, in_force: int, urgent: bool
) -> None:
    context, queue = a_context("p", "q", "r")
    spec = {"stable": {}, "canary": {"provider": "q", "percent": percent}}
    status = {"weights": {"canaryPercent": in_force}}
    body = a_body("chat", namespace="relay-finance", spec=spec, status=status)
    await route_event(context, "MODIFIED", body)
    assert ("RelayRoute/chat" in queue.urgent) is urgent


async def test_a_canary_that_is_taken_out_a_deleted_route_and_a_suspension_are_urgent() -> None:
    context, queue = a_context("p", "q", "r")
    without: dict[str, Any] = {"stable": {"provider": "p"}}
    body = a_body(
        "chat",
        namespace="relay-finance",
        spec=without,
        status={"weights": {"canaryPercent": 5}},
    )
    await route_event(context, "MODIFIED", body)
    other = a_body("other", namespace="relay-finance", spec=ROUTE)
    await route_event(context, "ADDED", other)
    assert queue.urgent == {"RelayRoute/chat"}
    await route_event(context, "DELETED", other)
    await tenant_event(context, "ADDED", a_body("finance", spec={"suspend": True}))
    await tenant_event(context, "ADDED", a_body("legal", spec={"suspend": False}))
    assert queue.urgent == {"RelayRoute/chat", "RelayRoute/other", "Tenant/finance"}


def a_relay_pod(ready: str, **metadata: Any) -> kopf.Body:
    labels = names.standard_labels("finance")
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]}
    body = {"name": "relay-1", "namespace": "relay-finance", "uid": "u", "labels": labels}
    raw: Any = {"kind": "Pod", "metadata": body | metadata, "status": status}
    return kopf.Body(raw)


async def test_a_pod_wakes_its_tenant_only_when_something_that_matters_changed() -> None:
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, None, a_body("finance", spec={}))
    queue.drained()
    await pod_event(context, "ADDED", a_relay_pod("False"))
    assert queue.drained() == ["Tenant/finance"]
    await pod_event(context, "MODIFIED", a_relay_pod("False", resourceVersion="2"))
    assert queue.drained() == []
    await pod_event(context, "MODIFIED", a_relay_pod("True"))
    assert queue.drained() == ["Tenant/finance"]
    await pod_event(context, "DELETED", a_relay_pod("True"))
    assert queue.drained() == ["Tenant/finance"]
    assert context.watched_state.relay_pods("relay-finance") == ()
    await pod_event(context, "ADDED", a_relay_pod("True"))
    assert queue.drained() == ["Tenant/finance"]


async def test_a_pod_of_no_tenant_wakes_nobody() -> None:
    context, queue = a_context("p", "q", "r")
    await pod_event(context, "ADDED", a_relay_pod("True", labels={}))
    # the labels are right, but no Tenant of this name exists
    await pod_event(context, "ADDED", a_relay_pod("True"))
    assert queue.drained() == []


@pytest.mark.parametrize("order", [*itertools.permutations(("tenant", "route", "pod", "child"))])
async def test_first_lists_come_in_any_order(order: tuple[str, ...]) -> None:
    context, queue = a_context("p", "q", "r")
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-finance"}})
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "relay-document", "namespace": "relay-finance"},
        "data": {"relay.json": "{}"},
    }
    await OwnedObjects(server.connect()).apply(child)
    ours: Any = server.stored("ConfigMap", "relay-document", namespace="relay-finance")
    connection = server.connect()
    context = replace(context, children=OwnedObjects(connection))
    for one in order:
        match one:
            case "tenant":
                await tenant_event(context, None, a_body("finance", spec={}))
            case "route":
                body = a_body("chat", namespace="relay-finance", spec=ROUTE)
                await route_event(context, None, body)
            case "pod":
                await pod_event(context, None, a_relay_pod("True"))
            case _:
                await owned_objects.child_seen(body=kopf.Body(ours), type=None, memo=context)
    listing.tenants_are_listed(context)
    assert set(queue.drained()) == {"Tenant/finance", "RelayRoute/chat", *PROVIDERS}
    assert len(context.watched_state.relay_pods("relay-finance")) == 1
    assert context.watched_state.tenants_concerned("p") == {"finance"}
    # it was kept, so nothing is read
    assert not await context.children.apply(child)
    assert connection.reads == 0


async def test_children_of_no_tenant_are_dropped_once_all_are_listed() -> None:
    context, queue = a_context()
    raw: Any = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "relay", "namespace": "relay-nobody", "uid": "u"},
    }
    await tenant_event(context, None, a_body("finance", spec={}))
    queue.drained()
    await owned_objects.child_seen(body=kopf.Body(raw), type=None, memo=context)
    assert context.children.namespaces() == ("relay-nobody",)
    listing.tenants_are_listed(context)
    assert context.children.namespaces() == ()
    await owned_objects.child_seen(body=kopf.Body(raw), type="MODIFIED", memo=context)
    assert context.children.namespaces() == ()
    assert queue.drained() == []


async def test_a_standby_keeps_nothing_of_the_children_of_a_tenant_that_goes() -> None:
    context, _ = a_context()
    await tenant_event(context, None, a_body("finance", spec={}))
    listing.tenants_are_listed(context)
    children = [one for one in every_object() if one["kind"] in ("Deployment", "Service")]
    bodies = [a_copy(one, uid=f"u-{one['kind']}") for one in children]
    for body in bodies:
        await owned_objects.child_seen(body=body, type=None, memo=context)
    state = context.watched_state
    assert context.children.namespaces() == ("relay-finance",)
    assert [*state.rollouts] == ["relay-finance"]
    assert state.service("relay-finance") is not None
    # the garbage collector takes them once their owner is gone
    await tenant_event(context, "DELETED", a_body("finance", spec={}))
    for body in bodies:
        await owned_objects.child_seen(body=body, type="DELETED", memo=context)
    assert context.children.namespaces() == ()
    assert [*state.rollouts] == []
    assert state.service("relay-finance") is None


async def test_a_child_that_somebody_else_changed_wakes_its_tenant() -> None:
    context, queue = a_context()
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "relay-document", "namespace": "relay-finance"},
        "data": {"relay.json": "{}"},
    }

    async def seen(type_: str | None, body: dict[str, Any]) -> list[str]:
        raw: Any = body
        await owned_objects.child_seen(body=kopf.Body(raw), type=type_, memo=context)
        return queue.drained()

    def at(version: int, **metadata: Any) -> dict[str, Any]:
        return {
            **ours,
            "metadata": {**ours["metadata"], "resourceVersion": str(version)} | metadata,
        }

    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-finance"}})
    context = replace(context, children=OwnedObjects(server.connect()))
    context.watched_state.are_tenants_listed = True
    await context.children.apply(child)
    ours = server.stored("ConfigMap", "relay-document", namespace="relay-finance")
    theirs = at(21) | {"data": {"relay.json": "theirs"}}
    assert await seen("MODIFIED", theirs) == []
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    queue.drained()
    assert await seen("MODIFIED", at(20)) == []
    assert await seen("MODIFIED", at(22, name="theirs") | {"data": {}}) == []
    assert await seen("MODIFIED", theirs) == ["Tenant/finance"]
    assert await seen("DELETED", at(23)) == ["Tenant/finance"]


CHILDREN = (
    "namespaces",
    "configmaps",
    "services",
    "serviceaccounts",
    "deployments",
    "networkpolicies",
    "poddisruptionbudgets",
    "resourcequotas",
    "limitranges",
    "horizontalpodautoscalers",
    "rolebindings",
)


def test_every_kind_is_watched_where_the_api_server_has_it() -> None:
    kinds = ("tenants", "providers", "toolservers", "relayroutes", "pods", *CHILDREN)
    found = {one.plural: one for one in watches.watched()}
    assert len(found) == len(watches.watched())
    assert found.keys() == {*kinds}
    known = {plural: (prefix, namespaced) for prefix, plural, namespaced in PATHS.values()}
    for plural, one in found.items():
        prefix, is_namespaced = known[plural]
        assert one.get_url() == f"{prefix}/{plural}"
        assert one.namespaced is is_namespaced


def test_every_child_is_watched_by_its_name() -> None:
    for manifest in every_object():
        kind, metadata = manifest["kind"], manifest["metadata"]
        owner = names.owner_of(kind, metadata.get("namespace", ""), metadata["name"])
        assert (owner, kind in owned_objects.KINDS) == (
            (None, False) if kind == "Secret" else ("finance", True)
        )


async def test_a_tenant_that_names_fewer_keys_or_revokes_one_is_urgent() -> None:
    def with_keys(*keys: str, revoke: str = "") -> kopf.Body:
        spec = {"apiKeys": [{"name": key} for key in keys]}
        told = {"keys": [{"name": "web"}, {"name": "batch"}]}
        annotations = {names.ANNOTATION_REVOKE_KEYS: revoke} if revoke else {}
        return a_body("finance", spec=spec, status=told, annotations=annotations)

    for body, is_urgent in (
        (with_keys("web", "batch"), False),
        (with_keys("web", "batch", "night"), False),
        (with_keys("web", "night"), True),
        (with_keys("web", "batch", revoke="web/2026-11-26T05:08:00Z"), True),
    ):
        context, queue = a_context("p", "q", "r")
        await tenant_event(context, "ADDED", body)
        assert ("Tenant/finance" in queue.urgent) is is_urgent


def a_copy(manifest: dict[str, Any], *, uid: str) -> kopf.Body:
    """Returns an object as the API server keeps it."""
    raw: Any = {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}
    return kopf.Body(raw)
