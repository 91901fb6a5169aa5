"""Every setting of a kind configuration takes effect or is refused by name."""

from pathlib import Path

import pytest
from tests.cluster.cli import configuration
from tests.cluster.errors import ClusterError
from tests.cluster.lifecycle.clusters import NAME, Plan

HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"


def plan_of(text: str, tmp_path: Path, name: str = "kind", wait: str = "0s") -> Plan:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return configuration.plan(str(path), name=name, wait=wait, retain=False)


def test_without_a_configuration_the_plan_is_made_of_the_options() -> None:
    plan = configuration.plan(None, name="a", wait="90s", retain=True)
    assert plan == Plan(name="a", wait_seconds=90, retain=True)


def test_supported_settings_reach_the_plan(tmp_path: Path) -> None:
    text = HEAD + (
        "name: mine\nfeatureGates: {A: true}\nruntimeConfig: {api/beta: 'true'}\n"
        "networking: {kubeProxyMode: iptables}\n"
        "nodes: [{role: control-plane, labels: {zone: x}}]\n"
        "kubeadmConfigPatches:\n"
        "- |\n"
        "  kind: ClusterConfiguration\n"
        "  networking: {dnsDomain: k8s.example}\n"
    )
    assert plan_of(text, tmp_path) == Plan(
        name="mine",
        proxy_mode="iptables",
        node_labels={"zone": "x"},
        feature_gates={"A": True},
        runtime_config={"api/beta": "true"},
        dns_domain="k8s.example",
    )


def test_a_name_on_the_command_line_overrides_that_of_the_file(tmp_path: Path) -> None:
    assert plan_of(HEAD + "name: theirs\n", tmp_path, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Other", "kind: Cluster"),
        ("- a", "kind: Cluster"),
        ("kind: Cluster\napiVersion: v1", "apiVersion"),
        (HEAD + "surprise: 1", "surprise is not supported"),
        (HEAD + "nodes: [{role: control-plane}, {role: worker}]", "one real node"),
        (HEAD + "nodes: [{role: worker}]", "control-plane"),
        (HEAD + "nodes: [{extraPortMappings: []}]", "NodePorts are reached"),
        (HEAD + "nodes: [{image: kindest/node}]", r"nodes\[0\].image is not supported"),
        (HEAD + "networking: {ipFamily: dual}", "IPv4 only"),
        (HEAD + "networking: {kubeProxyMode: ipvs}", "nftables, iptables"),
        (HEAD + "networking: {disableDefaultCNI: true}", "networking.disableDefaultCNI"),
        (
            HEAD + "kubeadmConfigPatches: ['kind: InitConfiguration']",
            "of ClusterConfiguration only",
        ),
        (
            HEAD + "kubeadmConfigPatches: ['{kind: ClusterConfiguration, etcd: {}}']",
            "etcd is not supported",
        ),
        (
            HEAD
            + "kubeadmConfigPatches: ['{kind: ClusterConfiguration, networking: {podSubnet: 10.0.0.0/8}}']",
            "networking.podSubnet is not supported",
        ),
        (HEAD + "kubeadmConfigPatches: ['{']", "not YAML"),
        ("{", "not YAML"),
    ],
)
def test_an_unsupported_setting_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        plan_of(text, tmp_path)


def test_a_wrong_wait_names_the_flag() -> None:
    with pytest.raises(ClusterError, match='"soon" for "--wait"'):
        configuration.plan(None, name="a", wait="soon", retain=False)


@pytest.mark.parametrize("name", ["a", "kind", "relay-1", "a" * 40])
def test_names_that_are_dns_labels_are_accepted(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a/b", "..", "a" * 41, "a\n"])
def test_names_that_could_leave_their_directory_or_break_dns_are_refused(name: str) -> None:
    assert not NAME.fullmatch(name)
