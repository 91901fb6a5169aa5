"""The most specific route takes a call, and calls reach a provider in the form the document asks for."""

import hashlib
import urllib.parse

import pytest
from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.tenant import KEY, MODEL, MODELS, Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

from relay_contract.document import (
    Capabilities,
    Limits,
    Match,
    ModelLimit,
    ProviderAuth,
    ProviderModel,
)

OTHER_MODEL = MODELS[1]


@pytest.fixture
def layered(relay: Relay, platform: Platform) -> Relay:
    """Routes everything to stable, one model to canary, one task to backup, and that model with that task elsewhere."""
    relay.push(
        platform.document(
            routes=[
                route("stable"),
                route("canary", match=Match(models=(OTHER_MODEL,))),
                route("backup", match=Match(tasks=("reasoning",))),
                route(
                    side("canary", "text-embedding-3-small"),
                    match=Match(models=(OTHER_MODEL,), tasks=("reasoning",)),
                ),
            ]
        )
    )
    return relay


@pytest.mark.parametrize(
    ("model", "task", "served_by", "as_model"),
    [
        (MODEL, None, "stable", MODEL),
        (MODEL, "unheard-of", "stable", MODEL),
        (OTHER_MODEL, None, "canary", OTHER_MODEL),
        (OTHER_MODEL, "unheard-of", "canary", OTHER_MODEL),
        (MODEL, "reasoning", "backup", MODEL),
        (OTHER_MODEL, "reasoning", "canary", "text-embedding-3-small"),
    ],
)
def test_the_most_specific_route_takes_the_call(
    layered: Relay,
    upstreams: dict[str, Upstream],
    model: str,
    task: str | None,
    served_by: str,
    as_model: str,
) -> None:
    headers = {} if task is None else {"x-task-type": task}
    assert layered.chat(model=model, headers=headers).status == 200
    assert {name for name, upstream in upstreams.items() if upstream.calls()} == {served_by}
    assert upstreams[served_by].only_request().model == as_model


def test_every_endpoint_is_routed_in_the_same_way(layered: Relay, canary: Upstream) -> None:
    for path, payload in (
        ("/v1/completions", b'"prompt":"x"'),
        ("/v1/embeddings", b'"input":"x"'),
        ("/v1/responses", b'"input":"x"'),
    ):
        body = b'{"model":"%b",%b}' % (OTHER_MODEL.encode(), payload)
        assert layered.ask("POST", path, body=body).status == 200
    assert [received.target for received in canary.received()] == [
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
    ]


def test_a_removed_route_takes_its_models_with_it(relay: Relay, platform: Platform) -> None:
    one = route(match=Match(models=(MODEL,)))
    two = route(match=Match(models=(OTHER_MODEL,)))
    relay.push(platform.document(routes=[one, two]))
    assert relay.chat(model=OTHER_MODEL).status == 200
    relay.push(platform.document(routes=[one]))
    assert relay.chat(model=OTHER_MODEL).error()["code"] == "model_not_found"


def test_a_model_outside_the_providers_catalogue_does_not_exist(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    catalogue = (ProviderModel(name=MODEL, upstream_name=MODEL),)
    relay.push(platform.document(providers=[provider("stable", stable.url, models=catalogue)]))
    assert relay.chat().status == 200
    assert relay.chat(model=OTHER_MODEL).status == 404


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (ProviderAuth(header="api-key", scheme="", key_file="stable"), "api-key", ""),
        (ProviderAuth(scheme="Token", key_file="stable"), "authorization", "Token "),
        (ProviderAuth(header="X-Api-Key", scheme="", key_file="stable"), "x-api-key", ""),
    ],
    ids=["azure", "scheme", "anthropic"],
)
def test_a_providers_key_is_sent_in_the_header_the_provider_asks_for(
    relay: Relay,
    platform: Platform,
    stable: Upstream,
    auth: ProviderAuth,
    header: str,
    value: str,
) -> None:
    relay.push(platform.document(providers=[provider("stable", stable.url, auth=auth)]))
    relay.chat(headers={"api-key": KEY, "x-api-key": KEY})
    expected = hashlib.sha256(f"{value}sk-upstream-stable-secret".encode()).hexdigest()
    request = stable.only_request()
    credentials = ("authorization", "api-key", "x-api-key")
    sent = {name: request.all_of(name) for name in credentials if request.all_of(name)}
    assert sent == {header: [f"sha256:{expected}"]}


