"""No Provider leads relays to loopback, link-local, metadata or cluster addresses, however they are written."""

from typing import Any

import pytest

from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Tenant
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import policies
from relay_operator.manifests.addresses import forbidden_addresses
from relay_operator.manifests.environment import Platform, Upstream

CLUSTER = ("10.9.0.0/16", "198.51.100.0/24", "fd00:9::/48")


def provider(url: str = "https://api.example.com/v1", **spec: Any) -> Provider:
    body = {"metadata": {"name": "p", "uid": "u"}, "spec": {"endpoint": {"url": url}} | spec}
    return Provider.parse(body)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://localhost/v1", "loopback"),
        ("http://a.localhost:80", "loopback"),
        ("http://127.0.0.1:9/v1", "loopback"),
        ("http://[::1]/v1", "loopback"),
        ("http://[::ffff:127.0.0.1]/v1", "loopback"),
        ("http://[64:ff9b::7f00:1]/v1", "loopback"),
        ("http://0.0.0.0/v1", "this host"),
        ("http://169.254.169.254/latest", "link-local"),
        ("http://[fe80::1]/v1", "link-local"),
        ("http://[fd00:ec2::254]/v1", "a metadata service"),
        ("http://168.63.129.16/", "a metadata service"),
        ("http://192.0.0.192/", "a metadata service"),
        ("https://10.9.1.2:6443/v1", "an address of this cluster"),
        ("https://[fd00:9::1]/v1", "an address of this cluster"),
        ("https://kubernetes.default.svc/v1", "the API server"),
        ("https://kubernetes.default.svc.cluster.local./v1", "the API server"),
    ],
)
def test_an_address_that_is_no_providers_is_refused(url: str, says: str) -> None:
    assert f"which is {says}" in forbidden_addresses.obstacle_of(provider(url), CLUSTER)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "https://10.8.0.1/v1",
        "https://203.0.113.9/v1",
        "http://localhost.example.com",
    ],
)
def test_an_address_of_a_provider_is_not(url: str) -> None:
    assert forbidden_addresses.obstacle_of(provider(url), CLUSTER) == ""


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "10.1.2"])
def test_a_number_that_resolvers_take_for_an_address_is_no_host(host: str) -> None:
    with pytest.raises(InvalidSpec, match="four decimal numbers"):
        provider(f"http://{host}/v1")
    with pytest.raises(InvalidSpec, match="four decimal numbers"):
        provider(proxy={"url": f"http://{host}:3128", "egressCIDRs": ["10.1.2.3/32"]})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"egressCIDRs": ["10.8.0.0/16", "10.9.1.0/24"]}, "egressCIDRs"),
        ({"egressCIDRs": ["::ffff:10.9.1.0/120"]}, "egressCIDRs"),
        ({"egressCIDRs": ["169.254.169.254/32"]}, "egressCIDRs"),
        ({"proxy": {"url": "http://10.9.1.1:3128"}}, "proxy.url"),
        (
            {"proxy": {"url": "http://proxy:3128", "egressCIDRs": ["127.0.0.0/8"]}},
            "proxy.egressCIDRs",
        ),
    ],
)
def test_declared_addresses_are_checked_as_well(spec: dict[str, Any], field: str) -> None:
    found = forbidden_addresses.obstacle_of(provider(**spec), CLUSTER)
    assert found.startswith(f"{field} names ")


@pytest.mark.parametrize(
    "spec",
    [{"url": "https://10.96.0.1/v1"}, {"egressCIDRs": ["10.96.0.1/32"]}, {"url": "https://[fd00:96::1]/"}],
)  # fmt: skip
def test_a_single_address_of_the_cluster_is_closed_as_a_block_is(spec: dict[str, Any]) -> None:
    closed = ("10.96.0.1", "fd00:96::1")
    assert "an address of this cluster" in forbidden_addresses.obstacle_of(provider(**spec), closed)
    assert forbidden_addresses.open_part("10.96.0.0/12", closed) == (
        "10.96.0.0/12",
        ["10.96.0.1/32"],
    )


def egress(upstream: Upstream) -> list[Any]:
    platform = Platform(
        operator_namespace="relay-system",
        service_account="relay-operator",
        tenant_cluster_role="relay-operator-tenant",
        relay_image="relay:test",
        relay_image_pull_policy="Never",
        public_keys="",
        prometheus_namespace="monitoring",
        dns_namespace="kube-system",
        cluster_cidrs=CLUSTER,
    )
    tenant = Tenant.parse({"metadata": {"name": "a", "uid": "u"}, "spec": {}})
    rules: list[Any] = policies.relay_traffic(tenant, platform, [upstream])["spec"]["egress"]
    return rules[1:]


