"""What a caller is told when a provider refuses: the provider's words, in the shape that clients of the API read."""

import gzip
from typing import Any

import orjson
import pytest
from tests.blackbox.conftest import UPSTREAM_SECRETS
from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.scripted import ScriptedProvider, scripted, stream, unary
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import Answer

TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000."
SECRET = UPSTREAM_SECRETS["stable"]


def answered(
    relay: Relay,
    platform: Platform,
    answer: Any,
    *,
    target: str = CHAT,
    body: dict[str, Any] | None = None,
) -> Answer:
    """Makes a call that the provider answers like this."""
    with scripted(ScriptedProvider([answer], closes=True)) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        fields = {"model": "gpt-4.1", "messages": [], "input": "x", **(body or {})}
        return relay.ask("POST", target, body=orjson.dumps(fields))


OWN_SHAPE = {
    "OpenAI": b'{ "error": {"message":"\\u0041 %b","type":"invalid_request_error","param":"messages",'
    b'"code":"context_length_exceeded"} }\n',
    "Anthropic": b'{"type":"error","error":{"type":"invalid_request_error","message":"%b"}}',
    "a newer vLLM": b'{"error":{"message":"%b","type":"BadRequestError","param":null,"code":400}}',
    "a number that JSON does not have": b'{"error":{"message":"%b","score":NaN}}',
    "half of an emoji": b'{"error":{"message":"%b","input":"\\ud83d"}}',
    "more than the shape": b'{"error":{"message":"%b","inner":{"a":[1]}},"request_id":"x"}',
}


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429, 500, 503, 529])
@pytest.mark.parametrize("body", OWN_SHAPE.values(), ids=OWN_SHAPE)
def test_an_error_in_the_callers_shape_passes_byte_for_byte(
    relay: Relay, platform: Platform, body: bytes, status: int
) -> None:
    sent = body.replace(b"%b", TOO_LONG.encode())
    seen = answered(relay, platform, unary(sent, status=b"%d X" % status))
    assert (seen.status, seen.body) == (status, sent)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail":"too long","score":NaN,"code":4001}', "too long"),
        (b'{"detail":"too long: \\ud83d"}', "too long: ?"),
        (b'\xef\xbb\xbf{"detail":"too long"}', "too long"),
        (b'{"detail":"too long","limit":%b}' % (b"9" * 5000), "too long"),
    ],
    ids=["NaN", "half of an emoji", "byte order mark", "a long number"],
)
def test_the_words_of_an_error_survive_what_strict_json_does_not_have(
    relay: Relay, platform: Platform, body: bytes, message: str
) -> None:
    seen = answered(relay, platform, unary(body, status=b"400 X"))
    assert (seen.status, seen.error()["message"]) == (400, message)
    assert seen.error()["code"] == (4001 if b"4001" in body else None)


OTHER_SHAPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "vLLM": (
        {
            "object": "error",
            "message": TOO_LONG,
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        {"message": TOO_LONG, "type": "BadRequestError", "param": None, "code": 400},
    ),
    "TGI": (
        {"error": TOO_LONG, "error_type": "validation"},
        {"message": TOO_LONG, "type": "validation", "param": None, "code": None},
    ),
    "Ollama": ({"error": TOO_LONG}, {"message": TOO_LONG, "type": "invalid_request_error"}),
    "FastAPI": ({"detail": TOO_LONG}, {"message": TOO_LONG, "type": "invalid_request_error"}),
    "FastAPI's validation": (
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0, "role"],
                    "msg": "field required",
                    "type": "missing",
                },
                {"loc": ["body", "n"], "msg": "not an integer", "input": "x"},
            ]
        },
        {"message": "body.messages.0.role: field required; body.n: not an integer"},
    ),
    "FastAPI with an object": ({"detail": {"error": TOO_LONG}}, {"message": TOO_LONG}),
    "Gemini": (
        [{"error": {"code": 400, "message": TOO_LONG, "status": "INVALID_ARGUMENT"}}],
        {"message": TOO_LONG, "type": "INVALID_ARGUMENT", "code": 400},
    ),
    "Mistral": (
        {"object": "error", "message": {"detail": [{"loc": ["body"], "msg": TOO_LONG}]}},
        {"message": f"body: {TOO_LONG}"},
    ),
    "a message alone": ({"message": TOO_LONG}, {"message": TOO_LONG}),
    "Azure's gateway": ({"statusCode": 400, "message": TOO_LONG}, {"message": TOO_LONG}),
    "Cloudflare": (
        {"success": False, "errors": [{"code": 7003, "message": TOO_LONG}]},
        {"message": TOO_LONG},
    ),
    "RFC 9457": (
        {"type": "https://x.example.com/e", "title": "Bad", "status": 400, "detail": TOO_LONG},
        {"message": TOO_LONG, "type": "invalid_request_error"},
    ),
    "an error without a message": (
        {"error": {"code": "too_long", "detail": TOO_LONG}},
        {"message": TOO_LONG, "code": "too_long"},
    ),
    "a list of texts": ({"error": [TOO_LONG, "x"]}, {"message": f"{TOO_LONG}; x"}),
    "a text": (TOO_LONG, {"message": TOO_LONG}),
}


