"""Targets of a probe are what the tenant's own policies forbid; what they allow is no sign of anything."""

import dataclasses
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from relay_contract.isolation_probe import DECOY_PORT, MAX_TARGETS, TargetKind
from relay_operator.api.tenant import Tenant
from relay_operator.manifests import policies, probe_targets, reach
from relay_operator.manifests.environment import Platform, Upstream
from relay_operator.manifests.probe_targets import Around, Neighbour

SERVICE = {"spec": {"clusterIPs": ["10.96.3.3"], "ports": [{"port": 8080, "nodePort": 31000}]}}
NEIGHBOUR = Neighbour(
    namespace="relay-b", address="10.244.1.9", host_address="10.1.0.2", service=SERVICE
)
AROUND = Around(
    decoys=("10.244.0.7", "fd00:10:244::7"),
    api_server=("10.96.0.1", 443),
    neighbours=(NEIGHBOUR,),
)
PLATFORM = Platform(
    operator_namespace="relay-system",
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image="relay:test",
    relay_image_pull_policy="Never",
    public_keys="key",
    prometheus_namespace="monitoring",
    dns_namespace="kube-system",
)
WORLD = Upstream(provider="p", port=443)


def permitted(*upstreams: Upstream, host: str = "10.1.0.1", around: Around = AROUND) -> set[str]:
    return {
        aim.place
        for aim in probe_targets.aims(around, upstreams, own_host_address=host)
        if aim.permitted
    }


def test_every_kind_of_target_is_tried() -> None:
    found = probe_targets.aims(AROUND, (), own_host_address="10.1.0.1")
    assert [(aim.target.kind.value, aim.place) for aim in found] == [
        ("Decoy", "10.244.0.7:8091"),
        ("Decoy", "[fd00:10:244::7]:8091"),
        ("ApiServer", "10.96.0.1:443"),
        ("Metadata", "169.254.169.254:80"),
        ("Metadata", "[fd00:ec2::254]:80"),
        ("Neighbour", "10.244.1.9:8081"),
        ("Neighbour", "10.244.1.9:8080"),
        ("Neighbour", "10.96.3.3:8080"),
        ("Node", "10.1.0.2:10250"),
        ("NodePort", "10.1.0.2:31000"),
    ]
    assert not any(aim.permitted for aim in found)


def test_a_relay_may_reach_its_own_node() -> None:
    assert permitted(host="10.1.0.2") == {"10.1.0.2:10250"}


@pytest.mark.parametrize(
    ("upstream", "opened"),
    [
        (WORLD, {"10.96.0.1:443"}),
        (Upstream(provider="p", port=80), {"10.96.0.1:443"}),
        # link-local, which no policy opens
        (Upstream(provider="p", port=80, cidrs=("169.254.169.0/24",)), set()),
        (Upstream(provider="p", port=80, cidrs=("168.0.0.0/5", "fd00::/8")), set()),
        (Upstream(provider="p", port=8081, cidrs=("10.244.0.0/16",)), {"10.244.1.9:8081"}),
        (Upstream(provider="p", port=8443, cidrs=("10.244.0.0/16",)), set()),
        (
            Upstream(provider="p", port=8080, namespace="relay-b", pod_selector=(("a", "b"),)),
            {"10.244.1.9:8080", "10.96.3.3:8080", "10.1.0.2:31000"},
        ),
        (Upstream(provider="p", port=8080, namespace="relay-c", pod_selector=(("a", "b"),)), set()),
        (
            Upstream(provider="p", port="admin", namespace="relay-b", pod_selector=(("a", "b"),)),
            {"10.244.1.9:8080", "10.244.1.9:8081", "10.96.3.3:8080", "10.1.0.2:31000"},
        ),
    ],
)
def test_what_an_upstream_opens_is_permitted(upstream: Upstream, opened: set[str]) -> None:
    assert permitted(upstream) == opened


@pytest.mark.parametrize(
    "upstream",
    [
        WORLD,
        Upstream(provider="p", port=443, cidrs=("10.0.0.0/8",)),
        Upstream(provider="p", port=8081, cidrs=("10.0.0.0/8",)),
        Upstream(provider="p", port=10250, cidrs=("10.1.0.0/24",)),
        Upstream(provider="p", port=DECOY_PORT, cidrs=("10.0.0.0/8", "fd00::/8")),
    ],
)
def test_what_the_platform_names_as_the_clusters_own_is_permitted_by_no_upstream(
    upstream: Upstream,
) -> None:
    cluster = ("10.0.0.0/8", "fd00:10::/32")
    around = dataclasses.replace(AROUND, cluster_cidrs=cluster)
    assert permitted(upstream, around=around) == set()


