"""What the watches said, asked in the ways the reconcilers ask."""

from typing import Any

from relay_operator.reconcile.watched_state import WatchedState, pod_from


def a_world(**weights: int) -> WatchedState:
    """Tenants with these weights, all routing to the provider shared."""
    world = WatchedState()
    for name, weight in weights.items():
        world.tenants[name] = {"metadata": {"name": name}, "spec": {"queue": {"weight": weight}}}
        world.routes[f"relay-{name}"] = {"chat": {"spec": {"stable": {"provider": "shared"}}}}
    return world


def test_a_providers_quota_is_divided_by_weight_among_its_tenants() -> None:
    world = a_world(a=1, b=3)
    assert (world.provider_share("shared", "a"), world.provider_share("shared", "b")) == (
        0.25,
        0.75,
    )


def test_a_tenant_that_stops_routing_to_a_provider_frees_its_share() -> None:
    world = a_world(a=1, b=3)
    del world.routes["relay-b"]["chat"]
    assert world.provider_share("shared", "a") == 1.0


def test_a_canary_or_a_fallback_uses_its_provider_too() -> None:
    world = a_world(a=1, b=1)
    spec = {
        "stable": {"provider": "x"},
        "canary": {"provider": "y"},
        "fallback": [{"provider": "z"}],
    }
    world.routes["relay-a"]["chat"] = {"spec": spec}
    assert [world.tenants_using(name) for name in "xyz"] == [{"a"}] * 3


def test_a_namespace_without_a_tenant_belongs_to_nobody() -> None:
    world = a_world(a=1)
    assert world.tenant_of_namespace("relay-a") == "a"
    assert world.tenant_of_namespace("relay-b") is None
    assert world.tenant_of_namespace("a") is None


def a_pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "n", "name": "p", "uid": "u"}, "status": status}


def test_a_restarted_container_is_another_incarnation() -> None:
    before = pod_from(a_pod(podIP="10.0.0.1", containerStatuses=[{"restartCount": 0}]))
    after = pod_from(a_pod(podIP="10.0.0.1", containerStatuses=[{"restartCount": 1}]))
    assert before.incarnation != after.incarnation


def test_a_finished_pod_has_no_address_to_push_to() -> None:
    assert pod_from(a_pod(podIP="10.0.0.1", phase="Failed")).ip == ""
