"""Bodies pass unchanged, except for the model's name and the usage a stream must report."""

import json
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

from relay_contract.document import Match, ProviderModel

UPSTREAM_MODEL = "vendor/gpt-4.1-2025"

ODD_BODIES = {
    "spaces": b'{ "model" : "gpt-4.1" ,\r\n\t"messages" : [ ] }',
    "model-last": b'{"messages":[{"role":"user","content":"\\"model\\":\\"x\\""}],"model":"gpt-4.1"}',
    "nested-model": b'{"metadata":{"model":"inner"},"model":"gpt-4.1","tools":[{"model":"inner"}]}',
    "nested-and-spaced": b'{ "metadata": {"model": "inner"}, "model": "gpt-4.1", "seed": 1e0 }',
    "text-says-model": b'{"messages": [{"content": "model"}, {"content": "x"}], "model": "gpt-4.1"}',
    "numbers": b'{"model":"gpt-4.1","seed":123456789012345678901234567890,"temperature":1.0e-0,"x":1E40}',
    "escapes": b'{"model":"gpt-4.1","messages":[{"content":"\\u00e9\\ud83d\\ude00\\/"}]}',
    "utf-8": '{"model":"gpt-4.1","messages":[{"content":"\u00e9\U0001f600"}]}'.encode(),
    "unknown": b'{"model":"gpt-4.1","x_new":{"b":1,"a":[null,true]},"messages":[]}',
    "large": b'{"messages":[{"role":"user","content":"'
    + b"y" * 300_000
    + b'"}],"model":"gpt-4.1"}',
}


def renaming(platform: Platform, stable: Upstream) -> dict[str, Any]:
    """Returns a provider that has the model under another name."""
    models = (ProviderModel(name=MODEL, upstream_name=UPSTREAM_MODEL),)
    return {"providers": [provider("stable", stable.url, models=models)]}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_body_reaches_the_provider_byte_for_byte(
    relay: Relay, stable: Upstream, body: bytes
) -> None:
    answer = relay.ask("POST", CHAT, body=body)
    assert answer.status in (200, 400), answer
    assert stable.only_request().body == body


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_renamed_model_is_the_only_change_to_a_body(
    relay: Relay, platform: Platform, stable: Upstream, body: bytes
) -> None:
    relay.push(platform.document(**renaming(platform, stable)))
    assert relay.ask("POST", CHAT, body=body).status in (200, 400)
    expected = body.replace(b'"gpt-4.1"', b'"%b"' % UPSTREAM_MODEL.encode())
    assert stable.only_request().body == expected


def test_the_sides_model_replaces_the_one_asked_for(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(platform.document(routes=[route(side("stable", "gpt-4.1-mini"))]))
    relay.chat()
    assert stable.only_request().model == "gpt-4.1-mini"


def test_a_model_field_written_with_escapes_is_read_as_the_model(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(platform.document(**renaming(platform, stable)))
    answer = relay.ask("POST", CHAT, body=b'{"mod\\u0065l":"gpt-4.1","messages":[]}')
    if answer.status == 400:
        assert stable.calls() == 0
    else:
        assert stable.only_request().model == UPSTREAM_MODEL


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4.1","model":"gpt-4.1-mini","messages":[]}',
        b'{"model":"gpt-4.1-mini","model":"gpt-4.1","messages":[]}',
        b'{"model":"gpt-4.1","mod\\u0065l":"gpt-4.1-mini","messages":[]}',
    ],
    ids=["forbidden-last", "forbidden-first", "escaped"],
)
def test_two_models_in_one_body_never_reach_a_model_that_is_not_routed(
    relay: Relay, platform: Platform, stable: Upstream, body: bytes
) -> None:
    # RFC 8259, 4: of equal names some parsers take the first, some the last; the relay must not read one model and
    # the provider another
    relay.push(platform.document(routes=[route(match=Match(models=(MODEL,)))]))
    relay.ask("POST", CHAT, body=body)
    for received in stable.received():
        pairs = json.loads(received.body, object_pairs_hook=list)
        assert {value for name, value in pairs if name == "model"} == {MODEL}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(
    "content",
    # in UTF-16 the bytes of the last two spell the beginning of a lone surrogate's escape
    ["hello", "\\ud800", "\u755c\u3864", "\u5c75\u6438"],
    ids=["text", "surrogate", "little-endian", "big-endian"],
)
def test_a_body_is_utf_8_without_a_mark(
    relay: Relay, stable: Upstream, encoding: str, content: str
) -> None:
    # RFC 8259, 8.1: a provider that guesses encodings might read another model
    text = '{"model":"gpt-4.1","messages":[{"role":"user","content":"' + content + '"}]}'
    answer = relay.ask("POST", CHAT, body=text.encode(encoding))
    assert (answer.status, answer.error()["code"]) == (400, "invalid_json")
    assert stable.calls() == 0


