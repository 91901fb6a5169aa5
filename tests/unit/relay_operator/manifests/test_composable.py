"""What a document would refuse is refused of the object that says it."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay_operator.manifests.policy_cases import PLATFORM

from relay.routing.snapshot import compile_snapshot
from relay_contract import document
from relay_operator.api.tenant import Tenant
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable, composition, policies, upstreams

METADATA = {"name": "x", "namespace": "relay-finance", "uid": "u"}
URL = "https://api.example.com/v1"


def provider(**spec: Any) -> dict[str, Any]:
    return {"metadata": METADATA, "spec": {"endpoint": {"url": URL}} | spec}


@pytest.mark.parametrize(
    ("parse", "spec", "field"),
    [
        (composable.provider, {"endpoint": {"url": "HTTPS://api.example.com/v1"}}, "url"),
        (composable.provider, {"endpoint": {"url": "http:///v1"}}, "url"),
        (composable.provider, {"endpoint": {"url": "http://example.com:99999/v1"}}, "url"),
        (composable.provider, {"endpoint": {}}, "url"),
        (composable.provider, {"endpoint": {"url": URL}, "models": [{"name": "a b"}]}, "name"),
        *(
            (composable.provider, {"endpoint": {"url": URL}} | wrong, field)
            for wrong, field in (
                ({"coolDown": "2h"}, "cool_down_seconds"),
                ({"retryOn": {"statuses": [200]}}, "statuses"),
                ({"retryOn": {"failures": ["Sadness"]}}, "failures"),
                ({"models": [{"name": "m", "dropParameters": ["a b"]}]}, "drop_parameters"),
                ({"models": [{"name": "m", "dropParameters": ["model"]}]}, "dropParameters"),
            )
        ),
        (composable.provider, {"endpoint": {"url": URL}, "keepAlive": "11m"}, "keep_alive_seconds"),
        (composable.provider, {"endpoint": {"url": URL}, "idleTimeout": "0s"}, "idle_timeout"),
        (composable.provider, {"endpoint": {"url": URL}, "firstByteTimeout": "soon"}, "firstByte"),
        (composable.provider, {"endpoint": {"url": URL}, "caBundle": "BEGIN"}, "caBundle"),
        (composable.provider, {"endpoint": {"url": URL}, "caBundle": "b\u00e9gin"}, "caBundle"),
        (composable.provider, {"endpoint": {"url": URL}, "proxy": {"url": "http://p"}}, "proxy"),
        (composable.provider, {"endpoint": {"url": URL}, "proxy": {"url": "http://p:1"}}, "CIDRs"),
        (
            composable.provider,
            {"endpoint": {"url": "http://a.example.com"}, "proxy": {"url": "http://10.0.0.1:1"}},
            "proxy",
        ),
        (
            composable.provider,
            {"endpoint": {"url": "http://a"}, "clientCertificate": {"secretName": "c"}},
            "clientCertificate",
        ),
        (composable.tenant, {"queue": {"concurrency": 0}}, "concurrency"),
        (composable.tenant, {"limits": {"burstSeconds": -1}}, "burst_seconds"),
        (composable.tenant, {"apiKeys": [{"name": "web", "weight": 0}]}, "weight"),
        (composable.route, {"stable": {"provider": "p", "model": "a b"}}, "model"),
        (
            composable.route,
            {
                "stable": {"provider": "p"},
                "canary": {"provider": "q", "percent": 1, "shadow": {"percent": 101}},
            },
            "shadow",
        ),
    ],
)
def test_what_a_document_refuses_names_the_field(
    parse: Callable[[Any], Any], spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse({"metadata": METADATA, "spec": spec})
    assert field in str(refused.value)


ODD_PROVIDERS: list[dict[str, Any]] = [
    *(
        {"endpoint": {"url": url}}
        for url in (
            "https://",
            "https://[::1",
            "https://a b",
            "ftp://x",
            "https://x:0",
            "https://user:password@x/v1",
            "https://user@x/v1",
            "https://x/v1?k=1",
            "https://x/#f",
            "https://" + "a" * 3000,
            "https://ex\u00e4mple.com",
            "https://10.0.0.5/v1",
            "https://[2001:db8::1]:8443/v1",
            "https://.",
            "https://a..b",
            "https://" + "a" * 64 + ".com",
            "https://%20/v1",
            "https://x/\x7f",
            "https://x/\r\nhost: y",
        )
    ),
    *(
        {"headers": headers}
        for headers in ({"a b": "c"}, {"a": "b\r\nx: y"}, {"": "x"}, {"a": "\u00e9"}, {"a:": "b"}, {"a": "b\n"})
    ),
    *({"auth": {"secretName": "s", **auth}} for auth in ({"header": "X\r\nY"}, {"header": ""}, {"scheme": "a\nb"}, {"header": "a b"})),
    *({"egressCIDRs": [block]} for block in ("x", "10.0.0.0/33", "::ffff:0:0/96", "010.0.0.0/8", "10.1.2.3/24", "", "fe80::1%eth0/64")),
    *({"proxy": {"url": url}} for url in ("http://10.0.0.1:99999", "http://[fe80::1%25eth0]:3128", "http://10.0.0.1:3128", "http://u:p@10.0.0.1:3128")),
    {"proxy": {"url": "http://10.0.0.1:3128", "egressCIDRs": ["bad"]}},
    {"caBundle": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"},
    {"caBundle": ""},
    {"models": [{"name": "a"}, {"name": "a"}]},
]  # fmt: skip


@pytest.mark.parametrize("spec", ODD_PROVIDERS, ids=str)
def test_what_is_accepted_of_a_provider_stops_no_document_and_no_policy(
    spec: dict[str, Any],
) -> None:
    try:
        parsed = composable.provider(provider(**spec))
    except InvalidSpec:
        return
    side = document.Side(provider="x", fingerprint="0" * 12)
    base = document.TenantDocument(name="a", uid="u", namespace="relay-a")
    whole = composition.whole_document(
        base,
        [document.Route(name="chat", stable=side)],
        {"x": composition.provider_part(parsed, share=1)},
        generation=1,
    )
    compile_snapshot(whole, "digest")
    tenant = Tenant.parse({"metadata": {"name": "a", "uid": "u"}, "spec": {}})
    policies.relay_traffic(tenant, PLATFORM, [upstreams.of_url(parsed)])


@pytest.mark.parametrize("block", ["10.0.0.0/33", "010.0.0.0/8", "", "fe80::1%eth0/64"])
def test_a_block_that_is_none_is_refused_of_the_tenant(block: str) -> None:
    spec = {"network": {"allowFrom": [{"cidr": block}]}}
    with pytest.raises(InvalidSpec, match="cidr"):
        composable.tenant({"metadata": METADATA, "spec": spec})


def test_a_refusal_never_holds_the_value_that_was_refused() -> None:
    with pytest.raises(InvalidSpec) as refused:
        composable.provider(provider(endpoint={"url": "HTTPS://planted-secret.example.com"}))
    assert "planted-secret" not in str(refused.value)


def test_what_can_be_used_is_parsed() -> None:
    assert composable.provider(provider()).url == URL
    assert composable.tenant({"metadata": METADATA, "spec": {}}).spec.suspend is False
    spec = {"stable": {"provider": "p"}, "canary": {"provider": "q", "percent": 7}}
    assert composable.route({"metadata": METADATA, "spec": spec}).spec.stable.provider == "p"