@pytest.mark.parametrize("cluster_cidrs", [(), ("10.244.0.0/16",), ("198.51.100.0/24",)])
@pytest.mark.parametrize(
    "cidrs", [(), ("10.0.0.0/8",), ("169.254.0.0/16", "0.0.0.0/0"), ("::ffff:10.244.0.0/112",)]
)
def test_what_is_permitted_is_what_the_policies_open(
    cidrs: tuple[str, ...], cluster_cidrs: tuple[str, ...]
) -> None:
    upstream = Upstream(provider="p", port=443, cidrs=cidrs)
    tenant = Tenant.parse({"metadata": {"name": "a", "uid": "u"}, "spec": {}})
    platform = dataclasses.replace(PLATFORM, cluster_cidrs=cluster_cidrs)
    egress = policies.relay_traffic(tenant, platform, [upstream])["spec"]["egress"]
    blocks = [
        to["ipBlock"]
        for rule in egress
        if {"protocol": "TCP", "port": 443} in rule["ports"]
        for to in rule["to"]
    ]
    for address in ("10.244.1.9", "10.9.9.9", "169.254.169.254", "198.51.100.7", "9.9.9.9"):
        is_open = any(
            ip_address(address) in ip_network(one["cidr"])
            and not any(ip_address(address) in ip_network(part) for part in one.get("except", []))
            for one in blocks
        )
        found = reach.lets_out([upstream], address, 443, cluster_cidrs=cluster_cidrs)
        assert found is is_open, address


def test_a_public_pod_network_is_opened_by_an_upstream_of_any_public_address() -> None:
    public = Neighbour(namespace="relay-b", address="198.51.101.9")
    around = Around(decoys=("198.51.101.2",), api_server=None, neighbours=(public,))
    assert permitted(Upstream(provider="p", port=8081), around=around) == {"198.51.101.9:8081"}
    assert permitted(Upstream(provider="p", port=DECOY_PORT), around=around) == {
        "198.51.101.2:8091"
    }


def test_there_are_at_most_as_many_targets_as_a_relay_takes() -> None:
    many = [Neighbour(namespace="relay-b", address=f"10.244.2.{n}") for n in range(1, 40)]
    around = Around(decoys=("10.244.0.7",), api_server=None, neighbours=many)
    assert len(probe_targets.aims(around, (), own_host_address="")) == MAX_TARGETS


@pytest.mark.parametrize("claimed", ["127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1"])
def test_an_address_that_no_pod_has_is_left_out(claimed: str) -> None:
    service = {"spec": {"clusterIPs": [claimed], "ports": [{"nodePort": 22}]}}
    liar = Neighbour(namespace="relay-b", address=claimed, host_address=claimed, service=service)
    around = Around(decoys=(claimed, "10.244.0.7"), api_server=None, neighbours=(liar,))
    found = probe_targets.aims(around, (), own_host_address="")
    assert {aim.target.kind for aim in found} == {TargetKind.DECOY, TargetKind.METADATA}
    assert found[0].place == "10.244.0.7:8091"


def test_a_service_without_an_address_is_no_target() -> None:
    headless = Neighbour(
        namespace="relay-b", address="10.244.1.9", service={"spec": {"clusterIPs": ["None"]}}
    )
    kinds = [
        aim.target.kind
        for aim in probe_targets.aims(
            Around(decoys=(), api_server=None, neighbours=(headless,)), (), own_host_address=""
        )
    ]
    assert kinds.count(TargetKind.NEIGHBOUR) == 2


@pytest.mark.parametrize(
    ("allow_from", "is_in"),
    [
        ([], False),
        ([{"namespace": "web"}], False),
        ([{"namespace": "relay-system"}], True),
        ([{"cidr": "10.244.0.0/16"}], True),
        ([{"cidr": "::ffff:10.244.0.0/112"}], True),
        ([{"cidr": "10.245.0.0/16"}, {"cidr": "fd00::/8"}], False),
    ],
)
def test_the_operator_is_let_in_by_name_or_by_address(
    allow_from: list[dict[str, Any]], is_in: bool
) -> None:
    tenant = Tenant.parse(
        {"metadata": {"name": "a", "uid": "u"}, "spec": {"network": {"allowFrom": allow_from}}}
    )
    assert reach.lets_in(tenant, ["10.244.0.7"], namespace="relay-system") is is_in