@pytest.mark.parametrize(
    "charset",
    ["utf-16", "UTF-16LE", '"utf-32"', "utf-7", "shift_jis", "iso-8859-1", "utf-8; charset=utf-7"],
)
def test_a_content_type_names_no_other_charset(
    relay: Relay, stable: Upstream, charset: str
) -> None:
    # a provider that obeys the parameter reads the second field as `model`, or another end of a string
    body = b'{"model":"gpt-4.1","m+AG8-del":"gpt-4.1-mini","messages":[]}'
    fields = {"content-type": f"application/json; charset={charset}"}
    answer = relay.ask("POST", CHAT, body=body, headers=fields)
    assert (answer.status, answer.error()["code"]) == (415, "unsupported_charset")
    assert stable.calls() == 0


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", 'Application/JSON;Charset="UTF-8"', "text/plain", ""],
)
def test_a_content_type_that_leaves_no_doubt_is_passed_on(
    relay: Relay, stable: Upstream, content_type: str
) -> None:
    assert relay.chat(headers={"content-type": content_type}).status == 200
    assert stable.only_request().header("content-type") == content_type


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=a", "multipart/mixed"],
)
def test_a_body_that_is_called_a_form_reaches_the_provider_as_json(
    relay: Relay, stable: Upstream, content_type: str
) -> None:
    # JSON to the relay; a gateway that reads it as a form finds another model
    body = b'{"model":"gpt-4.1","messages":[],"x":"&model=gpt-4.1-mini&"}'
    fields = {"content-type": content_type}
    assert relay.ask("POST", CHAT, body=body, headers=fields).status == 200
    assert stable.only_request().header("content-type") == "application/json"


def test_two_content_types_are_refused(relay: Relay, stable: Upstream) -> None:
    body = chat_body()
    head = request_bytes(
        "POST",
        CHAT,
        {
            "authorization": f"Bearer {KEY}",
            "content-type": "application/json\r\nContent-Type: application/json; charset=utf-7",
            "content-length": str(len(body)),
        },
    )
    with relay.wire() as wire:
        wire.send(head + body)
        assert wire.answer().status == 400
    assert stable.calls() == 0


@pytest.mark.parametrize(
    ("depth", "status"), [(509, 200), (510, 400), (990, 400), (1020, 400), (20_000, 400)]
)
def test_brackets_are_taken_up_to_a_limit(
    relay: Relay, platform: Platform, depth: int, status: int
) -> None:
    # 512 with the three around them; a canary makes the relay read the content
    relay.push(platform.document(routes=[route(canary="canary", canary_percent=50)]))
    content = b"[" * depth + b"]" * depth
    body = b'{"model":"gpt-4.1","messages":[{"role":"user","content":%b}]}' % content
    answer = relay.ask("POST", CHAT, body=body)
    assert answer.status == status, answer
    if status == 400:
        assert answer.error()["code"] == "invalid_json"


