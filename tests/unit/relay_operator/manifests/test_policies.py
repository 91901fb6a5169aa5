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

from relay_operator.api.provider import Provider, ServiceRef
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import upstreams
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.upstreams import Unusable
from relay_operator.names import Reason

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


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "192.0.0.192",
        "198.18.0.1", "224.0.0.1", "255.255.255.255", "168.63.129.16",
        "::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2001:0:a00:1::",
        "2002:a00:1::1",
    ],
)  # fmt: skip
def test_no_address_inside_is_taken_for_a_public_one_however_it_is_written(address: str) -> None:
    found = ipaddress.ip_address(address)
    opened = [
        block
        for block in blocks(POLICIES["url"])
        if found in ipaddress.ip_network(block["cidr"])
        and not any(found in ipaddress.ip_network(one) for one in block["except"])
    ]
    assert not opened


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "192.0.1.1", "2001:4860:4860::8888", "2606:4700::1"]
)
def test_a_public_address_is_open(address: str) -> None:
    found = ipaddress.ip_address(address)
    [block] = [one for one in blocks(POLICIES["url"]) if found in ipaddress.ip_network(one["cidr"])]
    assert not any(found in ipaddress.ip_network(one) for one in block["except"])


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


REF = ServiceRef(namespace="providers", name="llm", port=80)
PODS = {"selector": {"app": "x"}}
HEADLESS = {"clusterIP": "None", **PODS}


def led_to(spec: dict[str, Any]) -> Upstream:
    found = upstreams.of_service(REF, "p", {"spec": spec})
    assert isinstance(found, Upstream), found
    return found


def test_of_several_ports_the_named_one_of_tcp_is_opened() -> None:
    ports = [
        {"port": 8000, "targetPort": 1},
        {"port": 80, "targetPort": 2, "protocol": "UDP"},
        {"port": 80, "targetPort": 3, "protocol": "TCP"},
    ]
    assert led_to({**PODS, "ports": ports}).port == 3


def test_calls_to_a_headless_service_arrive_at_its_own_port() -> None:
    for target in (80, "api"):
        assert led_to({**HEADLESS, "ports": [{"port": 80, "targetPort": target}]}).port == 80


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"ports": [{"port": 80}]}, "has no selector"),
        ({"selector": {}, "ports": [{"port": 80}]}, "has no selector"),
        ({**PODS, "ports": [{"port": 81}, {"port": 80, "protocol": "UDP"}]}, "TCP 81, UDP 80"),
        (PODS, "has no TCP port 80, but none"),
        ({"type": "ExternalName", "externalName": "api.example.com"}, "stands for api.example.com"),
        (
            {"type": "ExternalName", "externalName": "a", **PODS, "ports": [{"port": 80}]},
            "type ExternalName",
        ),
        ({**HEADLESS, "ports": [{"port": 80, "targetPort": 9000}]}, "which listen on 9000"),
        (
            {"selector": {f"l{n}": "v" * 63 for n in range(30)}, "ports": [{"port": 80}]},
            "1500 are supported",
        ),
    ],
)
def test_a_service_that_no_policy_can_open_says_why(spec: dict[str, Any], why: str) -> None:
    found = upstreams.of_service(REF, "p", {"spec": spec})
    assert isinstance(found, Unusable)
    assert found.reason is Reason.SERVICE_UNUSABLE
    assert found.message.startswith("Service providers/llm ")
    assert why in found.message


def test_a_service_that_is_missing_is_told_so() -> None:
    found = upstreams.of_service(REF, "p", None)
    assert isinstance(found, Unusable)
    assert found.reason is Reason.SERVICE_NOT_FOUND
    assert found.message.startswith("there is no Service providers/llm; create it")


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


def test_the_admin_port_is_open_to_the_operators_and_prometheus_pods_alone() -> None:
    def admitted(case: str) -> list[dict[str, Any]]:
        [to_admin] = [
            rule for rule in POLICIES[case]["spec"]["ingress"] if rule["ports"][0]["port"] == 8081
        ]
        assert to_admin["ports"] == [{"protocol": "TCP", "port": 8081}]
        peers: list[dict[str, Any]] = to_admin["from"]
        return peers

    def peer(namespace: str, **labels: str) -> dict[str, Any]:
        by_name = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        pods = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": labels["name"]}}}
        return {"namespaceSelector": by_name} | pods

    operator, scraper = (
        peer("relay-system", name="relay-operator"),
        peer("monitoring", name="prometheus"),
    )
    for case in POLICIES.keys() - {"default deny", "a Prometheus of any pod"}:
        assert admitted(case) == [operator, scraper]
    del scraper["podSelector"]
    assert admitted("a Prometheus of any pod") == [operator, scraper]
