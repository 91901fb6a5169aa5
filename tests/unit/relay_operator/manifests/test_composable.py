"""What a document would refuse is refused of the object that says it."""

from collections.abc import Callable
from typing import Any

import pytest

from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable

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


def test_a_refusal_never_holds_the_value_that_was_refused() -> None:
    with pytest.raises(InvalidSpec) as refused:
        composable.provider(provider(endpoint={"url": "HTTPS://planted-secret.example.com"}))
    assert "planted-secret" not in str(refused.value)


def test_what_can_be_used_is_parsed() -> None:
    assert composable.provider(provider()).url == URL
    assert composable.tenant({"metadata": METADATA, "spec": {}}).spec.suspend is False
    spec = {"stable": {"provider": "p"}, "canary": {"provider": "q", "percent": 7}}
    assert composable.route({"metadata": METADATA, "spec": spec}).spec.stable.provider == "p"
