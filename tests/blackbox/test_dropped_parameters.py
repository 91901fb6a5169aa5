"""Parameters that a provider refuses for a model are taken out of its calls, and of nobody else's."""

import hashlib
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, MODELS, Platform, provider, route, side
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

from relay_contract.document import Provider, ProviderModel


def dropping(name: str, upstream: Upstream, *paths: str, upstream_name: str = MODEL) -> Provider:
    """A provider whose first model refuses these parameters."""
    models = tuple(
        ProviderModel(
            name=model,
            upstream_name=upstream_name if model == MODEL else model,
            drop_parameters=paths if model == MODEL else (),
        )
        for model in MODELS
    )
    return provider(name, upstream.url, models=models)


def sent(
    relay: Relay, platform: Platform, stable: Upstream, body: bytes, *paths: str, **fields: Any
) -> bytes:
    """Makes a call with this body; returns what the provider got."""
    relay.push(platform.document(providers=[dropping("stable", stable, *paths, **fields)]))
    assert relay.ask("POST", CHAT, body=body).status == 200
    return stable.only_request().body


BODY = (
    b'{ "model" : "gpt-4.1" , "temperature":0.5, "messages":[{"role":"user","content":"say \\"temperature\\"",'
    b'"name":"a"}],\n"tools":[{"type":"function","function":{"name":"f","strict":true,'
    b'"parameters":{"properties":{"temperature":{"type":"number"}}}}}],"temp\\u0065rature":1,'
    b'"reasoning":{"effort":"low","summary":"auto"},"n":1}'
)
EXPECTED: dict[str, tuple[tuple[str, ...], list[tuple[bytes, bytes]]]] = {
    "one that is twice there": (
        ("temperature",),
        [(b' , "temperature":0.5', b""), (b',"temp\\u0065rature":1', b"")],
    ),
    "one inside an object": (("reasoning.summary",), [(b',"summary":"auto"', b"")]),
    "one inside objects of an array": (("tools.function.strict",), [(b',"strict":true', b"")]),
    "the last": (("n",), [(b',"n":1', b"")]),
    "several": (
        ("n", "reasoning", "messages.name"),
        [(b',"reasoning":{"effort":"low","summary":"auto"},"n":1', b""), (b',"name":"a"', b"")],
    ),
    "none that is there": (("top_p", "reasoning.x", "temperature.x"), []),
}


@pytest.mark.parametrize(("paths", "changes"), EXPECTED.values(), ids=EXPECTED)
def test_what_is_dropped_is_gone_and_every_other_byte_stays(
    relay: Relay,
    platform: Platform,
    stable: Upstream,
    paths: tuple[str, ...],
    changes: list[tuple[bytes, bytes]],
) -> None:
    expected = BODY
    for before, after in changes:
        assert before in expected
        expected = expected.replace(before, after, 1)
    assert sent(relay, platform, stable, BODY, *paths) == expected


