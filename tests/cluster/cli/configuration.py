"""Reads kind's cluster configuration (kind.x-k8s.io/v1alpha4) as far as one node supports it.

Unsupported settings are refused by name: a test that passes because a setting was ignored proves nothing.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.cli.arguments import DEFAULT_NAME, parse_duration
from tests.cluster.errors import ClusterError
from tests.cluster.lifecycle.clusters import Plan

API_VERSION = "kind.x-k8s.io/v1alpha4"
PROXY_MODES = ("nftables", "iptables")
FIELDS = frozenset(
    {
        *("kind", "apiVersion", "name", "nodes", "networking", "featureGates", "runtimeConfig"),
        "kubeadmConfigPatches",
    }
)
NODE_FIELDS = frozenset({"role", "labels"})
NETWORKING_FIELDS = frozenset({"kubeProxyMode", "ipFamily"})
PATCHED = "ClusterConfiguration"
PATCH_FIELDS = frozenset({"kind", "apiVersion", "networking"})


def plan(
    config: str | None, *, name: str, wait: str, retain: bool, audit_log: bool = False
) -> Plan:
    """Builds the plan of a cluster. config is a path, - for standard input, or None; a --name overrides the file's."""
    try:
        seconds = parse_duration(wait)
    except ValueError as error:
        raise ClusterError(f'invalid argument "{wait}" for "--wait" flag: {error}') from error
    settings = parse(_read(config)) if config else {}
    chosen = name if name != DEFAULT_NAME else settings.pop("name", name)
    settings.pop("name", None)
    return Plan(
        name=chosen, wait_seconds=seconds or None, retain=retain, audit_log=audit_log, **settings
    )


def _read(config: str) -> str:
    if config == "-":
        return sys.stdin.read()
    try:
        return Path(config).read_text()
    except OSError as error:
        raise ClusterError(f"cannot read the configuration {config}: {error.strerror}") from error


def parse(text: str) -> dict[str, Any]:
    """Parses the configuration into fields of Plan, and name if it has one; raises ClusterError."""
    content = _loaded(text)
    if not isinstance(content, dict) or content.get("kind") != "Cluster":
        raise ClusterError("the cluster configuration must be of kind: Cluster")
    if content.get("apiVersion") != API_VERSION:
        raise ClusterError(f"the cluster configuration must be of apiVersion: {API_VERSION}")
    _refuse_unknown(content, FIELDS, "")
    settings: dict[str, Any] = {
        "feature_gates": content.get("featureGates") or {},
        "runtime_config": content.get("runtimeConfig") or {},
        **_networking(content.get("networking") or {}),
        **_nodes(content.get("nodes") or []),
        **_patches(content.get("kubeadmConfigPatches") or []),
    }
    if content.get("name"):
        settings["name"] = content["name"]
    return settings


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterError(f"the cluster configuration is not YAML: {error}") from error


def _patches(patches: list[str]) -> dict[str, Any]:
    """Reads what kind hands on to kubeadm, which knows the cluster's DNS domain."""
    settings: dict[str, Any] = {}
    for patch in map(_loaded, patches):
        if not isinstance(patch, dict) or patch.get("kind") != PATCHED:
            raise ClusterError(
                f"kubeadmConfigPatches: the embedded cluster reads those of {PATCHED} only"
            )
        _refuse_unknown(patch, PATCH_FIELDS, "kubeadmConfigPatches: ")
        networking = patch.get("networking") or {}
        _refuse_unknown(networking, frozenset({"dnsDomain"}), "kubeadmConfigPatches: networking.")
        if networking:
            settings["dns_domain"] = networking["dnsDomain"]
    return settings


def _networking(networking: dict[str, Any]) -> dict[str, Any]:
    _refuse_unknown(networking, NETWORKING_FIELDS, "networking.")
    if networking.get("ipFamily", "ipv4") != "ipv4":
        raise ClusterError("networking.ipFamily: the embedded cluster has IPv4 only")
    mode = networking.get("kubeProxyMode", PROXY_MODES[0])
    if mode not in PROXY_MODES:
        raise ClusterError(f"networking.kubeProxyMode: choose one of {', '.join(PROXY_MODES)}")
    return {"proxy_mode": mode}


def _nodes(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    if len(nodes) > 1:
        raise ClusterError(
            "nodes: the embedded cluster has one real node; more can be simulated "
            "(component start NAME kwok)"
        )
    labels: dict[str, str] = {}
    for node in nodes:
        _refuse_unknown(node, NODE_FIELDS, "nodes[0].")
        if node.get("role", "control-plane") != "control-plane":
            raise ClusterError("nodes[0].role: the only node is the control-plane")
        labels = node.get("labels") or {}
    return {"node_labels": labels}


def _refuse_unknown(content: dict[str, Any], supported: frozenset[str], where: str) -> None:
    for key in content:
        if key not in supported:
            hint = (
                ": NodePorts are reached at the node's own address (get nodes -o wide)"
                if key == "extraPortMappings"
                else ""
            )
            raise ClusterError(f"{where}{key} is not supported by the embedded cluster{hint}")
