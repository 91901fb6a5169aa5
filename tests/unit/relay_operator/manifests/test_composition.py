"""Composing the relay document: complete, minimal, without secrets, and never from a bad route."""

from typing import Any

import pytest

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.manifests import composition
from relay_operator.manifests.composition import RouteNotAccepted
from relay_operator.names import Reason


def a_provider(name: str, *models: str, uid: str = "p-uid") -> Provider:
    spec = {
        "endpoint": {"url": f"https://{name}.example.com/v1/"},
        "models": [{"name": model} for model in models],
    }
    return Provider.parse({"metadata": {"name": name, "uid": uid}, "spec": spec})


def a_route(
    name: str = "chat", *, created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> RelayRoute:
    body = {"stable": {"provider": "legacy"}} | spec
    metadata = {
        "name": name,
        "namespace": "relay-finance",
        "uid": f"uid-{name}",
        "creationTimestamp": created,
    }
    return RelayRoute.parse({"metadata": metadata, "spec": body})


PROVIDERS = {
    "legacy": a_provider("legacy", "gpt-4.1"),
    "new": a_provider("new", "gpt-4.1", "gpt-5"),
}


def the_fragment(route: RelayRoute, *, percent: int = 0) -> document.Route:
    fragment = composition.route_part(route, PROVIDERS, canary_percent=percent)
    assert isinstance(fragment, document.Route)
    return fragment


def the_refusal(route: RelayRoute) -> RouteNotAccepted:
    refusal = composition.route_part(route, PROVIDERS, canary_percent=0)
    assert isinstance(refusal, RouteNotAccepted)
    return refusal


def test_the_whole_document_survives_its_seal() -> None:
    tenant = Tenant.parse(
        {"metadata": {"name": "finance", "uid": "t"}, "spec": {"queue": {"maxWait": "1m30s"}}}
    )
    base = composition.tenant_part(tenant, {"default": composition.key_digest("sk-1")}, replicas=3)
    parts = {
        name: composition.provider_part(provider, share=1.0) for name, provider in PROVIDERS.items()
    }
    whole = composition.whole_document(base, [the_fragment(a_route())], parts, generation=1)
    assert document.Document.model_validate_json(document.canonical_payload(whole)) == whole
    assert whole.tenant.queue.max_wait_seconds == 90
    assert [provider.name for provider in whole.catalogue.providers] == ["legacy"]
    assert "sk-1" not in document.canonical_payload(whole)


def test_the_limits_of_a_key_reach_the_document() -> None:
    key = {"name": "batch", "requestsPerMinute": 60, "tokensPerMinute": 9000, "weight": 2}
    spec = {"apiKeys": [key, {"name": "web"}]}
    tenant = Tenant.parse({"metadata": {"name": "finance", "uid": "t"}, "spec": spec})
    digests = {"batch": "a" * 64, "web": "b" * 64}
    batch, web = composition.tenant_part(tenant, key_digests=digests, replicas=1).keys
    assert (batch.requests_per_minute, batch.tokens_per_minute, batch.weight) == (60, 9000, 2)
    assert (web.requests_per_minute, web.tokens_per_minute, web.weight) == (None, None, 1)


def test_a_canarys_weight_and_fingerprints_reach_the_fragment() -> None:
    route = a_route(canary={"provider": "new", "model": "gpt-5", "percent": 30})
    fragment = the_fragment(route, percent=10)
    assert fragment.canary is not None
    assert fragment.canary_percent == 10
    assert fragment.canary.fingerprint != fragment.stable.fingerprint


def test_a_provider_made_anew_is_another_upstream() -> None:
    old = the_fragment(a_route()).stable.fingerprint
    renewed = composition.route_part(
        a_route(), {"legacy": a_provider("legacy", uid="other")}, canary_percent=0
    )
    assert isinstance(renewed, document.Route)
    assert renewed.stable.fingerprint != old


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    refusal = the_refusal(a_route(stable={"provider": "nobody"}))
    assert refusal.reason is Reason.PROVIDER_NOT_FOUND
    assert refusal.message == "there is no Provider nobody; known: legacy, new"


@pytest.mark.parametrize(
    "spec",
    [{"stable": {"provider": "legacy", "model": "gpt-5"}}, {"match": {"models": ["gpt-5"]}}],
    ids=["named by the side", "kept from the call"],
)
def test_a_model_the_provider_lacks_is_refused_with_those_it_has(spec: dict[str, Any]) -> None:
    refusal = the_refusal(a_route(**spec))
    assert refusal.reason is Reason.MODEL_NOT_FOUND
    assert "it has gpt-4.1" in refusal.message


@pytest.mark.parametrize(("share", "slice_"), [(1.0, 100), (0.25, 25), (1 / 3, 33), (0.001, 1)])
def test_a_tenant_gets_its_share_of_a_providers_quota(share: float, slice_: int) -> None:
    spec = {"endpoint": {"url": "https://a.example.com"}, "limits": {"requestsPerMinute": 100}}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    limits = composition.provider_part(provider, share=share).limits
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (slice_, None)


def test_of_two_routes_that_claim_the_same_calls_the_older_keeps_them() -> None:
    older = a_route("older", match={"models": ["a", "b"]})
    younger = a_route("younger", created="2026-01-02T00:00:00Z", match={"models": ["b"]})
    apart = a_route(
        "apart", created="2026-01-03T00:00:00Z", match={"models": ["b"], "tasks": ["x"]}
    )
    assert composition.conflicts([younger, apart, older]) == {"younger": "older"}


def test_two_routes_for_everything_are_one_claim() -> None:
    assert composition.conflicts([a_route("a"), a_route("b")]) == {"b": "a"}
