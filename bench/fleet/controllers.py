"""Stands in for a cluster's controllers: makes a ready pod with an address of its own for each Deployment, and a RelayRoute in each tenant's namespace."""

import asyncio
import itertools
from typing import Final

from bench.fleet.fleet_server import WRITTEN, FleetServer, Manifest
from bench.tenants import objects

NODES: Final = 50
"""As many as 5,000 pods take, whatever the size: probes of nodes cost the same beside any."""
_MANAGER: Final = "kube-controller-manager"
_CONDITIONS: Final = (
    "Ready",
    "Initialized",
    "PodReadyToStartContainers",
    "ContainersReady",
    "PodScheduled",
)


def address(number: int) -> str:
    """Returns the address of a pod, by its number."""
    return f"10.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"


def host(number: int) -> str:
    """Returns the address of its node."""
    return f"192.168.0.{1 + number % NODES}"


def hash_of(number: int) -> str:
    """Returns the hash of a pod's template, which stands in its name."""
    return f"{number:010x}"


class Controllers:
    """Follows the events of the server."""

    def __init__(self, server: FleetServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        """Plays until cancelled."""
        seen = 0
        while True:
            for version, kind, type_, stored in [*self._server.told]:
                if version > seen and type_ != "DELETED":
                    self._see(kind, stored)
            seen = self._server.version
            await asyncio.sleep(0.1)

    def _see(self, kind: str, stored: Manifest) -> None:
        metadata = stored["metadata"]
        if kind == "Deployment":
            known = stored.get("status", {}).get("observedGeneration")
            if known != metadata["generation"]:
                self._deploy(stored)
        elif kind == "Namespace" and metadata["name"].startswith(objects.namespace(0)[:-5]):
            space = metadata["name"]
            if self._server.get("RelayRoute", objects.ROUTE, namespace=space) is None:
                self._server.put(objects.route(int(space.rpartition("-")[2])))

    def _deploy(self, deployment: Manifest) -> None:
        metadata, number = deployment["metadata"], next(self._numbers)
        replica_set = f"relay-{hash_of(number)}"
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": reason,
                "lastUpdateTime": WRITTEN,
                "lastTransitionTime": WRITTEN,
                "message": f'ReplicaSet "{replica_set}" has successfully progressed.',
            }
            for kind, reason in (
                ("Available", "MinimumReplicasAvailable"),
                ("Progressing", "NewReplicaSetAvailable"),
            )
        ]
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {
            "observedGeneration": metadata["generation"],
            **dict.fromkeys(counts, 1),
            "conditions": conditions,
        }
        self._server.put({**deployment, "status": status}, manager=_MANAGER)
        self._server.put(
            _pod(deployment["spec"]["template"], metadata["namespace"], number), manager=_MANAGER
        )


def _pod(template: Manifest, space: str, number: int) -> Manifest:
    replica_set = f"relay-{hash_of(number)}"
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": replica_set,
        "uid": f"10000000-0000-4000-8000-{number:012x}",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {**template["metadata"]["labels"], "pod-template-hash": hash_of(number)}
    metadata = {
        **template["metadata"],
        "labels": labels,
        "generateName": f"{replica_set}-",
        "name": f"{replica_set}-{number:05x}",
        "namespace": space,
        "ownerReferences": [owner],
    }
    node = f"fake-{number % NODES:03}"
    spec = {**template["spec"], "nodeName": node, "schedulerName": "default-scheduler"}
    status = _status(template["spec"], number)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _status(spec: Manifest, number: int) -> Manifest:
    """Returns a pod's status, as long as a kubelet's."""
    return {
        "phase": "Running",
        "podIP": address(number),
        "podIPs": [{"ip": address(number)}],
        "hostIP": host(number),
        "qosClass": "Burstable",
        "startTime": WRITTEN,
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "observedGeneration": 1,
                "lastProbeTime": None,
                "lastTransitionTime": WRITTEN,
            }
            for kind in _CONDITIONS
        ],
        "containerStatuses": [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": f"docker.io/library/relay@sha256:{number:064x}",
                "containerID": f"containerd://{number:064x}",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": WRITTEN}},
                "lastState": {},
            }
            for one in spec["containers"]
        ],
    }