def test_usage_is_requested_upstream_and_hidden_from_a_client_that_did_not_ask(
    relay: Relay, stable: Upstream
) -> None:
    answer = relay.chat(stream=True)
    assert stable.only_request().json()["stream_options"] == {"include_usage": True}
    assert b"prompt_tokens" not in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_usage_reaches_a_client_that_asked(relay: Relay, stable: Upstream) -> None:
    options = {"include_usage": True}
    answer = relay.chat(stream=True, stream_options=options)
    assert stable.only_request().json()["stream_options"] == options
    assert answer.body.count(b'"prompt_tokens"') == 1


def test_other_stream_options_are_kept(relay: Relay, stable: Upstream) -> None:
    relay.chat(stream=True, stream_options={"include_usage": False, "include_obfuscation": True})
    assert stable.only_request().json()["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": True,
    }


def test_numbers_are_unchanged_when_stream_options_are_rewritten(
    relay: Relay, stable: Upstream
) -> None:
    # beyond 64 bits: a parser that reads numbers as doubles would pass on another seed
    seed = 123456789012345678901234567890
    body = (
        b'{"model":"gpt-4.1","messages":[],"stream":true,'
        b'"stream_options":{"include_usage":false},"seed":%d}' % seed
    )
    assert relay.ask("POST", CHAT, body=body).status == 200
    received = json.loads(stable.only_request().body)
    assert received["seed"] == seed
    assert received["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": None}])
def test_a_unary_call_gets_no_stream_options(
    relay: Relay, stable: Upstream, fields: dict[str, Any]
) -> None:
    relay.chat(**fields)
    assert "stream_options" not in stable.only_request().json()


def test_a_streamed_responses_call_gets_no_stream_options(relay: Relay, stable: Upstream) -> None:
    body = b'{"model":"gpt-4.1","input":"hi","stream":true}'
    answer = relay.ask("POST", "/v1/responses", body=body)
    assert stable.only_request().body == body
    assert b"response.completed" in answer.body


def test_a_stream_without_reported_usage_ends_in_order(relay: Relay, stable: Upstream) -> None:
    stable.behave(report_usage=False)
    answer = relay.chat(stream=True)
    assert answer.status == 200
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_events_reach_the_client_as_the_provider_sent_them(relay: Relay, stable: Upstream) -> None:
    stable.behave(completion_tokens=5)
    asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    events = relay.chat(**asked).body.split(b"\n\n")
    # role, five words, finish, usage, [DONE], and what follows the last separator
    assert len(events) == 1 + 5 + 1 + 1 + 1 + 1
    assert all(event.startswith(b"data: ") for event in events[:-1])


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_answer_is_complete_however_the_provider_frames_it(
    relay: Relay, stable: Upstream, framing: str
) -> None:
    stable.behave(framing=framing, completion_tokens=3)
    for _ in range(3):
        answer = relay.chat()
        assert answer.status == 200
        assert answer.json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("tokens", [1, 1_000, 100_000])
def test_a_large_answer_arrives_complete(relay: Relay, stable: Upstream, tokens: int) -> None:
    stable.behave(completion_tokens=tokens)
    assert relay.chat().json()["usage"]["completion_tokens"] == tokens


@pytest.mark.parametrize(
    ("size", "status"), [(2 * 1024 * 1024, 200), (64 * 1024 * 1024, 413)], ids=["2MiB", "64MiB"]
)
def test_a_body_is_accepted_up_to_the_limit_and_refused_above_it_before_it_is_read(
    relay: Relay, stable: Upstream, size: int, status: int
) -> None:
    if status == 200:
        body = b'{"model":"gpt-4.1","messages":[],"pad":"' + b"z" * size + b'"}'
        assert relay.ask("POST", CHAT, body=body).status == 200
        assert len(stable.only_request().body_sha256) == 64
        return
    headers = {"content-length": str(size), "expect": "100-continue"}
    answer = relay.ask("POST", CHAT, headers=headers)
    assert (answer.status, answer.error()["code"]) == (413, "payload_too_large")
    assert stable.calls() == 0
