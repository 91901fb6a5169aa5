"""The rollouts of relays on a real cluster: their Deployments, and how many of them were on their way at one moment."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from tests.demo.commands import Cluster
from tests.ecosystem.watching import WatchedStates

_DEPLOYMENTS: Final = "/apis/apps/v1/deployments"
_RELAY: Final = ("app.kubernetes.io/name", "relay")


def deployments(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Returns the relays' Deployments by tenant."""
    found = cluster.get("deployments", "-A", "-l", "=".join(_RELAY))["items"]
    return {_tenant(one): one for one in found}


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    """Returns the relay's container as the pod template has it."""
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def watched(cluster: Cluster, directory: Path) -> WatchedStates:
    """Returns what watches all Deployments, once it is started, and writes into a directory of its own."""
    directory.mkdir()
    return WatchedStates(cluster, directory, {"deployments": _DEPLOYMENTS})


def rolling(deployment: dict[str, Any]) -> bool:
    """Returns whether a Deployment is on its way to another template, as kubectl rollout status reads it."""
    status = deployment.get("status", {})
    wanted, updated = int(deployment["spec"]["replicas"]), int(status.get("updatedReplicas", 0))
    is_read = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    is_moved = status.get("replicas", 0) <= updated <= status.get("availableReplicas", 0)
    return not (is_read and is_moved and updated >= wanted)


def rolled_at_once(states: WatchedStates, tenants: Collection[str]) -> tuple[int, set[str]]:
    """Returns the most relays of these tenants that were on their way at one moment, and the tenants whose relay ever was.

    What has arrived once, and is not available for a moment later, is on its way nowhere.
    """
    now: set[str] = set()
    ever: set[str] = set()
    arrived: dict[str, int] = {}
    most = 0
    for body in states.bodies():
        name, generation = _tenant(body), body["metadata"]["generation"]
        if name not in tenants or body["metadata"]["labels"].get(_RELAY[0]) != _RELAY[1]:
            continue
        if not rolling(body):
            arrived[name] = generation
        now = now - {name} if arrived.get(name) == generation else now | {name}
        most, ever = max(most, len(now)), ever | now
    return most, ever


def _tenant(deployment: dict[str, Any]) -> str:
    return str(deployment["metadata"]["namespace"]).removeprefix("relay-")