def test_a_provider_without_a_key_gets_no_credential(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    keyless = provider("stable", stable.url, auth=ProviderAuth(key_file=None))
    relay.push(platform.document(providers=[keyless]))
    assert relay.chat().status == 200
    assert stable.only_request().header("authorization") is None


def test_a_call_whose_provider_key_is_not_mounted_is_refused_with_503(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    unmounted = provider("stable", stable.url, auth=ProviderAuth(key_file="absent"))
    relay.push(platform.document(providers=[unmounted]))
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (503, "upstream_key_missing")
    assert stable.calls() == 0


def test_a_key_file_with_a_line_end_is_read_without_it(relay: Relay, stable: Upstream) -> None:
    relay.give_key("stable", "sk-with-line-end\n")
    stable.behave(api_key="sk-with-line-end")
    eventually(lambda: relay.chat().status, lambda status: status == 200, what="the new key's use")


def test_v1_me_returns_the_limits_their_scope_and_the_remainder(
    relay: Relay, platform: Platform
) -> None:
    limits = Limits(
        requests_per_minute=600, models=(ModelLimit(name=MODEL, requests_per_minute=60),)
    )
    relay.push(platform.document(limits=limits, replicas=2))
    told = relay.ask("GET", "/v1/me").json()
    assert told["tenant"] == "finance"
    assert told["limits"]["scope"] == "PerReplicaShare"
    assert told["limits"]["configured"]["requests_per_minute"] == 600
    assert told["limits"]["remaining_here"]["requests"] <= 600
    assert told["api_key"]["name"] == "production"
    assert KEY not in str(told)


def test_the_path_of_the_providers_url_is_kept(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    # the simulator serves /v1 only, so another base path shows in the message of its 404
    elsewhere = provider("stable", stable.url.replace("/v1", "/openai/deployments/x"))
    relay.push(platform.document(providers=[elsewhere]))
    answer = relay.chat()
    assert answer.status == 404
    assert "/openai/deployments/x/chat/completions" in answer.error()["message"]


def test_the_callers_query_is_passed_on_but_never_replaces_the_providers(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    body = b'{"model":"gpt-4.1","messages":[]}'
    assert relay.ask("POST", f"{CHAT}?trace=1", body=body).status == 200
    assert stable.only_request().target == f"{CHAT}?trace=1"
    stable.reset()
    fixed = provider("stable", stable.url, query={"api-version": "2025"})
    relay.push(platform.document(providers=[fixed]))
    for given in ("api-version=9", "api%2Dversion=9", "x=1&api-version=9", "API-Version=9"):
        relay.ask("POST", f"{CHAT}?{given}", body=body)
    for received in stable.received():
        query = urllib.parse.parse_qs(received.target.partition("?")[2])
        versions = [query[name] for name in query if name.lower() == "api-version"]
        assert versions == [["2025"]]


def test_a_provider_that_is_closed_to_the_tenant_gets_no_call_and_says_so(
    relay: Relay, platform: Platform, upstreams: dict[str, Upstream]
) -> None:
    closed = provider("stable", upstreams["stable"].url, auth=ProviderAuth(), closed=True)
    others = [one for one in platform.providers() if one.name != "stable"]
    alone = route("stable", match=Match(models=(MODEL,)))
    with_fallback = route("stable", match=Match(models=(OTHER_MODEL,)), fallback=(side("backup"),))
    relay.push(platform.document(providers=[closed, *others], routes=[alone, with_fallback]))
    answer = relay.chat()
    assert (answer.status, answer.json()["error"]["code"]) == (403, "provider_not_allowed")
    assert relay.chat(model=OTHER_MODEL).status == 200
    assert (upstreams["stable"].calls(), upstreams["backup"].calls()) == (0, 1)
    listed = relay.ask("GET", "/v1/models").json()["data"]
    assert [one["id"] for one in listed] == [OTHER_MODEL]


def test_models_are_listed_with_what_they_can_do(relay: Relay, platform: Platform) -> None:
    can = Capabilities(context_window=128_000, tools=True, vision=False)
    models = (
        ProviderModel(name=MODEL, upstream_name=MODEL, capabilities=can),
        ProviderModel(name=OTHER_MODEL, upstream_name=OTHER_MODEL),
    )
    relay.push(platform.document(providers=platform.providers(models=models)))
    usual = {"object": "model", "created": 0, "owned_by": "relay"}
    able = {"id": MODEL, **usual, "context_window": 128_000, "tools": True, "vision": False}
    listed = relay.ask("GET", "/v1/models").json()["data"]
    assert listed == [able, {"id": OTHER_MODEL, **usual}]
    assert relay.ask("GET", f"/v1/models/{MODEL}").json() == able