def test_a_larger_block_is_open_but_for_its_forbidden_parts() -> None:
    [rule] = egress(Upstream(provider="p", port=443, cidrs=("10.0.0.0/8", "203.0.113.0/24")))
    assert rule["to"] == [
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16"]}},
        {"ipBlock": {"cidr": "203.0.113.0/24"}},
    ]
    [everything] = egress(Upstream(provider="p", port=443, cidrs=("0.0.0.0/0",)))
    assert {"169.254.0.0/16", "127.0.0.0/8", "10.9.0.0/16"} <= set(
        everything["to"][0]["ipBlock"]["except"]
    )


def test_a_way_to_forbidden_addresses_alone_is_no_way_and_not_one_to_everywhere() -> None:
    assert egress(Upstream(provider="p", port=443, cidrs=("10.9.1.0/24", "169.254.1.0/24"))) == []


def test_public_addresses_of_the_cluster_and_of_metadata_services_are_closed_to_a_provider_by_name() -> (
    None
):
    [rule] = egress(Upstream(provider="p", port=443))
    v4, v6 = rule["to"]
    assert {"198.51.100.0/24", "168.63.129.16/32"} <= set(v4["ipBlock"]["except"])
    # in 10.0.0.0/8 and fc00::/7 already
    assert "10.9.0.0/16" not in v4["ipBlock"]["except"]
    assert "fd00:9::/48" not in v6["ipBlock"]["except"]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "transfer-encoding",
        "TE",
        "Upgrade",
        "Content-Length",
        "content-encoding",
        "Expect",
        "X-Request-ID",
    ],
)
def test_no_header_of_framing_or_of_a_connection_can_be_set(name: str) -> None:
    with pytest.raises(InvalidSpec, match="relays write themselves"):
        provider(headers={name: "x"})
    with pytest.raises(InvalidSpec, match="relays write themselves"):
        provider(auth={"secretName": "s", "header": name})


def test_a_key_does_not_travel_as_the_name_of_the_server() -> None:
    with pytest.raises(InvalidSpec, match="which server is meant"):
        provider(auth={"secretName": "s", "header": "Host"})


@pytest.mark.parametrize(
    "spec",
    [
        {"auth": {"secretName": "s"}, "headers": {"authorization": "Bearer x"}},
        {"auth": {"secretName": "s", "header": "X-Api-Key"}, "headers": {"x-api-key": "x"}},
        {"headers": {"X-Team": "a", "x-team": "b"}},
    ],
)
def test_no_header_is_sent_twice(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match="headers: "):
        provider(**spec)
    assert provider(headers={"Authorization": "x", "X-Team": "a"}).spec.auth is None


def receiver(
    address: str, *, allowed: tuple[str, ...] = (), cluster: tuple[str, ...] = CLUSTER
) -> str:
    return forbidden_addresses.obstacle_of_receiver(address, allowed=allowed, cluster_cidrs=cluster)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "this host"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("168.63.129.16", "a metadata service"),
        ("fd00:ec2::254", "a metadata service"),
        ("224.0.0.1", "multicast"),
        ("198.51.100.7", "an address of this cluster"),
        ("10.8.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("198.18.0.1", "private"),
        ("255.255.255.255", "private"),
        ("fd12::1", "private"),
        ("fec0::1", "private"),
        ("::ffff:0:a00:1", "private"),
        ("2002:a08:1::1", "private"),
        ("64:ff9b::a08:1", "private"),
        ("64:ff9b:1::a08:1", "private"),
        ("::10.8.0.1", "private"),
    ],
)
def test_a_webhook_is_led_to_no_address_that_is_not_public(address: str, says: str) -> None:
    assert receiver(address) == says


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_webhook_is_led_to_public_ones(address: str) -> None:
    assert receiver(address) == ""


def test_a_webhook_is_led_to_blocks_that_are_allowed_and_to_no_others() -> None:
    allowed = ("10.8.0.0/16", "198.51.100.7/32")
    assert receiver("10.8.0.1", allowed=allowed) == ""
    assert receiver("::ffff:10.8.0.1", allowed=allowed) == ""
    assert receiver("198.51.100.7", allowed=allowed) == ""
    assert receiver("198.51.100.8", allowed=allowed) == "an address of this cluster"
    assert receiver("10.7.0.1", allowed=allowed) == "private"


def test_a_broad_block_opens_neither_loopback_nor_a_metadata_service() -> None:
    broad = ("0.0.0.0/0", "::/0")
    assert receiver("10.8.0.1", allowed=broad) == ""
    assert receiver("127.0.0.1", allowed=broad) == "loopback"
    assert receiver("169.254.169.254", allowed=broad) == "link-local"
    assert receiver("168.63.129.16", allowed=broad) == "a metadata service"
    assert receiver("127.0.0.1", allowed=("127.0.0.0/8",)) == ""