def test_the_model_is_renamed_and_usage_asked_for_in_what_is_left(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    body = (
        b'{"n":1,"stream":true,"stream_options":{"x":1},"user":"u","model":"gpt-4.1","messages":[]}'
    )
    paths = ("n", "user", "stream_options.x")
    assert sent(relay, platform, stable, body, *paths, upstream_name="other") == (
        b'{"stream":true,"stream_options":{"include_usage":true},"model":"other","messages":[]}'
    )


@pytest.mark.parametrize("path", ["stream_options", "stream_options.include_usage"])
@pytest.mark.parametrize("asked", ["", ',"stream_options":{"include_usage":true}'])
def test_usage_is_not_asked_for_where_its_option_is_dropped(
    relay: Relay, platform: Platform, stable: Upstream, path: str, asked: str
) -> None:
    body = f'{{"model":"gpt-4.1","messages":[],"stream":true{asked}}}'.encode()
    got = orjson.loads(sent(relay, platform, stable, body, path))
    assert not got.get("stream_options")


def test_other_models_and_other_targets_get_everything(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    providers = [dropping("stable", stable, "temperature"), provider("backup", backup.url)]
    relay.push(platform.document(providers=providers, routes=[route(fallback=(side("backup"),))]))
    relay.chat(temperature=0.5, model="gpt-4.1-mini")
    assert stable.only_request().json()["temperature"] == 0.5
    stable.reset()
    stable.behave(error_percent=100, error_status=503)
    assert relay.chat(temperature=0.5).status == 200
    assert "temperature" not in stable.only_request().json()
    assert backup.only_request().json()["temperature"] == 0.5


def test_a_shadow_copy_drops_what_its_provider_refuses(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    providers = [provider("stable", stable.url), dropping("canary", canary, "temperature")]
    routes = [route(canary="canary", shadow_percent=100)]
    relay.push(platform.document(providers=providers, routes=routes))
    relay.chat(temperature=0.5)
    eventually(canary.calls, lambda calls: calls == 1, what="the shadow copy")
    assert "temperature" not in canary.only_request().json()
    # one in ten copies asks stable once more, for comparison
    assert {request.json()["temperature"] for request in stable.received()} == {0.5}


@pytest.mark.parametrize(
    ("target", "body", "path"),
    [
        ("/v1/responses", {"input": "x", "reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ("/v1/embeddings", {"input": "x", "dimensions": 8}, "dimensions"),
        ("/v1/completions", {"prompt": "x", "logprobs": 1}, "logprobs"),
    ],
)
def test_every_endpoint_drops(
    relay: Relay, platform: Platform, stable: Upstream, target: str, body: dict[str, Any], path: str
) -> None:
    relay.push(platform.document(providers=[dropping("stable", stable, path)]))
    answer = relay.ask("POST", target, body=orjson.dumps({"model": MODEL, **body}))
    assert answer.status == 200
    assert path.split(".")[-1].encode() not in stable.only_request().body


@pytest.mark.parametrize("names", [False, True], ids=["once", "in each message"])
def test_a_large_body_drops_and_its_memory_is_given_back(
    relay: Relay, platform: Platform, stable: Upstream, names: bool
) -> None:
    message = {"role": "user", "content": "x" * 90, **({"name": "n"} if names else {})}
    body = chat_body(messages=[message] * 20_000, temperature=1)
    sent(relay, platform, stable, body, "temperature", "messages.name")
    left = chat_body(messages=[{"role": "user", "content": "x" * 90}] * 20_000)
    assert stable.only_request().body_sha256 == hashlib.sha256(left).hexdigest()
    eventually(
        lambda: relay.metrics().total("relay_buffered_bytes"),
        lambda held: held == 0,
        what="the memory of the body and its copy",
    )


def test_without_memory_for_the_copy_the_call_is_refused(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    document = platform.document(providers=[dropping("stable", stable, "temperature")])
    relay = new_relay(document=document, max_buffered_bytes="1000000", max_body_bytes="900000")
    body = chat_body(temperature=1, messages=[{"role": "user", "content": "x" * 450_000}])
    assert relay.ask("POST", CHAT, body=body).status == 200
    with relay.wire() as held:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n"
        held.send(head + b"authorization: Bearer " + KEY.encode() + b"\r\n\r\n" + b"x" * 150_000)
        eventually(
            lambda: relay.metrics().total("relay_buffered_bytes"),
            lambda size: size == 150_000,
            what="a body that is half there",
        )
        body = chat_body(temperature=1, messages=[{"role": "user", "content": "x" * 425_000}])
        answer = relay.ask("POST", CHAT, body=body)
        assert (answer.status, answer.error()["code"]) == (503, "relay_overloaded")
        assert answer.header("retry-after") == "1"
    assert stable.calls() == 1
    eventually(
        lambda: relay.metrics().total("relay_buffered_bytes"),
        lambda size: size == 0,
        what="all memory given back",
    )
    assert relay.ask("POST", CHAT, body=body).status == 200


def test_a_call_that_drops_is_booked_once(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(platform.document(providers=[dropping("stable", stable, "temperature")]))
    relay.chat(temperature=1, headers={"x-request-id": "drops-once"})
    (line,) = usage_lines(relay, "drops-once")
    assert (line["outcome"], line["attempt"]) == ("ok", 1)


def test_an_answer_whose_bound_was_dropped_is_booked_as_long_as_it_is(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(report_usage=False, completion_tokens=50)
    relay.push(platform.document(providers=[dropping("stable", stable, "max_tokens")]))
    relay.chat(max_tokens=2, stream=True, headers={"x-request-id": "dropped-limit"})
    (line,) = usage_lines(relay, "dropped-limit")
    assert line["estimated"] is True
    assert line["tokens"]["output"] > 20
