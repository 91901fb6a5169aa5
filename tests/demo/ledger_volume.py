"""The volume of a ledger on SQLite, in a directory of the node: not every cluster makes volumes by itself."""

import json
from pathlib import Path
from typing import Any

from tests.demo.commands import Cluster


def volume(name: str, *, node: str, directory: Path) -> dict[str, Any]:
    """Returns a volume on the node, for claims of the storage class of the same name."""
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(directory)},
            "nodeAffinity": {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]},
            },
        },
    }


def make(cluster: Cluster, name: str, *, directory: Path) -> None:
    """Makes an empty directory on the node, and the volume in it."""
    [node, *_] = [one["metadata"]["name"] for one in cluster.get("nodes")["items"]]
    program = (
        f"import os, shutil; shutil.rmtree('{directory}', ignore_errors=True); "
        f"os.makedirs('{directory}'); os.chmod('{directory}', 0o777)"
    )
    _on_the_node(cluster, "makes-the-directory", node=node, directory=directory, program=program)
    made = volume(name, node=node, directory=directory)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))


def remove(cluster: Cluster, name: str, *, directory: Path) -> None:
    """Removes the volume, and the directory with what is in it; nothing may claim it any more."""
    cluster.kubectl("delete", "pv", name, "--ignore-not-found", "--timeout=60s")
    [node, *_] = [one["metadata"]["name"] for one in cluster.get("nodes")["items"]]
    program = f"import shutil; shutil.rmtree('{directory}', ignore_errors=True)"
    _on_the_node(cluster, "clears-the-directory", node=node, directory=directory, program=program)


def _on_the_node(cluster: Cluster, name: str, *, node: str, directory: Path, program: str) -> None:
    """Runs a program as root where the node's directory is."""
    parent = str(directory.parent)
    container = {
        "name": "it",
        "image": "relay-operator:dev",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", program],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "node", "mountPath": parent}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": node,
            "containers": [container],
            "volumes": [{"name": "node", "hostPath": {"path": parent}}],
        },
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl(
        "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
    )
    cluster.kubectl("delete", "pod", name, "--grace-period=1")
