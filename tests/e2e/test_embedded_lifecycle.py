"""Embedded clusters run side by side, and nothing is left of one however it ends.

Each test creates a second cluster beside the session's.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import addresses, cluster_records, paths
from tests.cluster.node import cgroups, namespaces
from tests.cluster.node.setup import SHIELDED_SETTINGS
from tests.cluster.session.clients import Client
from tests.cluster.session.provider import EMBEDDED_KIND
from tests.e2e.embedded_probes import eventually, kind, web_deployment

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(180)]


def _host_state() -> dict[str, object]:
    """Returns what a cluster could leave or change on the host. Links are checked apart: other clusters change them."""
    networks = subprocess.run(
        ["sh", "-c", "ip -o link; ip route; iptables-save"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    foreign = (addresses.INTERFACE, str(addresses.LINKS).rpartition(".")[0], "#")
    settings = {name: (Path("/proc/sys") / name).read_text() for name in SHIELDED_SETTINGS}
    return {
        "mounts": Path("/proc/self/mounts").read_text(),
        "networks": [
            line for line in networks.splitlines() if not any(word in line for word in foreign)
        ],
        "settings": settings,
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def _no_link_without_a_cluster() -> bool:
    known = (cluster_records.read(name) for name in cluster_records.known_names())
    return namespaces.linked_indices() <= {record.index for record in known if record is not None}


def _processes_of(name: str) -> list[str]:
    """Returns the command lines of processes that mention the cluster's state or run in its cgroups."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            groups = (directory / "cgroup").read_text()
            command = (directory / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # the first process of the namespaces has neither before it starts the others
        marks = (f"{paths.state_root()}/{name}/", f"first_process {name} ")
        if f"/rk-{name}" in groups or any(mark in command for mark in marks):
            found.append(command)
    return found


def assert_nothing_left(name: str, before: dict[str, object]) -> None:
    assert _processes_of(name) == []
    assert cgroups.left(f"rk-{name}") == []
    assert not (paths.state_root() / name).exists()
    assert name not in kind("get", "clusters").stdout.split()
    eventually("links to be gone", _no_link_without_a_cluster, seconds=5)
    eventually("the host to be as before", lambda: _host_state() == before, seconds=5)


@pytest.fixture
def second(cluster: Any) -> Iterator[str]:
    name = f"second-{os.getpid()}"
    yield name
    kind("delete", "cluster", "--name", name)


def test_clusters_run_side_by_side_and_leave_nothing_behind(
    kubectl: Client, second: str, probe_images: str, tmp_path: Path
) -> None:
    before = _host_state()
    config = tmp_path / "kubeconfig"
    config.write_text(Path(kubectl.kubeconfig).read_text())
    kind("create", "cluster", "--name", second, "--kubeconfig", str(config))
    assert {probe_images, second} <= set(kind("get", "clusters").stdout.split())
    assert kind("get", "nodes", "--name", second).stdout == f"{second}-control-plane\n"

    other = Client(kubectl.program, config, tmp_path)
    contexts = other("config", "get-contexts", "--output=name").split()
    assert {f"kind-{probe_images}", f"kind-{second}"} <= set(contexts)
    assert other("config", "current-context") == f"kind-{second}\n"
    kind("load", "docker-image", "python:dev", "--name", second)
    other.apply(*web_deployment("web", 1))
    other("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl("get", "deployments", "-n", "default", "--output=name") == ""
    assert kubectl("get", "--raw", "/readyz") == "ok"

    again = kind("create", "cluster", "--name", second, check=False)
    taken = f'node(s) already exist for a cluster with the name "{second}"'
    assert again.returncode == 1
    assert again.stderr.endswith(f"ERROR: failed to create cluster: {taken}\n")

    kind("delete", "cluster", "--name", second, "--kubeconfig", str(config))
    assert other("config", "get-contexts", "--output=name").split() == [f"kind-{probe_images}"]
    assert_nothing_left(second, before)
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_a_create_that_cannot_succeed_says_why_and_leaves_nothing_behind(
    second: str, tmp_path: Path
) -> None:
    before = _host_state()
    config = tmp_path / "config.yaml"
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nfeatureGates: {NoSuchGate: true}\n"
    )
    failed = kind("create", "cluster", "--name", second, "--config", str(config), check=False)
    assert failed.returncode == 1
    assert "ERROR: failed to create cluster: waiting for the API server" in failed.stderr
    # whichever of them is looked at first: none takes the gate
    assert re.search(r"(kube-[a-z-]+|kubelet) keeps ending", failed.stderr), failed.stderr
    assert "NoSuchGate" in failed.stderr
    assert_nothing_left(second, before)


@pytest.mark.parametrize("role", ["inner", "outer"])
def test_the_death_of_a_first_process_ends_the_cluster_and_a_new_create_cleans_up(
    second: str, tmp_path: Path, role: str
) -> None:
    before = _host_state()
    options = ("--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    kind("create", "cluster", *options)
    record = cluster_records.read(second)
    victim = getattr(record, role)
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    eventually("every process to be gone", lambda: not _processes_of(second))
    # the first process itself is the last to go
    eventually("it to be unlisted", lambda: second not in kind("get", "clusters").stdout.split())
    gone = kind("get", "kubeconfig", "--name", second, check=False)
    assert gone.returncode == 1
    assert f"could not locate any control plane nodes for cluster named '{second}'" in gone.stderr

    created = kind("create", "cluster", *options)
    assert f'Removing what is left of cluster "{second}"' in created.stderr
    kind("delete", "cluster", *options)
    assert_nothing_left(second, before)


def test_a_create_that_is_killed_leaves_no_process_and_can_be_repeated(
    second: str, tmp_path: Path
) -> None:
    before = _host_state()
    options = ("create", "cluster", "--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    with subprocess.Popen(
        [str(EMBEDDED_KIND), *options], stderr=subprocess.PIPE, text=True
    ) as creating:
        assert creating.stderr is not None
        while "Starting the control plane" not in creating.stderr.readline():
            assert creating.poll() is None
        creating.kill()
    eventually("every process to be gone", lambda: not _processes_of(second))
    assert not (tmp_path / "kubeconfig").exists()

    kind(*options)
    kind("delete", "cluster", "--name", second)
    assert_nothing_left(second, before)


def test_a_create_that_is_interrupted_removes_what_it_created(second: str, tmp_path: Path) -> None:
    before = _host_state()
    options = ("create", "cluster", "--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    with subprocess.Popen(
        [str(EMBEDDED_KIND), *options], stderr=subprocess.PIPE, text=True
    ) as creating:
        assert creating.stderr is not None
        while "Starting the control plane" not in creating.stderr.readline():
            assert creating.poll() is None
        creating.terminate()
        said = creating.stderr.read()
    assert creating.returncode == 130
    assert said.endswith("interrupted\n")
    assert_nothing_left(second, before)
