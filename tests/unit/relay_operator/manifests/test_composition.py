"""Composing the relay document: complete, minimal, without secrets, and never from a bad route."""

from typing import Any

import pytest

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.manifests import composition


def a_provider(name: str, *models: str, uid: str = "p-uid") -> Provider:
    spec = {
        "endpoint": {"url": f"https://{name}.example.com/v1/"},
        "models": [{"name": model} for model in models],
    }
    return Provider.parse({"metadata": {"name": name, "uid": uid}, "spec": spec})


def a_route(**spec: Any) -> RelayRoute:
    body = {"stable": {"provider": "legacy"}} | spec
    metadata = {"name": "chat", "namespace": "relay-finance", "uid": "uid-chat"}
    return RelayRoute.parse({"metadata": metadata, "spec": body})


PROVIDERS = {
    "legacy": a_provider("legacy", "gpt-4.1"),
    "new": a_provider("new", "gpt-4.1", "gpt-5"),
}


def the_fragment(route: RelayRoute, *, percent: int = 0) -> document.Route:
    return composition.route_part(route, PROVIDERS, canary_percent=percent)


def test_the_whole_document_survives_its_seal() -> None:
    tenant = Tenant.parse(
        {"metadata": {"name": "finance", "uid": "t"}, "spec": {"queue": {"maxWait": "1m30s"}}}
    )
    key = document.ApiKey(
        name="default",
        sha256=digest_of("sk-1"),
        previous_sha256=digest_of("sk-0"),
        next_sha256=digest_of("sk-2"),
    )
    base = composition.tenant_part(tenant, {"default": key}, replicas=3)
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
    keys = {
        name: document.ApiKey(name=name, sha256=letter * 64)
        for name, letter in (("batch", "a"), ("web", "b"))
    }
    batch, web = composition.tenant_part(tenant, keys, replicas=1).keys
    assert "previousSha256" not in document.canonical_text(batch.model_dump(by_alias=True))
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
    assert renewed.stable.fingerprint != old


@pytest.mark.parametrize(("share", "slice_"), [(1.0, 100), (0.25, 25), (1 / 3, 33), (0.001, 1)])
def test_a_tenant_gets_its_share_of_a_providers_quota(share: float, slice_: int) -> None:
    spec = {"endpoint": {"url": "https://a.example.com"}, "limits": {"requestsPerMinute": 100}}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    limits = composition.provider_part(provider, share=share).limits
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (slice_, None)


@pytest.mark.parametrize(("fields", "weight"), [({}, 1.0), ({"cachedTokenWeight": 0.1}, 0.1)])
def test_the_weight_of_cached_tokens_reaches_the_relay(
    fields: dict[str, Any], weight: float
) -> None:
    spec = {"endpoint": {"url": "https://a.example.com"}, **fields}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    assert composition.provider_part(provider, share=1.0).cached_token_weight == weight


NEW_FIELDS = {"streamUsage", "retryOn", "coolDownSeconds", "dropParameters"}


def the_text_of(**fields: Any) -> dict[str, Any]:
    """The provider as it stands in a document's text."""
    spec = {"endpoint": {"url": "https://a.example.com"}, "models": [{"name": "m"}], **fields}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    part = composition.provider_part(provider, share=1.0)
    text = part.model_dump(mode="json", by_alias=True)
    assert document.Provider.model_validate(text) == part
    return text


@pytest.mark.parametrize(
    "fields", [{}, {"streamUsage": True}, {"models": [{"name": "m", "dropParameters": []}]}]
)
def test_what_a_provider_does_not_say_stays_out_of_the_document(fields: dict[str, Any]) -> None:
    # relays of an older version refuse fields that they do not know
    text = the_text_of(**fields)
    assert not NEW_FIELDS & (set(text) | set(text["models"][0]))


def test_how_a_provider_is_reaches_the_relay() -> None:
    text = the_text_of(
        streamUsage=False,
        retryOn={"statuses": [500, 504], "failures": ["Timeout"]},
        coolDown="1m30s",
        models=[{"name": "m", "dropParameters": ["temperature", "tools.function.strict"]}],
    )
    assert text["streamUsage"] is False
    assert text["retryOn"] == {"statuses": [500, 504], "failures": ["Timeout"]}
    assert text["coolDownSeconds"] == 90
    assert text["models"][0]["dropParameters"] == ["temperature", "tools.function.strict"]


def test_a_cool_down_of_nothing_is_said() -> None:
    assert the_text_of(coolDown="0s")["coolDownSeconds"] == 0


def test_a_providers_way_out_names_the_files_of_its_secrets_and_holds_none() -> None:
    spec = {
        "endpoint": {"url": "https://api.example.com/v1"},
        "proxy": {"url": "http://10.1.2.3:3128", "auth": {"secretName": "proxy-user"}},
        "clientCertificate": {"secretName": "our-certificate"},
        "firstByteTimeout": "10m",
        "idleTimeout": "30s",
        "keepAlive": "4s",
    }
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    part = composition.provider_part(provider, share=1)
    assert part.proxy == document.Proxy(host="10.1.2.3", port=3128, credentials_file="p_proxy")
    assert part.client_certificate == document.ClientCertificate(
        certificate_file="p_tls.crt", key_file="p_tls.key"
    )
    assert (part.first_byte_timeout_seconds, part.idle_timeout_seconds) == (600, 30)
    assert part.keep_alive_seconds == 4
    open_proxy = provider.spec.model_copy(
        update={"proxy": provider.spec.proxy.model_copy(update={"auth": None})}
        if provider.spec.proxy
        else {}
    )
    part = composition.provider_part(provider.model_copy(update={"spec": open_proxy}), share=1)
    assert part.proxy == document.Proxy(host="10.1.2.3", port=3128)


@pytest.mark.parametrize(
    ("said", "composed"),
    [
        ({}, None),
        ({"afterDisconnect": {"policy": "Cancel"}}, None),
        (
            {"afterDisconnect": {"policy": "Drain"}},
            document.Drain(max_seconds=30, max_tokens=16_384),
        ),
        (
            {"afterDisconnect": {"policy": "Drain", "maxSeconds": 600, "maxTokens": 1}},
            document.Drain(max_seconds=600, max_tokens=1),
        ),
    ],
)
def test_a_provider_is_drained_where_it_says_so_within_its_bounds(
    said: dict[str, Any], composed: document.Drain | None
) -> None:
    spec = {"endpoint": {"url": "https://api.example.com/v1"}, **said}
    provider = Provider.parse({"metadata": {"name": "p", "uid": "u"}, "spec": spec})
    assert composition.provider_part(provider, share=1).drain == composed


def test_a_preflight_is_asked_for_while_there_is_a_canary_and_leaves_no_trace_otherwise() -> None:
    route = a_route(canary={"provider": "new", "percent": 10})
    asked = composition.route_part(route, PROVIDERS, canary_percent=0, preflight="0123456789ab/1")
    assert asked.preflight == "0123456789ab/1"
    without = composition.route_part(
        a_route(), PROVIDERS, canary_percent=0, preflight="0123456789ab/1"
    )
    assert without.preflight is None
    # a relay of the time before preflights refuses what it does not know
    assert "preflight" not in the_fragment(route).model_dump_json()
