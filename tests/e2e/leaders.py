"""The operator that leads on a real cluster: which pod it is, and what takes the lead from it."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.cluster import cluster_records
from tests.demo import stage
from tests.demo.commands import Cluster, wait_until

NAMESPACE = stage.OPERATOR_NAMESPACE
LEASE = ("lease", "relay-operator-leader", "-n", NAMESPACE)
DEPLOYMENT = ("deployment/relay-operator", "-n", NAMESPACE)
TAKEOVER_SECONDS = 45
"""Seconds are usual; a busy machine takes its time."""


def spec(cluster: Cluster) -> dict[str, Any]:
    """Reads the Lease; empty while there is none."""
    found = cluster.kubectl("get", *LEASE, "-o", "name", "--ignore-not-found")
    return dict(cluster.get(*LEASE).get("spec", {})) if found else {}


def holder(cluster: Cluster) -> str:
    """Returns the identity in the Lease: the pod's name and a mark of one life of its process."""
    return str(spec(cluster).get("holderIdentity", ""))


def pods(cluster: Cluster) -> set[str]:
    """Returns the names of the operators' pods."""
    label = "app.kubernetes.io/name=relay-operator"
    listed = cluster.get("pods", "-n", NAMESPACE, "-l", label)["items"]
    return {one["metadata"]["name"] for one in listed}


def pod_of(identity: str) -> str:
    """Returns the pod of an identity."""
    return identity.rpartition("_")[0]


def leader(cluster: Cluster, *, other_than: str = "") -> str:
    """Waits for a leader; returns its identity."""
    return wait_until(
        "a leader",
        lambda: holder(cluster),
        lambda seen: seen not in ("", other_than),
        seconds=TAKEOVER_SECONDS,
    )


def taken_over(cluster: Cluster, former: str) -> float:
    """Waits for another leader; returns how many seconds that took."""
    began = time.monotonic()
    leader(cluster, other_than=former)
    return time.monotonic() - began


def both_run(cluster: Cluster) -> None:
    """Waits for all operators to be ready."""
    cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=90s")


def is_killed(cluster: Cluster) -> float:
    """Kills the leader without a word; returns the seconds until another one leads.

    Where its process is out of reach its pod is deleted by force, of which a kubelet still tells the process.
    """
    former = leader(cluster)
    record = cluster_records.read(cluster.name)
    if record is not None and record.inner is not None:
        os.kill(process(cluster, pod_of(former)), signal.SIGKILL)
    else:
        kill = ("--grace-period=0", "--force")
        cluster.kubectl("delete", "pod", pod_of(former), "-n", NAMESPACE, *kill)
    return taken_over(cluster, former)


def is_ended(cluster: Cluster) -> float:
    """Ends the leader in order; returns the seconds until another one leads."""
    former = leader(cluster)
    cluster.kubectl("delete", "pod", pod_of(former), "-n", NAMESPACE, "--wait=false")
    return taken_over(cluster, former)


def process(cluster: Cluster, pod: str) -> int:
    """Returns the process of an operator's pod, as the machine of an embedded cluster numbers it."""
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOSTNAME={pod}".encode() in environment and b"relay-operator" in command:
            return int(directory.name)
    raise AssertionError(f"no process of pod {pod} of cluster {cluster.name}")


def nft(cluster: Cluster, commands: str) -> str:
    """Runs the packet filter of an embedded cluster's node; returns what it prints."""
    record = cluster_records.read(cluster.name)
    assert record is not None
    assert record.inner is not None
    enter = ("nsenter", f"--target={record.inner.pid}", "--net", "--mount", "--")
    done = subprocess.run(
        [*enter, "nft", "-f", "-"], input=commands, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
