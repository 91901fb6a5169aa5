"""The watched state, asked in the ways the reconcilers ask."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.discovered import discovered

from relay_operator import names
from relay_operator.decisions.route_acceptance import claimant, conflicts
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState


def a_watched_state(**weights: int) -> WatchedState:
    """Returns tenants with these weights that own their namespaces, all with an accepted route to the provider shared."""
    watched_state = WatchedState()
    for name, weight in weights.items():
        watched_state.tenants.store(a_body(name, spec={"queue": {"weight": weight}}))
        watched_state.note_owned(f"relay-{name}", True)
        watched_state.routes.store(a_route(f"relay-{name}", stable={"provider": "shared"}))
    return watched_state


def a_body(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, **fields}


def a_route(namespace: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "chat", "namespace": namespace, "uid": "uid-chat", "generation": 1}
    accepted = {"type": "Accepted", "status": "True"}
    status = {"observedGeneration": 1, "conditions": [accepted]}
    return {"metadata": metadata, "spec": spec, "status": status}


def test_a_providers_quota_is_divided_by_weight_among_its_tenants() -> None:
    watched_state = a_watched_state(a=1, b=3)
    assert watched_state.provider_share("shared", "a") == 0.25
    assert watched_state.provider_share("shared", "b") == 0.75


def test_a_tenant_that_stops_routing_to_a_provider_frees_its_share() -> None:
    watched_state = a_watched_state(a=1, b=3)
    watched_state.routes.take_in(a_route("relay-b"), deleted=True)
    assert watched_state.claims.drop("relay-b", "chat") == {"shared"}
    assert watched_state.provider_share("shared", "a") == 1.0
    assert watched_state.routes.namespaces() == ("relay-a",)


def test_a_tenant_whose_spec_cannot_be_used_weighs_as_much_as_by_default() -> None:
    watched_state = a_watched_state(a=1, b=3)
    watched_state.tenants.store(a_body("b", spec={"queue": {"maxWait": "soon", "weight": 3}}))
    assert watched_state.provider_share("shared", "a") == 0.5


def test_a_canary_or_a_fallback_uses_its_provider_too() -> None:
    watched_state = a_watched_state(b=1)
    watched_state.tenants.store(a_body("a"))
    watched_state.note_owned("relay-a", True)
    spec: dict[str, Any] = {
        "canary": {"provider": "y", "percent": 1},
        "fallback": [{"provider": "z"}],
    }
    watched_state.routes.store(a_route("relay-a", stable={"provider": "x"}, **spec))
    assert [watched_state.tenants_using(name) for name in "xyz"] == [{"a"}] * 3


def test_a_route_that_cannot_be_parsed_names_its_provider_and_takes_nothing_of_it() -> None:
    watched_state = WatchedState()
    watched_state.tenants.store(a_body("a"))
    watched_state.note_owned("relay-a", True)
    watched_state.routes.store(a_route("relay-a", stable={"provider": "x"}, paused="perhaps"))
    assert watched_state.parsed_routes("relay-a") == {}
    assert watched_state.tenants_using("x") == set()
    assert watched_state.tenants_concerned("x") == {"a"}
    watched = watched_state.routes.get("chat", namespace="relay-a")
    assert watched is not None
    assert isinstance(watched.resource, Invalid)
    assert watched.resource.message.startswith("spec.paused: ")


def test_a_route_outside_a_tenants_namespace_uses_nothing() -> None:
    watched_state = a_watched_state(a=1)
    watched_state.routes.store(a_route("elsewhere", stable={"provider": "x"}))
    assert watched_state.tenants_using("x") == set()


def test_a_namespace_without_a_tenant_belongs_to_nobody() -> None:
    watched_state = a_watched_state(a=1)
    assert watched_state.tenant_of_namespace("relay-a") == "a"
    assert watched_state.tenant_of_namespace("relay-b") is None
    assert watched_state.tenant_of_namespace("a") is None


def test_a_provider_is_usable_once_its_spec_is_valid_and_its_address_known() -> None:
    watched_state = WatchedState()
    good = {"endpoint": {"url": "https://a.example.com"}}
    watched_state.providers.store(a_body("good", spec=good))
    watched_state.providers.store(a_body("unresolved", spec=good))
    watched_state.providers.store(a_body("invalid", spec={}))
    for name in ("good", "invalid"):
        watched_state.upstreams[name] = Upstream(provider=name, port=443)
    assert list(watched_state.usable_providers()) == ["good"]


@pytest.mark.parametrize("kind", ["Tenant", "Provider", "RelayRoute"])
def test_an_object_is_known_until_its_deletion(kind: str) -> None:
    watched_state = WatchedState()
    kinds: dict[str, Any] = {
        "Tenant": watched_state.tenants,
        "Provider": watched_state.providers,
        "RelayRoute": watched_state.routes,
    }
    namespace = "n" if kind == "RelayRoute" else ""
    body: dict[str, Any] = {"metadata": {"name": "x", "namespace": namespace, "uid": "u"}}
    assert not watched_state.knows(kind, namespace, "x")
    kinds[kind].take_in(body, deleted=False)
    assert watched_state.knows(kind, namespace, "x")
    kinds[kind].take_in(body, deleted=True)
    assert not watched_state.knows(kind, namespace, "x")


def the_pod(**status: Any) -> Any:
    watched_state = WatchedState()
    watched_state.store_pod(a_pod_body("a") | {"status": status})
    return next(iter(watched_state.relay_pods("relay-a")), None)


def test_a_restarted_container_is_another_incarnation() -> None:
    before = the_pod(podIP="10.0.0.1", containerStatuses=[{"restartCount": 0}])
    after = the_pod(podIP="10.0.0.1", containerStatuses=[{"restartCount": 1}])
    assert before.incarnation != after.incarnation


def test_a_finished_pod_has_no_address_to_push_to() -> None:
    assert the_pod(podIP="10.0.0.1", phase="Failed") is None


@pytest.mark.parametrize(
    "status",
    [
        {"conditions": None, "containerStatuses": None},
        {"conditions": [{"type": "Ready"}, {}], "containerStatuses": [{}, {"restartCount": None}]},
    ],
    ids=["null", "incomplete"],
)
def test_a_status_that_lacks_something_keeps_no_event_from_being_taken_in(
    status: dict[str, Any],
) -> None:
    pod = the_pod(podIP="10.0.0.1", **status)
    assert (pod.ready, pod.incarnation) == (False, 0)


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1/x", "10.0.0.1:80", "evil.example", "fe80::1%eth0"]
)
def test_what_is_no_ip_address_is_none_to_push_to(text: str) -> None:
    assert the_pod(podIP=text) is None


def a_pod_body(
    tenant: str, *, namespace: str = "", uid: str = "u", name: str = "relay"
) -> dict[str, Any]:
    labels = names.standard_labels(tenant) | {names.LABEL_NAME: name}
    namespace = namespace or names.tenant_namespace(tenant)
    metadata = {"namespace": namespace, "name": uid, "uid": uid, "labels": labels}
    return {"metadata": metadata, "status": {"podIP": "10.0.0.1"}}


def a_state_with(*tenants: str, told: str = "True") -> WatchedState:
    watched_state = WatchedState()
    for name in tenants:
        condition = {"type": "NamespaceReady", "status": told}
        body = a_body(name, spec={}) | {"status": {"conditions": [condition]}}
        watched_state.tenants.store(body)
    return watched_state


def test_pods_of_every_tenant_are_listed_together() -> None:
    watched_state = a_state_with("a", "b")
    for tenant in ("a", "b"):
        watched_state.store_pod(a_pod_body(tenant, uid=tenant))
    assert [one.partition("/")[0] for one in discovered(watched_state)] == ["relay-a", "relay-b"]


@pytest.mark.parametrize(
    "body",
    [
        a_pod_body("a", namespace="default"),
        a_pod_body("a", namespace="relay-b"),
        a_pod_body("a", name="other"),
        a_pod_body("stranger"),
        {"metadata": {"namespace": "relay-a", "name": "p", "uid": "u"}, "status": {}},
    ],
    ids=["another namespace", "another tenant's", "another name", "no tenant", "no labels"],
)
def test_a_strangers_pod_is_no_target_and_makes_no_work(body: dict[str, Any]) -> None:
    watched_state = a_state_with("a", "b")
    watched_state.store_pod(body)
    assert not watched_state.take_in_pod(body, deleted=False)
    assert discovered(watched_state) == []


@pytest.mark.parametrize("told", ["True", "False"])
def test_a_namespace_that_is_not_its_tenants_has_no_targets(told: str) -> None:
    watched_state = a_state_with("a", told=told)
    watched_state.store_pod(a_pod_body("a"))
    assert len(discovered(watched_state)) == (told == "True")
    watched_state.note_owned("relay-a", False)
    assert discovered(watched_state) == []
    watched_state.note_owned("relay-a", True)
    assert len(discovered(watched_state)) == 1


@pytest.mark.parametrize(
    ("told", "endpoint", "is_target"),
    [
        ("Unknown", "http://relay.relay-a.svc:8080", True),
        ("", "http://relay.relay-a.svc:8080", True),
        ("False", "http://relay.relay-a.svc:8080", False),
        ("Unknown", "", False),
        ("", "", False),
    ],
)
def test_a_tenant_whose_status_is_about_a_refused_spec_keeps_its_targets(
    told: str, endpoint: str, is_target: bool
) -> None:
    watched_state = WatchedState()
    found = [{"type": "NamespaceReady", "status": told}] if told else []
    status = {"conditions": found, "endpoint": endpoint}
    watched_state.tenants.store(a_body("a", spec={}, status=status))
    watched_state.store_pod(a_pod_body("a"))
    assert watched_state.owns("relay-a") == is_target
    assert len(discovered(watched_state)) == is_target


def test_strangers_pods_fill_no_memory() -> None:
    watched_state = a_state_with("a")
    watched_state.pods.tenants_are_listed(watched_state.tenants)
    for number in range(2000):
        uid = f"u{number}"
        watched_state.store_pod(a_pod_body(f"stranger-{number % 7}", uid=uid))
        watched_state.store_pod(a_pod_body("a", uid=f"mine-{uid}"))
        watched_state.take_in_pod(a_pod_body("a", namespace="default", uid=uid), deleted=False)
    assert len(list(watched_state.pods.all())) == 1024 + 256
    assert len(watched_state.relay_pods("relay-a")) == 256


def test_pods_that_are_listed_before_their_tenants_are_kept() -> None:
    watched_state = WatchedState()
    tenants = [f"t{number}" for number in range(3000)]
    for tenant in tenants:
        watched_state.store_pod(a_pod_body(tenant, uid=tenant))
    for tenant in tenants[:2500]:
        watched_state.tenants.store(a_body(tenant, spec={}))
    watched_state.pods.tenants_are_listed(watched_state.tenants)
    assert all(watched_state.relay_pods(f"relay-{tenant}") for tenant in tenants[:2500])
    assert len(list(watched_state.pods.all())) == 3000


def test_what_belongs_to_no_tenant_goes_once_all_are_listed() -> None:
    watched_state = WatchedState()
    for number in range(4000):
        watched_state.store_pod(a_pod_body(f"stranger-{number}", uid=f"u{number}"))
    watched_state.tenants.store(a_body("stranger-7", spec={}))
    watched_state.pods.tenants_are_listed(watched_state.tenants)
    assert len(list(watched_state.pods.all())) == 1024 + 1
    assert watched_state.relay_pods("relay-stranger-7")
    # one that is made later finds its room again
    watched_state.tenants.store(a_body("late", spec={}))
    watched_state.store_pod(a_pod_body("late", uid="late"))
    assert watched_state.relay_pods("relay-late")


def test_a_pod_that_loses_its_label_is_gone() -> None:
    watched_state = a_state_with("a", "b")
    assert watched_state.take_in_pod(a_pod_body("a"), deleted=False)
    moved = a_pod_body("b", namespace="relay-a")
    assert watched_state.take_in_pod(moved, deleted=False)
    assert discovered(watched_state) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("a", "b")),
            st.sampled_from(("x", "y", "z")),
            st.sampled_from(("shown", "gone")),
            st.sampled_from(("p", "q")),
            st.sampled_from(("t", "u")),
        ),
        max_size=30,
    )
)
def test_what_is_kept_of_routes_is_what_a_look_at_all_of_them_gives(
    events: list[tuple[str, str, str, str, str]],
) -> None:
    watched_state = a_state_with("a", "b")
    for number, (tenant, name, what, provider, task) in enumerate(events, start=1):
        metadata = {"name": name, "namespace": f"relay-{tenant}", "uid": name, "generation": number}
        spec = {"stable": {"provider": provider}, "match": {"tasks": [task]}}
        body = {"metadata": metadata, "spec": spec}
        watched_state.take_in_route(body, deleted=what == "gone")
    for tenant in ("a", "b"):
        routes = watched_state.parsed_routes(f"relay-{tenant}")
        assert watched_state.conflicts(f"relay-{tenant}") == conflicts(
            {name: claimant(one.metadata, one.spec.match) for name, one in routes.items()}
        )
        named = {route.spec.stable.provider for route in routes.values()}
        assert watched_state.routes.mentioned_in(f"relay-{tenant}") == named
        for provider in ("p", "q"):
            assert (tenant in watched_state.tenants_concerned(provider)) is (provider in named)
