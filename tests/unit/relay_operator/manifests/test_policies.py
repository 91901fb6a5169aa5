"""Network policies say what the API server accepts and what the network is to enforce."""

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.relay_operator.manifests.policy_cases import (
    every_policy,
    upstream_of_service,
    upstream_of_url,
)

from relay_operator.api.provider import Provider
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import upstreams

POLICIES = every_policy()


def blocks(policy: dict[str, Any]) -> Iterator[dict[str, Any]]:
    spec = policy["spec"]
    for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
        for peer in [*rule.get("from", []), *rule.get("to", [])]:
            if "ipBlock" in peer:
                yield peer["ipBlock"]


@pytest.mark.parametrize("case", POLICIES)
def test_every_block_is_canonical_and_no_mapped_address(case: str) -> None:
    for block in blocks(POLICIES[case]):
        for cidr in [block["cidr"], *block.get("except", [])]:
            network = ipaddress.ip_network(cidr)
            assert str(network) == cidr
            assert network.version == 4 or network.network_address.ipv4_mapped is None


@pytest.mark.parametrize("case", POLICIES)
def test_every_exception_lies_inside_its_block(case: str) -> None:
    for block in blocks(POLICIES[case]):
        for cidr in block.get("except", []):
            inner, outer = ipaddress.ip_network(cidr), ipaddress.ip_network(block["cidr"])
            assert inner.version == outer.version
            assert inner != outer
            assert inner.subnet_of(outer)  # type: ignore[arg-type]  # the same version, see above


def test_an_upstream_of_any_public_address_has_exceptions_in_both_versions() -> None:
    found = list(blocks(POLICIES["url"]))
    assert [block["cidr"] for block in found] == ["0.0.0.0/0", "::/0"]
    assert all(block["except"] for block in found)


def test_declared_blocks_are_written_as_the_api_server_takes_them() -> None:
    def written(case: str) -> list[str]:
        return [block["cidr"] for block in blocks(POLICIES[case])]

    assert written("block with host bits") == ["10.1.2.0/24", "2001:db8::/32"]
    assert written("block of an unusual spelling") == [
        "2001:db8::/32",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
    ]
    assert written("DNS servers by address") == [
        "198.51.100.2/32",
        "2001:db8::53/128",
        "10.96.0.0/16",
    ]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://a.example.com/v1", 443),
        ("http://a.example.com", 80),
        ("https://a.example.com:8443", 8443),
        ("http://[2001:db8::5]:8000/v1", 8000),
    ],
)
def test_a_url_opens_its_port(url: str, port: int) -> None:
    assert upstream_of_url({"endpoint": {"url": url}}).port == port


@pytest.mark.parametrize(
    ("port", "opened"),
    [
        ({"port": 80}, 80),
        ({"port": 80, "targetPort": 8080}, 8080),
        ({"port": 80, "targetPort": "api"}, "api"),
    ],
)
def test_a_service_opens_the_port_its_pods_listen_on(
    port: dict[str, Any], opened: int | str
) -> None:
    upstream = upstream_of_service(port)
    assert upstream.port == opened
    assert upstream.namespace == "providers"
    assert upstream.pod_selector == (("app", "llm"), ("tier", "gpu"))


@pytest.mark.parametrize(
    "service",
    [
        None,
        {"spec": {"ports": [{"port": 80}]}},
        {"spec": {"selector": {"app": "x"}, "ports": [{"port": 81}]}},
        {"spec": {"selector": {"app": "x"}}},
    ],
    ids=["missing", "without a selector", "another port", "no port"],
)
def test_a_service_that_leads_to_no_pods_opens_nothing(service: dict[str, Any] | None) -> None:
    ref = {"namespace": "providers", "name": "llm", "port": 80}
    body = {"metadata": {"name": "p", "uid": "u"}, "spec": {"endpoint": {"serviceRef": ref}}}
    provider = Provider.parse(body)
    assert provider.spec.endpoint.service_ref is not None
    assert upstreams.of_service(provider, provider.spec.endpoint.service_ref, service) is None


@pytest.mark.parametrize(
    "url", ["https://a.example.com:99999/v1", "https://a.example.com:0/v1", "https:///v1"]
)
def test_a_url_that_no_policy_can_open_is_an_invalid_spec(url: str) -> None:
    body = {"metadata": {"name": "p", "uid": "u"}, "spec": {"endpoint": {"url": url}}}
    with pytest.raises(InvalidSpec, match=r"spec\.endpoint\.url"):
        Provider.parse(body)


@pytest.mark.parametrize(
    ("case", "cidr", "port"),
    [
        ("proxy at an address", "10.1.2.3/32", 3128),
        ("proxy at an IPv6 address", "fd00::3/128", 3128),
        ("proxy of a name", "10.1.2.0/28", 8080),
    ],
)
def test_behind_a_proxy_the_relay_reaches_the_proxy_and_not_the_provider(
    case: str, cidr: str, port: int
) -> None:
    _dns, *upstreams_rules = POLICIES[case]["spec"]["egress"]
    assert upstreams_rules == [
        {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]
