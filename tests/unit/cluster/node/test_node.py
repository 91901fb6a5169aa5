"""Command lines, packet rules and cgroups of a node."""

from pathlib import Path

import pytest
import yaml
from tests.cluster import addresses, paths
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.cluster.images.archive import complete_reference
from tests.cluster.lifecycle import startup
from tests.cluster.node import cgroups, configuration_files, policy_queue
from tests.cluster.node.components import After, components
from tests.cluster.node.supervisor import CRASH_LOOP_SECONDS, RESTART_SECONDS, restart_delay

RECORD = ClusterRecord(
    name="a",
    index=2,
    binaries="/b",
    proxy_mode="iptables",
    node_labels={"zone": "x"},
    feature_gates={"Gate": False},
    runtime_config={"api/beta": "true"},
    dns_domain="k8s.example",
)
COMMANDS = {component.name: component.command for component in components(RECORD)}


def test_new_connections_of_pods_are_queued_in_both_directions_and_towards_the_node() -> None:
    lines = policy_queue.rules().splitlines()
    judged = [line for line in lines if "NFQUEUE" in line]
    assert [line.split(" -m ")[0] for line in judged] == [
        f"-A POLICY-POSTROUTING -s {addresses.POD_CIDR}",
        f"-A POLICY-POSTROUTING -d {addresses.POD_CIDR}",
        f"-A POLICY-INPUT -s {addresses.POD_CIDR}",
    ]


def test_the_queue_has_no_bypass() -> None:
    assert "--queue-bypass" not in policy_queue.rules()


def test_the_engine_reads_the_queue_that_the_rules_feed() -> None:
    (number,) = {
        line.rpartition(" ")[2] for line in policy_queue.rules().splitlines() if "NFQ" in line
    }
    assert f"--nfqueue-id={number}" in COMMANDS["kube-network-policies"]


def test_settings_of_the_configuration_reach_the_components() -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        assert "--feature-gates=Gate=false" in COMMANDS[name]
    assert configuration_files.kubelet(RECORD)["featureGates"] == {"Gate": False}
    assert "--runtime-config=api/beta=true" in COMMANDS["kube-apiserver"]
    assert "--proxy-mode=iptables" in COMMANDS["kube-proxy"]
    assert "--node-labels=zone=x" in COMMANDS["kubelet"]


def test_pods_kubelet_and_dns_have_one_domain() -> None:
    assert configuration_files.kubelet(RECORD)["clusterDomain"] == "k8s.example"
    issuer = "--service-account-issuer=https://kubernetes.default.svc.k8s.example"
    assert issuer in COMMANDS["kube-apiserver"]
    manifest = startup.dns_manifest(RECORD)
    assert "kubernetes k8s.example in-addr.arpa ip6.arpa {" in manifest
    assert addresses.DNS_DOMAIN not in manifest


def test_each_node_has_its_own_cgroup_root() -> None:
    assert configuration_files.kubelet(RECORD)["cgroupRoot"] == "/rk-a"


def test_kwok_starts_on_request_and_manages_fake_nodes_only() -> None:
    (kwok,) = (component for component in components(RECORD) if component.name == "kwok")
    assert kwok.after is After.REQUEST
    assert "--manage-all-nodes=false" in kwok.command


def test_cluster_dns_has_the_address_that_kubelet_gives_to_pods() -> None:
    manifest = paths.PACKAGE / "manifests" / "coredns.yaml"
    documents = {d["kind"]: d for d in yaml.safe_load_all(manifest.read_text())}
    assert documents["Service"]["spec"]["clusterIP"] == addresses.DNS_SERVICE
    assert configuration_files.kubelet(RECORD)["clusterDNS"] == [addresses.DNS_SERVICE]
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert documents["Service"]["spec"]["selector"] == labels == {"k8s-app": "kube-dns"}
    corefile = documents["ConfigMap"]["data"]["Corefile"]
    assert f"{addresses.OUTSIDE_ADDRESS} outside.test" in corefile
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert complete_reference(container["image"]) == container["image"]


@pytest.mark.parametrize(("ran", "delay"), [(0.1, CRASH_LOOP_SECONDS), (60, RESTART_SECONDS)])
def test_a_component_that_ended_soon_is_restarted_later(ran: float, delay: float) -> None:
    assert restart_delay(ran) == delay


@pytest.fixture
def hierarchies(tmp_path: Path) -> Path:
    """A cgroup v1 mount: one directory per controller, two names for one of them, an empty v2 one."""
    for name in ("cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "unified"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    for file in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / "cpuset" / file).write_text("0-1\n")
    (tmp_path / "alias").symlink_to("cpu")
    return tmp_path


def test_cgroups_are_made_in_every_hierarchy_once_and_removed_with_their_children(
    hierarchies: Path,
) -> None:
    cgroups.create("rk-a", hierarchies)
    assert len(cgroups.left("rk-a", hierarchies)) == 8
    # without these a v1 cpuset takes no process
    assert (hierarchies / "cpuset" / "rk-a" / "cpuset.cpus").read_text() == "0-1\n"
    for file in ("cpuset.cpus", "cpuset.mems"):
        # in a real hierarchy these vanish with their directory
        (hierarchies / "cpuset" / "rk-a" / file).unlink()
    (hierarchies / "memory" / "rk-a" / "kubepods" / "pod1").mkdir(parents=True)
    cgroups.remove("rk-a", hierarchies)
    assert cgroups.left("rk-a", hierarchies) == []


def test_missing_controllers_are_named(hierarchies: Path) -> None:
    assert cgroups.missing_controllers(hierarchies) == frozenset()
    (hierarchies / "pids" / "cgroup.procs").unlink()
    assert cgroups.missing_controllers(hierarchies) == {"pids"}


def test_a_unified_hierarchy_delegates_its_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset io memory pids\n")
    (tmp_path / "cgroup.procs").touch()
    cgroups.create("rk-a", tmp_path)
    assert cgroups.left("rk-a", tmp_path) == [tmp_path / "rk-a"]
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory +pids"
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert cgroups.missing_controllers(tmp_path) == {"cpuset", "pids"}


def test_the_error_for_cgroups_that_cannot_be_created_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "cgroup.procs").touch()
    (tmp_path / "memory" / "rk-a").touch()
    with pytest.raises(ClusterError, match="writable and delegated"):
        cgroups.create("rk-a", tmp_path)
