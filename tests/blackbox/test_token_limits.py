"""Limits of tokens hold what a call will probably use; only what is certain is refused for good."""

import base64
import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, WIDE_QUEUE, Platform
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Wire, request_bytes

from relay_contract.document import Limits, ProviderLimits, ProviderModel

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"
CALLS = 24


_serial = itertools.count(1)


def limited(relay: Relay, platform: Platform, tokens: int) -> str:
    """Limits the tenant's tokens a minute; returns a model of which the relay has learnt nothing yet."""
    model = f"new-{next(_serial)}"
    providers = platform.providers(models=(ProviderModel(name=model, upstream_name="gpt-4.1"),))
    limits = Limits(tokens_per_minute=tokens)
    relay.push(platform.document(providers=providers, limits=limits))
    return model


def ask(relay: Relay, path: str, **fields: Any) -> Answer:
    return relay.ask("POST", path, body=orjson.dumps(fields))


@contextlib.contextmanager
def at_once(relay: Relay, path: str, body: bytes) -> Iterator[list[Wire]]:
    """Sends the same call on as many connections as there are CALLS."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(relay.wire()) for _ in range(CALLS)]
        for wire in wires:
            wire.send(request_bytes("POST", path, {"authorization": f"Bearer {KEY}"}, body))
        yield wires


# --- no guess refuses for good ---


PLAIN: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    COMPLETIONS: {"prompt": "hello"},
    RESPONSES: {"input": "hello"},
    EMBEDDINGS: {"input": "hello"},
}


@pytest.mark.parametrize("path", PLAIN)
def test_a_small_limit_serves_calls_that_name_no_bound(
    relay: Relay, platform: Platform, stable: Upstream, path: str
) -> None:
    model = limited(relay, platform, 1000)
    stable.behave(prompt_tokens=5, completion_tokens=5)
    for _ in range(3):
        answer = eventually(
            lambda: ask(relay, path, model=model, **PLAIN[path]),
            lambda answer: answer.status == 200,
            within_seconds=5,
            what="a call under a limit of 1,000 tokens",
        )
        assert answer.header("x-should-retry") is None


def test_a_call_refused_by_an_estimate_is_told_when_to_come_again(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    model = limited(relay, platform, 1000)
    stable.behave(hold_after_events=0)
    with relay.wire() as wire:
        body = chat_body(model=model)
        wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, body))
        eventually(stable.calls, lambda calls: calls == 1, what="the first call's arrival")
        refused = relay.chat(model=model)
        assert refused.status == 429
        assert refused.header("x-should-retry") != "false"
        assert 1 <= int(refused.header("retry-after") or 0) <= 70
        stable.release()
        assert wire.answer().status == 200


def test_an_embedding_holds_no_output(relay: Relay, platform: Platform) -> None:
    model = limited(relay, platform, 6000)
    answer = ask(relay, EMBEDDINGS, model=model, input="hello")
    assert answer.status == 200
    assert int(answer.header("x-ratelimit-remaining-tokens") or 0) > 950


# --- attachments are no text ---

DATA = base64.b64encode(os.urandom(1_200_000)).decode()
IMAGE = "data:image/png;base64," + DATA


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


ATTACHED = {
    "an image": (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": IMAGE}})}),
    "an image of responses": (
        RESPONSES,
        {"input": user({"type": "input_image", "image_url": IMAGE})},
    ),
    "a recording": (
        CHAT,
        {"messages": user({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}})},
    ),
    "a file": (CHAT, {"messages": user({"type": "file", "file": {"file_data": IMAGE}})}),
    "a generated image that is sent back": (
        RESPONSES,
        {"input": [{"type": "image_generation_call", "id": "i", "result": DATA}, *user()]},
    ),
    "thoughts that are sent back": (
        RESPONSES,
        {"input": [{"type": "reasoning", "id": "r", "encrypted_content": DATA}, *user()]},
    ),
}


@pytest.mark.parametrize(("path", "fields"), ATTACHED.values(), ids=ATTACHED)
def test_a_large_attachment_passes_a_limit_far_below_its_bytes(
    relay: Relay, platform: Platform, stable: Upstream, path: str, fields: dict[str, Any]
) -> None:
    model = limited(relay, platform, 20_000)
    stable.behave(prompt_tokens=1108, completion_tokens=20)
    answer = ask(relay, path, model=model, **fields)
    assert answer.status == 200, answer.body
    refilling = 20_000 / 60
    left = int(relay.chat(model=model, max_tokens=1).header("x-ratelimit-remaining-tokens") or "-1")
    assert 3333 - 1128 - 100 <= left <= 3333 - 1128 + 5 * refilling


# --- a bound that a provider may not know bounds nothing ---

EVADING = {
    "two bounds": (CHAT, {"max_completion_tokens": 1, "max_tokens": 1000}),
    "two bounds the other way": (CHAT, {"max_tokens": 1, "max_completion_tokens": 1000}),
    "the bound of another endpoint": (CHAT, {"max_output_tokens": 1}),
    "a bound without end": (CHAT, {"max_completion_tokens": 1, "max_tokens": -1}),
    "a bound as text": (CHAT, {"max_completion_tokens": 1, "max_tokens": "1000"}),
    "many choices": (CHAT, {"n": 100, "max_tokens": 10}),
    "many choices, written otherwise": (CHAT, {"n": 100.0, "max_tokens": 10}),
    "many tries": (COMPLETIONS, {"best_of": 100, "max_tokens": 10}),
    "many prompts": (COMPLETIONS, {"prompt": ["hi"] * 100, "max_tokens": 10}),
    "a chat's bound of responses": (RESPONSES, {"max_tokens": 1}),
}
TWICE = {
    "a bound twice": b'"max_tokens":1000,"max_tokens":1',
    "choices twice": b'"max_tokens":10,"n":100,"n":1',
}


@pytest.mark.parametrize(("path", "fields"), EVADING.values(), ids=EVADING)
def test_a_limit_meant_for_one_call_lets_one_pass(
    relay: Relay, platform: Platform, stable: Upstream, path: str, fields: dict[str, Any]
) -> None:
    # 1,000 tokens at once: each call may use as many
    model = limited(relay, platform, 6000)
    stable.behave(hold_after_events=0)
    passes_alone(relay, stable, path, orjson.dumps({"model": model, **PLAIN[path], **fields}))


@pytest.mark.parametrize("bounds", TWICE.values(), ids=TWICE)
def test_a_bound_that_stands_twice_bounds_nothing(
    relay: Relay, platform: Platform, stable: Upstream, bounds: bytes
) -> None:
    model = limited(relay, platform, 6000)
    stable.behave(hold_after_events=0)
    passes_alone(relay, stable, CHAT, b"{%b,%b" % (bounds, chat_body(model=model)[1:]))


def passes_alone(relay: Relay, stable: Upstream, path: str, body: bytes) -> None:
    """Makes the call many times at once and asserts that one of them reaches the provider."""
    with at_once(relay, path, body) as wires:
        refused = [wire for wire in wires[1:] if wire.answer().status == 429]
        assert len(refused) == CALLS - 1
        assert stable.calls() == 1
        stable.release()
        assert wires[0].answer().status == 200


def test_calls_bound_to_a_token_each_pass_together(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    model = limited(relay, platform, 6000)
    stable.behave(hold_after_events=0)
    with at_once(relay, CHAT, chat_body(model=model, max_tokens=1)) as wires:
        eventually(stable.calls, lambda calls: calls == CALLS, what="all calls' arrival")
        stable.release()
        assert {wire.answer().status for wire in wires} == {200}


# --- cached tokens ---


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(("weight", "charged"), [(1.0, 910), (0.5, 510), (0.0, 110)])
def test_cached_tokens_count_in_limits_by_the_weight_of_their_provider(
    relay: Relay, platform: Platform, stable: Upstream, weight: float, charged: int, stream: bool
) -> None:
    providers = platform.providers(cached_token_weight=weight)
    # a token a second, so that no refill is seen
    limits = Limits(tokens_per_minute=60, burst_seconds=2000)
    relay.push(platform.document(providers=providers, limits=limits))
    stable.behave(prompt_tokens=900, cached_tokens=800, completion_tokens=10)
    name = f"cached-{weight}-{stream}"
    assert relay.chat(headers={"x-request-id": name}, max_tokens=10, stream=stream).status == 200
    (line,) = usage_lines(relay, name)
    assert line["tokens"] == {"input": 900, "output": 10, "cached": 800, "reasoning": 0}
    left = relay.ask("GET", "/v1/me").json()["limits"]["remaining_here"]["tokens"]
    assert 0 <= left - (2000 - charged) <= 5


def test_cached_tokens_count_in_the_providers_quota_by_its_weight(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    quota = ProviderLimits(tokens_per_minute=6000)
    stable.behave(prompt_tokens=5000, cached_tokens=5000, completion_tokens=1)
    statuses = {}
    queue = WIDE_QUEUE.model_copy(update={"max_wait_seconds": 1})
    for weight in (0.0, 1.0):
        providers = platform.providers(cached_token_weight=weight, limits=quota)
        relay.push(platform.document(providers=providers, queue=queue))
        statuses[weight] = [relay.chat(max_tokens=1).status for _ in range(3)]
    assert statuses == {0.0: [200, 200, 200], 1.0: [200, 429, 429]}
