"""The admin port asks a provider for its list of models, with the key and on the way of calls."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.blackbox.process import free_ports
from tests.blackbox.relays import Relay
from tests.blackbox.scripted import Script, ScriptedProvider, scripted, unary
from tests.blackbox.tenant import MODELS, Platform, provider, route, side
from tests.blackbox.upstream import Upstream

from relay_contract.document import ProviderAuth
from relay_contract.endpoints import PROVIDER_PROBE_PATH
from relay_contract.provider_probe import ProviderProbe

SECRET = "sk-upstream-canary-secret"


def probed(relay: Relay, name: str = "canary") -> ProviderProbe:
    answer = relay.admin("GET", f"{PROVIDER_PROBE_PATH}?provider={name}")
    assert answer.status == 200, answer
    assert SECRET not in answer.body.decode()
    return ProviderProbe.model_validate_json(answer.body)


def push(relay: Relay, platform: Platform, url: str, **fields: Any) -> None:
    others = [one for one in platform.providers() if one.name != "canary"]
    relay.push(platform.document(providers=[provider("canary", url, **fields), *others]))


def listing(*models: str) -> bytes:
    return unary(json.dumps({"object": "list", "data": [{"id": one} for one in models]}).encode())


CASES: dict[str, tuple[Sequence[Script], str, tuple[str, ...]]] = {
    "all listed": ([listing(*MODELS)], "Answered", ()),
    "listed with a maker": ([listing(*(f"models/{one}" for one in MODELS))], "Answered", ()),
    "one is not listed": ([listing(*MODELS[1:])], "Answered", MODELS[:1]),
    "long, and one is not listed": (
        [listing(*MODELS[1:], *(f"m{n}" for n in range(30_000)))],
        "Answered",
        MODELS[:1],
    ),
    "too long to be read": (
        [listing(*MODELS[1:], *(f"m{n}" for n in range(40_001)))],
        "Unlisted",
        (),
    ),
    "no list": ([unary(b"{}")], "Unlisted", ()),
    "no JSON": ([unary(b"<html>")], "Unlisted", ()),
    "no such path": ([unary(b"{}", status=b"404 Not Found")], "Unlisted", ()),
    "not allowed to see it": ([unary(b"{}", status=b"403 Forbidden")], "Unlisted", ()),
    "throttled": ([unary(b"{}", status=b"429 Too Many Requests")], "Throttled", ()),
    "broken": ([unary(b"{}", status=b"500 Internal Server Error")], "ServerError", ()),
    "a key that is refused": (
        [unary(SECRET.encode(), status=b"401 Unauthorized")],
        "Unauthorized",
        (),
    ),
    "no HTTP": ([b"SSH-2.0-OpenSSH"], "Unreachable", ()),
}


@pytest.mark.parametrize(("answers", "outcome", "not_listed"), CASES.values(), ids=CASES)
def test_a_probe_tells_what_came_of_it(
    relay: Relay,
    platform: Platform,
    answers: Sequence[Script],
    outcome: str,
    not_listed: tuple[str, ...],
) -> None:
    with scripted(ScriptedProvider(answers, closes=True, reads_body=False)) as upstream:
        relay.give_key("canary", SECRET)
        push(relay, platform, upstream.url, headers={"x-team": "a"})
        found = probed(relay)
        assert (found.outcome, found.not_listed) == (outcome, not_listed)
        head = upstream.heads[0].decode().lower()
        assert head.startswith("get /v1/models http/1.1")
        assert f"authorization: bearer {SECRET}" in head
        assert "x-team: a" in head
        assert "content-length" not in head


def test_who_asks_again_soon_hears_what_was_found(relay: Relay, platform: Platform) -> None:
    with scripted(ScriptedProvider([listing(*MODELS)], reads_body=False)) as upstream:
        push(relay, platform, upstream.url, auth=ProviderAuth())
        assert [probed(relay).outcome for _ in range(5)] == ["Answered"] * 5
        assert len(upstream.heads) == 1


def test_another_key_is_tried_although_the_document_is_the_same(
    relay: Relay, platform: Platform
) -> None:
    refused = unary(b"{}", status=b"401 Unauthorized")
    answers = [refused, listing(*MODELS)]
    with scripted(ScriptedProvider(answers, closes=True, reads_body=False)) as upstream:
        relay.give_key("canary", SECRET)
        push(relay, platform, upstream.url)
        assert probed(relay).outcome == "Unauthorized"
        assert probed(relay).outcome == "Unauthorized"
        relay.give_key("canary", f"{SECRET}-2")
        assert probed(relay).outcome == "Answered"
        assert len(upstream.heads) == 2


def test_only_providers_of_the_document_that_are_open_are_asked(
    relay: Relay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([listing(*MODELS)], reads_body=False)) as upstream:
        push(relay, platform, upstream.url, auth=ProviderAuth(), closed=True)
        assert probed(relay).outcome == "NotInUse"
        assert probed(relay, "nobody").outcome == "NotInUse"
        assert upstream.heads == []
    assert relay.admin("GET", PROVIDER_PROBE_PATH).status == 400


def test_a_provider_out_of_reach_and_a_missing_key_are_told(
    relay: Relay, platform: Platform
) -> None:
    [port] = free_ports(1)
    push(relay, platform, f"http://127.0.0.1:{port}/v1", auth=ProviderAuth())
    assert probed(relay).outcome == "Unreachable"
    push(relay, platform, f"http://127.0.0.1:{port}/v1", auth=ProviderAuth(key_file="none"))
    relay.push(
        platform.document(
            providers=[
                provider(
                    "stable", f"http://127.0.0.1:{port}/v1", auth=ProviderAuth(key_file="none")
                )
            ]
        )
    )
    assert probed(relay, "stable").outcome == "KeyMissing"
    # calls are served as before
    assert relay.chat().status == 503


def streamed(relay: Relay, name: str = "canary", model: str = MODELS[0]) -> ProviderProbe:
    answer = relay.admin("GET", f"{PROVIDER_PROBE_PATH}?provider={name}&stream={model}")
    assert answer.status == 200, answer
    assert SECRET not in answer.body.decode()
    return ProviderProbe.model_validate_json(answer.body)


def test_a_probe_with_a_stream_makes_two_small_calls_and_tells_that_it_streams(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    relay.push(platform.document(routes=[route(fallback=(side("canary"),))]))
    found = streamed(relay)
    assert (found.outcome, found.streamed) == ("Answered", True)
    assert canary.calls() == 2
    # who asks again soon hears what was found
    assert streamed(relay) == found
    assert canary.calls() == 2
    assert streamed(relay, "nobody").outcome == "NotInUse"


def test_a_provider_that_answers_a_stream_with_a_document_does_not_stream(
    relay: Relay, platform: Platform
) -> None:
    body = {"object": "chat.completion", "choices": [{"message": {"content": "OK"}}]}
    answers = [unary(json.dumps(body).encode())] * 2
    with scripted(ScriptedProvider(answers)) as upstream:
        others = [one for one in platform.providers() if one.name != "canary"]
        providers = [provider("canary", upstream.url, auth=ProviderAuth()), *others]
        relay.push(platform.document(providers=providers, routes=[route("canary")]))
        found = streamed(relay)
    assert (found.outcome, found.streamed) == ("NoStream", True)
    assert "not with a stream of events" in found.message


def test_a_provider_that_knows_no_such_model_refuses(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(routes=[route("canary")]))
    assert streamed(relay, model="none-of-ours").outcome == "Refused"
