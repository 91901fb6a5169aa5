"""What counts as success decides canaries: the side's failures, its quota, and the caller's mistakes are kept apart."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from tests.blackbox.measured import Measured, exactly
from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    END,
    STREAM_HEAD,
    ScriptedProvider,
    chunk,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import KEY, MODEL, Platform, provider
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes

from relay_contract.document import Breaker

RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
COMPLETIONS = "/v1/completions"
BREAKER = Breaker(min_failures=3, window_seconds=5)


@contextmanager
def canary_of(
    relay: Relay, platform: Platform, stable: Upstream, *answers: bytes
) -> Iterator[Measured]:
    """A route whose canary gives these answers and gets every call."""
    with scripted(ScriptedProvider(answers)) as other:
        providers = [provider("stable", stable.url), provider("canary", other.url)]
        yield Measured(relay, platform, providers=providers, canary_percent=100, breaker=BREAKER)


def plain(status: str, body: bytes = b"", fields: str = "") -> bytes:
    """An answer with a length and these fields."""
    return f"HTTP/1.1 {status}\r\n{fields}content-length: {len(body)}\r\n\r\n".encode() + body


HTML = b"<!doctype html><html><body>Welcome</body></html>"
UNUSABLE: dict[str, bytes] = {
    "an HTML page": plain("200 OK", HTML, "content-type: text/html\r\n"),
    "an HTML page that calls itself JSON": unary(HTML),
    "an empty body": unary(b""),
    "an empty body without a type": plain("200 OK"),
    "an empty chunked body": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + END,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a body that stands for nothing": plain("205 Reset Content", CHAT_ANSWER),
    "a large body that stands for nothing": plain(
        "205 Reset Content", b"data: " + b"x" * 200_000, "content-type: text/event-stream\r\n"
    ),
    "accepted": unary(b'{"id":"job_1","status":"queued"}', status=b"202 Accepted"),
    "blanks": unary(b" \n\n"),
    "no choice": unary(b'{"id":"c","object":"chat.completion","choices":[]}'),
    "choices that are null": unary(b'{"id":"c","choices":null}'),
    "no choices at all": unary(b'{"id":"c","object":"chat.completion"}'),
    "a choice without a message": unary(b'{"choices":[{"index":0,"finish_reason":"stop"}]}'),
    "a choice with an empty message": unary(b'{"choices":[{"index":0,"message":{}}]}'),
    "a list": unary(b"[1,2]"),
    "a text": unary(b'"ok"'),
    "half of a document": unary(CHAT_ANSWER[:-20]),
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_a_success_without_an_answer_is_a_failure_for_the_caller_and_of_the_side(
    relay: Relay, platform: Platform, stable: Upstream, answer: bytes
) -> None:
    with canary_of(relay, platform, stable, answer) as measured:
        seen = relay.chat()
        assert (seen.status, seen.error()["code"]) == (502, "upstream_invalid")
        measured.settled(1, of="canary")
        assert measured.counts("canary") == exactly(started=1, finished=1, failed=1)
        assert measured.slo("tokens_total", of="canary") == 0
        statuses = [relay.chat().status for _ in range(5)]
        assert statuses == [502, 502, 200, 200, 200]
        assert measured.breaker_open() == 1


@pytest.mark.parametrize(
    ("target", "body", "answer"),
    [
        (EMBEDDINGS, {"input": "x"}, {"object": "list", "data": []}),
        (EMBEDDINGS, {"input": "x"}, {"object": "list", "data": [{"index": 0}]}),
        (EMBEDDINGS, {"input": "x"}, {"object": "list", "data": [{"embedding": []}]}),
        (COMPLETIONS, {"prompt": "x"}, {"object": "text_completion", "choices": []}),
        (COMPLETIONS, {"prompt": "x"}, {"choices": [{"index": 0}]}),
        (RESPONSES, {"input": "x"}, {"id": "r", "status": "completed", "output": []}),
        (RESPONSES, {"input": "x"}, {"id": "r", "object": "response"}),
        (
            RESPONSES,
            {"input": "x"},
            {"id": "r", "object": "response", "status": "failed", "output": [{"type": "message"}]},
        ),
    ],
)
def test_each_api_has_its_own_answer(
    relay: Relay, platform: Platform, stable: Upstream, target: str, body: Any, answer: Any
) -> None:
    with canary_of(relay, platform, stable, unary(orjson.dumps(answer))) as measured:
        call = orjson.dumps({"model": MODEL, **body})
        assert relay.ask("POST", target, body=call).status == 502
        measured.settled(1, of="canary")
        assert measured.counts("canary") == exactly(started=1, finished=1, failed=1)


TOOL_CALL = (
    b'{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"id":"t"}]}}]}'
)
USABLE: dict[str, tuple[str, Any, bytes]] = {
    "a tool call": (CHAT, {"messages": []}, TOOL_CALL),
    "nothing to say": (CHAT, {}, b'{"choices":[{"message":{"role":"assistant","content":""}}]}'),
    "half an emoji": (CHAT, {}, CHAT_ANSWER.replace(b'"hi"', b'"\\ud83d"')),
    "not a number": (CHAT, {}, CHAT_ANSWER.replace(b'"created":1', b'"logprob":NaN')),
    "blanks in front": (CHAT, {}, b"\n\n\n" + CHAT_ANSWER),
    "a null error": (CHAT, {}, CHAT_ANSWER.replace(b'"created":1', b'"error":null')),
    "over a megabyte": (CHAT, {}, CHAT_ANSWER.replace(b'"hi"', b'"' + b"x" * 1_500_000 + b'"')),
    "an empty text": (COMPLETIONS, {"prompt": ""}, b'{"choices":[{"text":"","index":0}]}'),
    "a vector": (EMBEDDINGS, {"input": "x"}, b'{"data":[{"embedding":[0.5],"index":0}]}'),
    "a vector in base64": (EMBEDDINGS, {"input": "x"}, b'{"data":[{"embedding":"AAAA"}]}'),
    "output": (RESPONSES, {"input": "x"}, b'{"id":"r","output":[{"type":"message"}]}'),
    "a queued response": (RESPONSES, {"background": True}, b'{"id":"r","status":"queued"}'),
    "cut by a limit": (RESPONSES, {}, b'{"id":"r","status":"incomplete","output":[]}'),
}


MARK = re.compile(rb"_rly[0-9a-v]{12}")
"""On the id of a response, so that the canary gets the calls that continue it (test_conversations.py)."""


@pytest.mark.parametrize(("target", "body", "answer"), USABLE.values(), ids=USABLE)
@pytest.mark.parametrize("type_", ["application/json", "text/plain", ""])
def test_a_good_answer_is_passed_on_unchanged_whatever_its_type(
    relay: Relay,
    platform: Platform,
    stable: Upstream,
    target: str,
    body: Any,
    answer: bytes,
    type_: str,
) -> None:
    field = f"content-type: {type_}\r\n" if type_ else ""
    with canary_of(relay, platform, stable, plain("200 OK", answer, field)) as measured:
        seen = relay.ask("POST", target, body=orjson.dumps({"model": MODEL, **body}))
        assert (seen.status, MARK.sub(b"", seen.body)) == (200, answer)
        measured.settled(1, of="canary")
        assert measured.counts("canary") == exactly(started=1, finished=1)


OPENAI = b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}'
MODEL_GONE = b'{"error":{"message":"no","type":"invalid_request_error","code":"model_not_found"}}'
MODERATED = b'{"error":{"message":"no","code":403,"metadata":{"flagged_input":"x"}}}'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("401 X", OPENAI),
        ("402 X", OPENAI),
        ("402 X", b""),
        ("403 X", OPENAI),
        ("404 X", OPENAI),
        ("404 X", MODEL_GONE),
        ("404 X", HTML),
        ("404 X", b'{"detail":"Not Found"}'),
        ("405 X", b""),
        ("407 X", b""),
        ("410 X", OPENAI),
        ("411 X", b""),
        ("417 X", b""),
        ("400 X", MODEL_GONE),
        ("500 X", OPENAI),
        ("529 X", b""),
    ],
)
def test_what_a_caller_cannot_cause_is_the_sides_failure(
    relay: Relay, platform: Platform, stable: Upstream, status: str, body: bytes
) -> None:
    with canary_of(relay, platform, stable, plain(status, body)) as measured:
        # what stable may have is asked of stable at once (test_hops)
        seen = 500 if status == "500 X" else 200
        assert [relay.chat().status for _ in range(3)] == [seen] * 3
        assert [relay.chat().status for _ in range(3)] == [200] * 3
        measured.settled(3, of="canary")
        assert measured.counts("canary") == exactly(started=3, finished=3, failed=3)
        assert measured.breaker_open() == 1


@pytest.mark.parametrize("status", [401, 402, 403, 407])
def test_a_provider_that_refuses_the_relays_account_is_no_matter_of_the_callers_key(
    relay: Relay, platform: Platform, status: int
) -> None:
    with scripted(ScriptedProvider([plain(f"{status} X", OPENAI)])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        answer = relay.chat()
        assert answer.status == 502
        assert answer.header("x-should-retry") == "false"
        assert answer.error()["message"] != "no"


@pytest.mark.parametrize(
    ("target", "status", "fields", "body"),
    [
        (CHAT, 400, {}, OPENAI),
        (CHAT, 403, {}, MODERATED),
        (CHAT, 409, {}, OPENAI),
        (CHAT, 413, {}, OPENAI),
        (CHAT, 415, {}, OPENAI),
        (CHAT, 422, {}, OPENAI),
        (CHAT, 404, {"messages": [{"content": [{"file": {"file_id": "f"}}]}]}, OPENAI),
        (RESPONSES, 404, {"input": [{"type": "item_reference", "id": "i"}]}, OPENAI),
        (RESPONSES, 404, {"conversation": "conv_1"}, OPENAI),
        (RESPONSES, 404, {"prompt": {"id": "pmpt_1"}}, OPENAI),
    ],
)
def test_a_callers_mistake_is_refused_and_opens_no_breaker(
    relay: Relay,
    platform: Platform,
    stable: Upstream,
    target: str,
    status: int,
    fields: Any,
    body: bytes,
) -> None:
    with canary_of(relay, platform, stable, plain(f"{status} X", body)) as measured:
        call = orjson.dumps({"model": MODEL, **fields})
        for _ in range(6):
            assert relay.ask("POST", target, body=call).status == status
        measured.settled(6, of="canary")
        assert measured.counts("canary") == exactly(started=6, finished=6, refused=6)
        assert measured.breaker_open() == 0


def error_event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps({"error": {"message": "no", **fields}}) + b"\n\n"


def flat_event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps({"message": "no", **fields}) + b"\n\n"


CONTENT = chunk('{"content":"hi"}')
CALLERS: dict[str, bytes] = {
    "a number": error_event(code=400),
    "a number as text": error_event(code="400"),
    "a status": error_event(status=422),
    "OpenAI's type": error_event(type="invalid_request_error", code=None),
    "OpenAI's code": error_event(type="server_error", code="context_length_exceeded"),
    "vLLM's type": error_event(type="BadRequestError", code=400),
    "vLLM's flat object": flat_event(object="error", type="BadRequestError", code=400),
    "Gemini's status": error_event(code=400, status="INVALID_ARGUMENT"),
    "gRPC's word": error_event(status="INVALID_ARGUMENT"),
    "Anthropic's event": b"event: error\n"
    + flat_event(type="error", error={"type": "invalid_request_error", "message": "no"}),
    "a filter": error_event(code="content_filter"),
    "a status with its phrase": error_event(status="400 Bad Request"),
    "an exception of AWS": error_event(type="ValidationException"),
    "beside usage": flat_event(object="error", code=400, choices=[], usage={"prompt_tokens": 3}),
    "its event beside usage": b"event: error\n"
    + flat_event(code=400, choices=[], usage={"prompt_tokens": 3}),
}


@pytest.mark.parametrize("event", CALLERS.values(), ids=CALLERS)
def test_a_callers_mistake_inside_a_stream_opens_no_breaker(
    relay: Relay, platform: Platform, stable: Upstream, event: bytes
) -> None:
    with canary_of(relay, platform, stable, stream(CONTENT + event)) as measured:
        for _ in range(6):
            answer = relay.chat(stream=True)
            assert (answer.status, answer.body) == (200, CONTENT + event)
        measured.settled(6, of="canary")
        assert measured.counts("canary") == exactly(started=6, finished=6, refused=6)
        assert measured.breaker_open() == 0


def test_a_callers_mistake_inside_a_stream_of_responses_opens_no_breaker(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    failed = {"id": "r", "status": "failed", "error": {"code": "invalid_prompt", "message": "no"}}
    event = flat_event(type="response.failed", response=failed)
    delta = flat_event(type="response.output_text.delta", delta="hi")
    with canary_of(relay, platform, stable, stream(delta + event)) as measured:
        body = orjson.dumps({"model": MODEL, "input": "x", "stream": True})
        for _ in range(6):
            assert relay.ask("POST", RESPONSES, body=body).status == 200
        measured.settled(6, of="canary")
        assert measured.counts("canary") == exactly(started=6, finished=6, refused=6)
        assert measured.breaker_open() == 0


SIDES: dict[str, bytes] = {
    "a number": error_event(code=500),
    "OpenAI's type": error_event(type="server_error"),
    "no type": error_event(),
    "the account": error_event(type="invalid_request_error", code="invalid_api_key"),
    "the model": error_event(type="invalid_request_error", code="model_not_found"),
    "a text": b'data: {"error":"boom"}\n\n',
    "an event without JSON": b"event: error\ndata: boom\n\n",
    "vLLM's flat object": flat_event(object="error", type="InternalServerError", code=500),
    "OpenRouter's reason": chunk("{}", '"error"') + DONE,
    "then the end mark": error_event(code=502) + DONE,
    "true": flat_event(error=True) + DONE,
    "nothing but a number": b'data: {"error":500}\n\n' + DONE,
    "over two lines of data": b'data: {"error":\ndata: {"message":"no"}}\n\n' + DONE,
}


@pytest.mark.parametrize("event", SIDES.values(), ids=SIDES)
def test_a_providers_failure_inside_a_stream_opens_the_breaker(
    relay: Relay, platform: Platform, stable: Upstream, event: bytes
) -> None:
    with canary_of(relay, platform, stable, stream(CONTENT + event)) as measured:
        for _ in range(3):
            relay.chat(stream=True)
        measured.settled(3, of="canary")
        assert measured.counts("canary") == exactly(started=3, finished=3, failed=3)
        assert measured.breaker_open() == 1


def test_a_quota_inside_a_stream_is_no_failure(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    event = error_event(type="rate_limit_error")
    with canary_of(relay, platform, stable, stream(CONTENT + event)) as measured:
        for _ in range(4):
            relay.chat(stream=True)
        measured.settled(4, of="canary")
        assert measured.counts("canary") == exactly(started=4, finished=4, throttled=4)
        assert measured.breaker_open() == 0


GIVEN_UP: dict[str, tuple[bytes, ...]] = {
    "before the head": (),
    "after the head": (STREAM_HEAD,),
}


@pytest.mark.parametrize("pieces", GIVEN_UP.values(), ids=GIVEN_UP)
def test_started_finished_and_cancelled_attempts_add_up(
    patient_relay: Relay, platform: Platform, stable: Upstream, pieces: tuple[bytes, ...]
) -> None:
    relay = patient_relay
    with scripted(ScriptedProvider([(*pieces, 8.0)])) as other:
        providers = [provider("stable", other.url), provider("canary", stable.url)]
        measured = Measured(relay, platform, providers=providers)
        for number in range(1, 4):
            with relay.wire() as wire:
                body = orjson.dumps({"model": MODEL, "messages": [], "stream": True})
                headers = {"authorization": f"Bearer {KEY}"}
                wire.send(request_bytes("POST", CHAT, headers, body))
                eventually(lambda: len(other.heads), number.__eq__, what="the call")
                assert measured.counts() == exactly(started=number, cancelled=number - 1)
            eventually(
                measured.counts,
                exactly(started=number, cancelled=number).__eq__,
                what="the cancelled attempt",
            )
        assert measured.outcomes() == {"cancelled": 3}
