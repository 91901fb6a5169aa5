"""Autoscaling: who says how many relay pods there are, and what follows their number."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.document import TenantDocument
from relay_operator import names
from relay_operator.manifests import capacity

SPACE = "relay-finance"
SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}
Manifest = dict[str, Any]


def deployment(stage: Stage) -> Manifest:
    return stage.server.stored("Deployment", "relay", namespace=SPACE)


def scale(stage: Stage, pods: int) -> None:
    """Scales as a HorizontalPodAutoscaler does."""
    body = deployment(stage)
    body["spec"]["replicas"] = pods
    stage.server.put(body, manager="kube-controller-manager")


def autoscaler(stage: Stage) -> Manifest | None:
    return stage.server.get("HorizontalPodAutoscaler", "relay", namespace=SPACE)


def served(stage: Stage) -> TenantDocument:
    pod = stage.server.stored("Pod", "relay-1", namespace=SPACE)
    return stage.relays.documents[pod["metadata"]["uid"]].tenant


async def a_tenant(**relay: Any) -> tuple[Stage, Life]:
    stage = Stage()
    stage.tenant(relay=relay)
    life = await stage.operator()
    await stage.settle()
    for name in ("relay-1", "relay-2"):
        stage.pod(name)
    await stage.settle()
    return stage, life


@in_virtual_time
async def test_a_scaled_relay_begins_with_the_fewest_pods_and_goes_where_its_autoscaler_says() -> (
    None
):
    stage, life = await a_tenant(**SCALED)
    assert deployment(stage)["spec"]["replicas"] == 2
    made = autoscaler(stage)
    assert made is not None
    assert made["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "relay"},
        "minReplicas": 2,
        "maxReplicas": 6,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80},
                },
            }
        ],
    }
    written = len(life.changes)
    scale(stage, 5)
    await stage.settle(700)
    assert deployment(stage)["spec"]["replicas"] == 5
    assert ("Deployment", "relay") not in life.changes[written:]
    status = stage.status("Tenant", "finance")
    assert status["relay"]["summary"] == "2/5"
    assert status["effective"]["relay"]["autoscaling"]["maxReplicas"] == 6
    assert "replicas" not in status["effective"]["relay"]
    await life.end()


@in_virtual_time
async def test_an_operator_that_starts_again_leaves_the_number_of_pods_alone() -> None:
    stage, life = await a_tenant(**SCALED)
    scale(stage, 4)
    await stage.settle()
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert deployment(stage)["spec"]["replicas"] == 4
    assert {kind for kind, _ in life.changes} <= {"Tenant", "Event"}
    await life.end()


@in_virtual_time
async def test_a_relay_keeps_its_pods_when_autoscaling_begins_and_follows_the_spec_when_it_ends() -> (
    None
):
    stage, life = await a_tenant(replicas=3)
    assert autoscaler(stage) is None
    stage.tenant(relay=SCALED)
    await stage.settle()
    assert deployment(stage)["spec"]["replicas"] == 3
    assert autoscaler(stage) is not None
    scale(stage, 5)
    await stage.settle()
    stage.tenant(relay={"replicas": 2})
    await stage.settle()
    assert autoscaler(stage) is None
    assert deployment(stage)["spec"]["replicas"] == 2
    kinds = [kind for kind, _ in life.changes]
    last = len(kinds) - 1 - kinds[::-1].index("HorizontalPodAutoscaler")
    assert "Deployment" in kinds[last:]
    assert not [reason for reason in stage.events() if reason == "Restored"]
    await life.end()


@in_virtual_time
async def test_an_autoscaler_that_is_not_asked_for_goes_also_after_a_restart_and_when_it_comes_back() -> (
    None
):
    stage, life = await a_tenant(**SCALED)
    left = autoscaler(stage)
    assert left is not None
    await life.end()
    stage.tenant(relay={"replicas": 2})
    life = await stage.operator()
    await stage.settle()
    assert autoscaler(stage) is None
    stage.server.put(
        {name: left[name] for name in ("apiVersion", "kind", "spec")}
        | {
            "metadata": {
                "name": "relay",
                "namespace": SPACE,
                "labels": names.standard_labels("finance"),
            }
        }
    )
    await stage.settle()
    assert autoscaler(stage) is None
    await life.end()


@in_virtual_time
async def test_shares_of_limits_follow_the_pods_that_there_are() -> None:
    stage, life = await a_tenant(**SCALED)
    assert served(stage).replicas == 2
    stage.pod("relay-3")
    await stage.settle()
    assert served(stage).replicas == 3
    await life.end()


@in_virtual_time
async def test_the_quota_has_room_for_the_most_pods_and_their_successors() -> None:
    stage, life = await a_tenant(**SCALED)
    hard = stage.server.stored("ResourceQuota", "relay", namespace=SPACE)["spec"]["hard"]
    assert hard["pods"] == "13"
    assert (hard["requests.cpu"], hard["limits.memory"]) == ("1300m", "6656Mi")
    await life.end()


@in_virtual_time
async def test_a_tenant_makes_no_more_routes_than_the_operators_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "MOST_ROUTES", 3)
    stage, life = await a_tenant()
    stage.provider("legacy")
    bound = "count/relayroutes.relay-operator.dev"

    def hard() -> dict[str, str]:
        found: dict[str, str] = stage.server.stored("ResourceQuota", "relay", namespace=SPACE)[
            "spec"
        ]["hard"]
        return found

    for number in range(3):
        stage.route(f"r{number}", match={"tasks": [f"t{number}"]})
    await stage.settle()
    # no others yet: right after the installation the API server could not count them
    assert bound not in hard()
    stage.route("r3", match={"tasks": ["t3"]})
    await stage.settle()
    assert hard()[bound] == str(capacity.MOST_ROUTES_KEPT)
    await life.end()


def present(stage: Stage, memory: str) -> None:
    """Plays a pod with that much memory."""
    stage.pod("relay-9")
    body = stage.server.stored("Pod", "relay-9", namespace=SPACE)
    resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
    stage.server.put(body | {"spec": {"containers": [{"name": "relay", "resources": resources}]}})


@in_virtual_time
async def test_a_smaller_template_leaves_room_for_larger_pods_until_they_are_gone() -> None:
    stage, life = await a_tenant(replicas=1)
    present(stage, "2Gi")
    await stage.settle()

    def bounds() -> tuple[str, str]:
        quota = stage.server.stored("ResourceQuota", "relay", namespace=SPACE)["spec"]["hard"]
        limits = stage.server.stored("LimitRange", "relay", namespace=SPACE)["spec"]["limits"]
        return quota["limits.memory"], limits[0]["max"]["memory"]

    assert bounds() == ("6Gi", "2Gi")
    stage.server.remove("Pod", "relay-9", namespace=SPACE)
    await stage.settle()
    assert bounds() == ("1536Mi", "512Mi")
    await life.end()