@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
@pytest.mark.parametrize(("document", "error"), OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_the_words_of_another_shape_are_moved_into_the_callers(
    relay: Relay, platform: Platform, document: Any, error: dict[str, Any], status: int
) -> None:
    seen = answered(relay, platform, unary(orjson.dumps(document), status=b"%d X" % status))
    assert seen.status == status
    expected = dict(error)
    if status >= 500 and expected.get("type") == "invalid_request_error":
        expected["type"] = "server_error"
    found = seen.error()
    assert {name: found[name] for name in expected} == expected
    assert set(found) == {"message", "type", "param", "code"}
    assert seen.header("content-type") == "application/json"


@pytest.mark.parametrize(
    ("target", "streams"), [("/v1/responses", True), ("/v1/embeddings", False)]
)
def test_every_endpoint_has_the_same_shape_before_its_first_event(
    relay: Relay, platform: Platform, target: str, streams: bool
) -> None:
    body = {"stream": True} if streams else {}
    answer = unary(orjson.dumps({"detail": TOO_LONG}), status=b"400 X")
    seen = answered(relay, platform, answer, target=target, body=body)
    assert (seen.status, seen.error()["message"]) == (400, TOO_LONG)


NO_WORDS = {
    "a page": b"<html><body>Bad gateway</body></html>",
    "nothing": b"",
    "half of a document": b'{"error":{"mess',
    "an empty object": b"{}",
    "an empty list": b"[]",
    "numbers": b'{"message":5,"detail":[1,[2,[3,[4,[5,"deep"]]]]]}',
    "blanks": b'{"message":"  "}',
    "no UTF-8": b'{"message":"\xff"}',
}


@pytest.mark.parametrize("body", NO_WORDS.values(), ids=NO_WORDS)
def test_an_error_without_words_gets_ours(relay: Relay, platform: Platform, body: bytes) -> None:
    seen = answered(relay, platform, unary(body, status=b"400 X"))
    assert (seen.status, seen.error()["code"]) == (400, "upstream_error")
    assert "400" in seen.error()["message"]


def test_the_text_of_a_proxy_is_the_message(relay: Relay, platform: Platform) -> None:
    text = b"upstream connect error or disconnect/reset before headers"
    head = (
        b"HTTP/1.1 503 X\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n\r\n"
    )
    seen = answered(relay, platform, head % len(text) + text)
    assert (seen.status, seen.error()["message"]) == (503, text.decode())


def test_a_message_is_bounded_where_the_relay_writes_it(relay: Relay, platform: Platform) -> None:
    for document in (
        {"detail": "x" * 500_000},
        {"detail": ["y" * 4000] * 100},
        {"error": "z" * 5000, "error_type": "t" * 5000},
    ):
        seen = answered(relay, platform, unary(orjson.dumps(document), status=b"400 X"))
        assert seen.status == 400
        assert len(seen.error()["message"]) == 4096
        assert len(seen.body) < 20_000


@pytest.mark.parametrize(
    "document", [{"error": {"message": TOO_LONG}}, {"detail": TOO_LONG}], ids=["own", "other"]
)
def test_a_compressed_error_is_readable(
    relay: Relay, platform: Platform, document: dict[str, Any]
) -> None:
    body = gzip.compress(orjson.dumps(document))
    answer = unary(body, status=b"400 X", fields=b"content-encoding: gzip\r\n")
    seen = answered(relay, platform, answer)
    assert seen.header("content-encoding") is None
    assert (seen.status, seen.json()["error"]["message"]) == (400, TOO_LONG)


@pytest.mark.parametrize(
    "answer",
    [
        unary(orjson.dumps({"error": {"message": f"sent {SECRET}"}}), status=b"400 X"),
        unary(orjson.dumps({"detail": f"Bearer {SECRET} is wrong"}), status=b"422 X"),
        unary(orjson.dumps({"error": {"message": f"sent {SECRET}", "code": 400}})),
        unary(f"no {SECRET}".encode(), status=b"500 X").replace(b"application/json", b"text/plain"),
        stream(b'data: {"error":{"message":"key %b","code":500}}\n\n' % SECRET.encode()),
    ],
    ids=["own shape", "other shape", "inside a 200", "plain text", "first event"],
)
def test_an_error_that_repeats_the_relays_key_does_not_reach_the_caller_with_it(
    relay: Relay, platform: Platform, answer: bytes
) -> None:
    seen = answered(relay, platform, answer, body={"stream": b"event-stream" in answer})
    assert seen.status >= 400
    assert SECRET.encode() not in seen.body
    assert b"[hidden]" in seen.body


# -- what a client library repeats of itself ---------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n"
TIMED_OUT: dict[str, Any] = {
    "silence": (3.0,),
    "silence after the head": (HEAD, 4.0),
    "silence inside the document": (HEAD + b"{", 4.0),
    "408": unary(b'{"error":{"message":"x"}}', status=b"408 X"),
    "504": unary(b'{"error":{"message":"x"}}', status=b"504 X"),
    "504 as a page": unary(b"<html>", status=b"504 X"),
    "524": unary(b"error code: 524", status=b"524 X"),
    "a 200 that reports a timeout": unary(b'{"error":{"message":"x","code":504}}'),
    "a stream that reports a timeout first": stream(
        b'data: {"error":{"message":"x","type":"timeout"}}\n\n'
    ),
}


@pytest.mark.parametrize("answer", TIMED_OUT.values(), ids=TIMED_OUT)
def test_a_call_that_timed_out_is_not_to_be_repeated(
    relay: Relay, platform: Platform, answer: Any
) -> None:
    streams = isinstance(answer, bytes) and b"event-stream" in answer
    seen = answered(relay, platform, answer, body={"stream": streams})
    assert seen.status in (408, 502, 504, 524)
    assert seen.header("x-should-retry") == "false"


def test_half_of_an_answer_is_not_to_be_repeated(relay: Relay, platform: Platform) -> None:
    seen = answered(relay, platform, HEAD + b"{")
    assert (seen.status, seen.header("x-should-retry")) == (502, "false")


def test_what_the_provider_says_of_a_repetition_counts(relay: Relay, platform: Platform) -> None:
    answer = unary(
        b'{"error":{"message":"x"}}', status=b"504 X", fields=b"x-should-retry: true\r\n"
    )
    assert answered(relay, platform, answer).header("x-should-retry") == "true"


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_other_failures_are_left_to_the_client_library(
    relay: Relay, stable: Upstream, status: int
) -> None:
    stable.behave(error_percent=100, error_status=status)
    assert relay.chat().header("x-should-retry") is None


def test_no_connection_is_left_to_the_client_library(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(providers=[provider("stable", "http://127.0.0.1:1/v1")]))
    seen = relay.chat()
    assert (seen.status, seen.header("x-should-retry")) == (502, None)
