"""A provider's answer is read as its users mean it: whole or broken, begun or not, whatever it calls itself."""

import contextlib
import gzip
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from tests.blackbox.measured import Measured, exactly
from tests.blackbox.relays import CHAT, NewRelay, Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    END,
    GOOD_STREAM,
    STREAM_HEAD,
    USAGE_CHUNK,
    Script,
    ScriptedProvider,
    chunk,
    piece,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import KEY, MODEL, Platform, provider, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import Answer, Gone, Wire, request_bytes

from relay_contract.document import LatencyObjective

RESPONSES = "/v1/responses"
COMPLETIONS = "/v1/completions"
ROLE = chunk('{"role":"assistant","content":""}')
CONTENT = chunk('{"content":"hi"}')
STOP = chunk("{}", '"stop"')


@contextmanager
def stable_of(
    relay: Relay, platform: Platform, *answers: Script, **fields: Any
) -> Iterator[Measured]:
    """A route whose stable gives these answers."""
    with scripted(ScriptedProvider(answers)) as other:
        providers = [provider(name, other.url) for name in ("stable", "canary")]
        yield Measured(relay, platform, providers=providers, **fields)


def ask(relay: Relay, target: str = CHAT, **fields: Any) -> Answer:
    return relay.ask("POST", target, body=orjson.dumps({"model": MODEL, **fields}))


def event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def of_choice(index: int, content: str | None = None, finish: str | None = None) -> bytes:
    delta = {} if content is None else {"content": content}
    return event(choices=[{"index": index, "delta": delta, "finish_reason": finish}])


# -- whole or broken -------------------------------------------------------------------------------------------------


def completed(size: int, *, usage_first: bool = False) -> bytes:
    """The last event of a response with an output of this size."""
    usage = {"input_tokens": 11, "output_tokens": 7}
    output = [{"type": "message", "content": [{"type": "output_text", "text": "x" * size}]}]
    response = {"id": "resp_1", "status": "completed", "output": output, "usage": usage}
    if usage_first:
        response = {"id": "resp_1", "usage": usage, "status": "completed", "output": output}
    return b"event: response.completed\n" + event(type="response.completed", response=response)


CREATED = event(type="response.created", response={"id": "resp_1"})
DELTA = event(type="response.output_text.delta", delta="hi")
SCHEMA = {"type": "object", "properties": {"error": {"type": "string"}}}
LISTED = event(
    type="response.output_item.done",
    item={"type": "mcp_list_tools", "tools": [{"input_schema": SCHEMA}] * 1_500},
)
CALLED = event(
    type="response.output_item.done",
    item={"type": "mcp_call", "error": {"type": "mcp_error"}, "output": "x" * 85_000},
)
WHOLE: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "no end mark": (CHAT, {}, ROLE + CONTENT + STOP),
    "usage and no end mark": (CHAT, {}, CONTENT + STOP + USAGE_CHUNK),
    "another reason": (CHAT, {}, CONTENT + chunk("{}", '"Max-Tokens"')),
    "nothing to say": (CHAT, {}, ROLE + STOP),
    "two choices": (CHAT, {"n": 2}, of_choice(0, "a") + of_choice(1, "b", "stop") + of_choice(0, None, "stop")),
    "one choice of two asked": (CHAT, {"n": 2}, of_choice(0, "a") + of_choice(0, None, "stop")),
    "a text": (COMPLETIONS, {}, event(choices=[{"index": 0, "text": "a", "finish_reason": "stop"}])),
    "a large response": (RESPONSES, {}, CREATED + DELTA + completed(1_500_000)),
    "a large response, usage first": (RESPONSES, {}, CREATED + completed(3_000_000, usage_first=True)),
    "a large event of a chat": (CHAT, {}, chunk('{"content":"' + "x" * 1_500_000 + '"}', '"stop"')),
    "a large list of tools, one with an error in its schema": (RESPONSES, {}, CREATED + LISTED + completed(10)),
    "a large output of a call that failed": (RESPONSES, {}, CREATED + CALLED + completed(10)),
    "a byte order mark": (CHAT, {}, b"\xef\xbb\xbf" + GOOD_STREAM),
}  # fmt: skip


@pytest.mark.parametrize(("target", "fields", "events"), WHOLE.values(), ids=WHOLE)
def test_a_stream_without_anything_missing_is_whole(
    relay: Relay, platform: Platform, target: str, fields: Any, events: bytes
) -> None:
    with stable_of(relay, platform, stream(events)) as measured:
        shown = {"stream_options": {"include_usage": True}}
        answer = ask(relay, target, stream=True, **fields, **shown)
        assert (answer.status, answer.body) == (200, events)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)


@pytest.mark.parametrize("usage_first", [False, True])
def test_the_usage_of_a_large_response_is_read(
    relay: Relay, platform: Platform, usage_first: bool
) -> None:
    events = CREATED + DELTA + completed(1_500_000, usage_first=usage_first)
    with stable_of(relay, platform, stream(events)) as measured:
        assert ask(relay, RESPONSES, stream=True, input="x").body == events
        measured.settled(1)
        assert measured.slo("tokens_total", kind="input") == 11
        assert measured.slo("tokens_total", kind="output") == 7


def test_a_stream_whose_end_mark_came_is_whole_though_its_connection_breaks(
    relay: Relay, platform: Platform
) -> None:
    unended = STREAM_HEAD + piece(GOOD_STREAM)
    with scripted(ScriptedProvider([unended], closes=True)) as other:
        measured = Measured(
            relay, platform, providers=[provider("stable", other.url)], canary=side("stable")
        )
        answer = ask(relay, stream=True)
        assert answer.body.endswith(DONE)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)


def test_a_stream_whose_end_mark_came_is_whole_though_its_message_never_ends(
    relay: Relay, platform: Platform
) -> None:
    with stable_of(relay, platform, (STREAM_HEAD + piece(GOOD_STREAM), 5.0)) as measured:
        answer = ask(relay, stream=True)
        assert answer.body.endswith(DONE)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)


CUT: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "before its reason": (CHAT, {}, ROLE + CONTENT),
    "one of two choices": (CHAT, {"n": 2}, of_choice(0, "a") + of_choice(1, "b") + of_choice(0, None, "stop")),
    "one of two texts": (
        COMPLETIONS,
        {"prompt": ["x", "y"]},
        event(choices=[{"index": 1, "text": "b"}])
        + event(choices=[{"index": 0, "text": "a", "finish_reason": "stop"}]),
    ),
    "a response": (RESPONSES, {}, CREATED + DELTA),
    "a large event": (CHAT, {}, CONTENT + chunk('{"content":"' + "x" * 1_500_000 + '"}')),
}  # fmt: skip


@pytest.mark.parametrize(("target", "fields", "events"), CUT.values(), ids=CUT)
def test_a_stream_of_which_something_is_missing_is_broken(
    relay: Relay, platform: Platform, target: str, fields: Any, events: bytes
) -> None:
    with stable_of(relay, platform, stream(events)) as measured:
        answer = ask(relay, target, stream=True, **fields)
        assert b"upstream_truncated" in answer.body
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1, truncated=1)


# -- an error under a status of success ---------------------------------------------------------------------------------


def error(**fields: Any) -> bytes:
    return orjson.dumps({"error": {"message": "their words", **fields}})


ERRORS: dict[str, tuple[bytes, int, str]] = {
    "a failure": (error(type="server_error"), 502, "failed"),
    "a failure's number": (error(code=500), 502, "failed"),
    "no kind": (error(), 502, "failed"),
    "a text": (b'{"error":"their words"}', 502, "failed"),
    "Gemini's list": (b'[{"error":{"code":500,"message":"their words"}}]', 502, "failed"),
    "a caller's mistake": (error(type="invalid_request_error"), 400, "client_error"),
    "a caller's number": (error(code=422), 422, "client_error"),
    "vLLM's object": (
        b'{"object":"error","message":"their words","type":"BadRequestError","code":400}',
        400,
        "client_error",
    ),
    "a quota": (error(type="rate_limit_error"), 429, "throttled"),
    "an overload": (error(type="overloaded_error"), 503, "failed"),
    "within a choice": (
        b'{"choices":[{"error":{"code":502,"message":"their words"},"finish_reason":"error"}]}',
        502,
        "failed",
    ),
}


@pytest.mark.parametrize(("body", "status", "outcome"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("how", ["unary", "chunked", "first event", "JSON instead of a stream"])
def test_an_error_under_a_status_of_success_is_one_for_the_caller_too(
    relay: Relay, platform: Platform, body: bytes, status: int, outcome: str, how: str
) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + piece(body) + END
    answers = {
        "unary": unary(body),
        "chunked": chunked,
        "first event": stream(b": hello\n\ndata: " + body + b"\n\n" + DONE),
        "JSON instead of a stream": stream(body),
    }
    with stable_of(relay, platform, answers[how]) as measured:
        answer = ask(relay, stream="stream" in how or "event" in how)
        assert answer.status == status
        assert answer.error()["message"] == "their words"
        measured.settled(1)
        assert measured.outcomes() == {outcome: 1}
        assert measured.slo("tokens_total") == 0


def test_a_long_error_keeps_its_words(relay: Relay, platform: Platform) -> None:
    # FastAPI's validation errors repeat what was sent
    body = error(type="invalid_request_error", input="x" * 300_000)
    with stable_of(relay, platform, unary(body, status=b"422 X")):
        answer = ask(relay)
        assert (answer.status, answer.body) == (422, body)


@pytest.mark.parametrize("stream_", [False, True], ids=["unary", "stream"])
def test_the_relays_account_is_no_matter_of_the_caller(
    relay: Relay, platform: Platform, stream_: bool
) -> None:
    body = error(type="invalid_request_error", code="invalid_api_key")
    first = b"data: " + body + b"\n\n"
    with stable_of(relay, platform, stream(first) if stream_ else unary(body)) as measured:
        answer = ask(relay, stream=stream_)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_unauthorized")
        assert b"their words" not in answer.body
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)


@pytest.mark.parametrize("stream_", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(
    ("fields", "hops"),
    [
        ({"type": "rate_limit_error"}, True),
        ({"code": 429}, True),
        ({"type": "overloaded_error"}, True),
        ({"code": 529}, True),
        ({"status": "UNAVAILABLE"}, True),
        ({"type": "server_error"}, False),
        ({"code": 500}, False),
        ({"type": "invalid_request_error"}, False),
    ],
)
def test_a_call_hops_only_where_the_error_says_that_it_was_not_taken(
    relay: Relay,
    platform: Platform,
    stable: Upstream,
    fields: dict[str, Any],
    hops: bool,
    stream_: bool,
) -> None:
    body = error(**fields)
    answer = stream(b"data: " + body + b"\n\n") if stream_ else unary(body)
    with scripted(ScriptedProvider([answer])) as other:
        providers = [provider("stable", stable.url), provider("canary", other.url)]
        Measured(relay, platform, providers=providers, canary_percent=100)
        assert (ask(relay, stream=stream_).status == 200) == hops
        assert stable.calls() == int(hops)


def test_an_error_after_the_head_has_left_is_passed_on_and_counted(
    relay: Relay, platform: Platform
) -> None:
    gate = threading.Event()
    first = b"data: " + error(type="server_error") + b"\n\n"
    script = (STREAM_HEAD, gate, piece(first) + END)
    with stable_of(relay, platform, script) as measured, relay.wire() as wire:
        begin(wire, stream=True)
        head = wire.head()
        gate.set()
        assert (head.status, wire.body_of(head).body) == (200, first)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)


@pytest.mark.parametrize("size", [100, 300_000], ids=["small", "more than is held"])
def test_an_error_behind_content_is_a_failure_whatever_its_size(
    relay: Relay, platform: Platform, size: int
) -> None:
    last = b"data: " + error(type="server_error", input="x" * size) + b"\n\n"
    events = CONTENT + last + DONE
    with stable_of(relay, platform, stream(events)) as measured:
        assert ask(relay, stream=True).body == events
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)


def begin(wire: Wire, **fields: Any) -> None:
    """Sends a chat call."""
    body = orjson.dumps({"model": MODEL, "messages": [], **fields})
    wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, body))


# -- begun or not --------------------------------------------------------------------------------------------------------

SLOW = {"objectives": (LatencyObjective(signal="FirstToken", max_milliseconds=300),)}
NOT_BEGUN = {
    "a head": b"",
    "a comment": b": processing\n\n",
    "a role": ROLE,
    "an empty delta": chunk('{"role":"assistant","content":null,"reasoning_content":"","tool_calls":[]}'),
    "Azure's filter": event(choices=[], prompt_filter_results=[{"prompt_index": 0}]),
    "a response": CREATED + event(type="response.in_progress", response={"id": "resp_1"}),
    "an empty item": event(type="response.output_item.added", item={"type": "reasoning"}),
}  # fmt: skip
BEGUN = {
    "content": CONTENT,
    "reasoning": chunk('{"reasoning_content":"hm"}'),
    "OpenRouter's reasoning": chunk('{"content":"","reasoning":"hm"}'),
    "a tool call": chunk('{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}'),
    "a refusal": chunk('{"refusal":"no"}'),
    "a text": event(choices=[{"index": 0, "text": "a"}]),
    "an output": DELTA,
    "a thought": event(type="response.reasoning_summary_text.delta", delta="hm"),
    "a call": event(type="response.output_item.added", item={"type": "function_call"}),
}  # fmt: skip


@pytest.mark.parametrize("first", NOT_BEGUN.values(), ids=NOT_BEGUN)
def test_the_time_to_first_token_does_not_end_before_there_is_one(
    relay: Relay, platform: Platform, first: bytes
) -> None:
    script = (
        STREAM_HEAD + (piece(first) if first else b""),
        0.5,
        piece(CONTENT + STOP + DONE),
        END,
    )
    with stable_of(relay, platform, script, **SLOW) as measured:
        ask(relay, stream=True)
        measured.settled(1)
        assert measured.slo("attempts_timed_total", signal="FirstToken") == 1
        assert measured.slo("attempts_slow_total", signal="FirstToken") == 1


@pytest.mark.parametrize("first", BEGUN.values(), ids=BEGUN)
def test_the_time_to_first_token_ends_with_it(
    relay: Relay, platform: Platform, first: bytes
) -> None:
    rest = piece(CONTENT + STOP + DONE) + END
    with stable_of(relay, platform, (STREAM_HEAD + piece(first), 0.5, rest), **SLOW) as measured:
        ask(relay, stream=True)
        measured.settled(1)
        assert measured.slo("attempts_timed_total", signal="FirstToken") == 1
        assert measured.slo("attempts_slow_total", signal="FirstToken") == 0


def test_blanks_in_front_of_a_document_are_no_token(relay: Relay, platform: Platform) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    script = (head + piece(b"\n"), 0.5, piece(CHAT_ANSWER) + END)
    with stable_of(relay, platform, script, **SLOW) as measured:
        assert ask(relay).json()["choices"]
        measured.settled(1)
        assert measured.slo("attempts_slow_total", signal="FirstToken") == 1


@pytest.fixture
def thinking_relay(new_relay: NewRelay) -> Relay:
    """Starts a relay that waits longer for a first byte than for a next one."""
    return new_relay(first_byte_timeout_seconds="6", upstream_idle_timeout_seconds="1")


@pytest.mark.parametrize("kind", ["a head", "a comment", "a role", "a response"])
def test_a_model_that_thinks_keeps_the_patience_for_the_first_byte(
    thinking_relay: Relay, platform: Platform, kind: str
) -> None:
    first = NOT_BEGUN[kind]
    begun = STREAM_HEAD + (piece(first) if first else b"")
    rest = piece(CONTENT + STOP + DONE) + END
    with stable_of(thinking_relay, platform, (begun, 3.0, rest)) as measured:
        answer = ask(thinking_relay, stream=True)
        assert answer.body.endswith(DONE)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)


def test_a_model_that_falls_silent_after_its_first_token_has_no_such_patience(
    thinking_relay: Relay, platform: Platform
) -> None:
    script = (STREAM_HEAD + piece(ROLE + CONTENT), 3.0, piece(STOP + DONE) + END)
    with stable_of(thinking_relay, platform, script) as measured:
        answer = ask(thinking_relay, stream=True)
        assert b"upstream_timeout" in answer.body
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1, truncated=1)


# -- whatever it calls itself --------------------------------------------------------------------------------------------

TYPES = [
    "text/event-stream",
    "TEXT/EVENT-STREAM; charset=utf-8",
    "Text/Event-Stream",
    "application/octet-stream",
    "application/json",
    "text/plain",
    "",
]


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("first", [CONTENT, b": hello\n\n" + CONTENT, b"\n" + CONTENT])
def test_a_stream_is_passed_on_at_once_and_read_whatever_its_type(
    relay: Relay, platform: Platform, type_: str, first: bytes
) -> None:
    gate = threading.Event()
    field = f"content-type: {type_}\r\n" if type_ else ""
    head = f"HTTP/1.1 200 OK\r\n{field}transfer-encoding: chunked\r\n\r\n".encode()
    script = (head + piece(first), gate, piece(STOP + USAGE_CHUNK + DONE) + END)
    with stable_of(relay, platform, script) as measured, relay.wire() as wire:
        begin(wire, stream=True)
        answer = wire.head()
        seen = b""
        while CONTENT not in seen:
            seen += wire.chunk()
        gate.set()
        assert wire.body_of(answer).body == STOP + DONE
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)
        assert measured.slo("tokens_total", kind="input") == 3


@pytest.mark.parametrize("type_", ["application/json; charset=UTF-8", "APPLICATION/JSON", "text/x"])
def test_a_document_is_read_whatever_its_type(relay: Relay, platform: Platform, type_: str) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {type_}\r\ncontent-length: {len(CHAT_ANSWER)}\r\n\r\n"
    with stable_of(relay, platform, head.encode() + CHAT_ANSWER) as measured:
        assert ask(relay).body == CHAT_ANSWER
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)
        assert measured.slo("tokens_total", kind="input") == 3


def test_a_document_for_a_call_that_asked_for_a_stream_is_passed_on_and_is_no_success(
    relay: Relay, platform: Platform
) -> None:
    with stable_of(relay, platform, unary(CHAT_ANSWER)) as measured:
        answer = ask(relay, stream=True)
        assert (answer.status, answer.body) == (200, CHAT_ANSWER)
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)
        assert measured.slo("tokens_total", kind="input") == 3


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_document_is_passed_on_unchanged_and_read(
    relay: Relay, platform: Platform, coding: str
) -> None:
    packed = CODINGS[coding](CHAT_ANSWER)
    field = f"content-encoding: {coding}\r\n".encode()
    with stable_of(relay, platform, unary(packed, fields=field)) as measured:
        answer = ask(relay)
        assert (answer.status, answer.body) == (200, packed)
        assert answer.header("content-encoding") == coding
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)
        assert measured.slo("tokens_total", kind="input") == 3


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_stream_is_passed_on_at_once_and_read(
    relay: Relay, platform: Platform, coding: str
) -> None:
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    first = packer.compress(ROLE + CONTENT) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = packer.compress(STOP + USAGE_CHUNK + DONE) + packer.flush()
    gate = threading.Event()
    head = STREAM_HEAD.replace(b"\r\n\r\n", f"\r\ncontent-encoding: {coding}\r\n\r\n".encode())
    script = (head + piece(first), gate, piece(rest) + END)
    with stable_of(relay, platform, script) as measured, relay.wire() as wire:
        begin(wire, stream=True)
        answer = wire.head()
        assert wire.chunk() == first
        gate.set()
        assert wire.body_of(answer).body == rest
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)
        assert measured.slo("tokens_total", kind="output") == 1


@pytest.mark.parametrize("stream_", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
def test_what_cannot_be_read_is_passed_on_at_once_and_is_no_failure(
    relay: Relay, platform: Platform, coding: str, stream_: bool
) -> None:
    gate = threading.Event()
    head = (
        STREAM_HEAD if stream_ else STREAM_HEAD.replace(b"text/event-stream", b"application/json")
    )
    head = head.replace(b"\r\n\r\n", f"\r\ncontent-encoding: {coding}\r\n\r\n".encode())
    script = (head + piece(b"\x0b\x02\x80"), gate, piece(b"hi\x03") + END)
    with stable_of(relay, platform, script) as measured, relay.wire() as wire:
        begin(wire, stream=stream_)
        answer = wire.head()
        assert wire.chunk() == b"\x0b\x02\x80"
        gate.set()
        assert wire.body_of(answer).body == b"hi\x03"
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1)


def test_a_compressed_stream_that_is_cut_does_not_end_like_a_whole_one(
    relay: Relay, platform: Platform
) -> None:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    script = head + piece(gzip.compress(ROLE + CONTENT)) + END
    with stable_of(relay, platform, script) as measured:
        # what was read whole before any of it left can still be refused
        with contextlib.suppress(Gone):
            assert ask(relay, stream=True).status == 502
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1, truncated=1)


@pytest.mark.parametrize("body", [CHAT_ANSWER, b"<html>"])
def test_what_is_no_stream_ends_with_an_error_once_its_head_has_left(
    relay: Relay, platform: Platform, body: bytes
) -> None:
    gate = threading.Event()
    script = (STREAM_HEAD, gate, piece(body) + END)
    with stable_of(relay, platform, script) as measured, relay.wire() as wire:
        begin(wire, stream=True)
        head = wire.head()
        gate.set()
        seen = wire.body_of(head).body
        assert body not in seen
        assert b"upstream_invalid" in seen
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)


def test_what_nobody_can_decode_is_no_answer(relay: Relay, platform: Platform) -> None:
    packed = gzip.compress(CHAT_ANSWER)
    broken = packed[:12] + bytes(len(packed) - 12)
    answer = unary(broken, fields=b"content-encoding: gzip\r\n")
    with stable_of(relay, platform, answer) as measured:
        assert ask(relay).status == 502
        measured.settled(1)
        assert measured.counts() == exactly(started=1, finished=1, failed=1)


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_compressed_error_is_read(relay: Relay, platform: Platform, status: int) -> None:
    body = error(type="invalid_request_error", param=None, code=None)
    packed = unary(
        gzip.compress(body),
        status=f"{status} X".encode(),
        fields=b"content-encoding: gzip\r\n",
    )
    with stable_of(relay, platform, packed):
        answer = ask(relay)
        assert (answer.status, answer.body) == (status, body)
        assert answer.header("content-encoding") is None


def test_a_document_that_takes_its_time_is_not_kept_from_its_reader(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay(stream_keepalive_seconds="1")
    gate = threading.Event()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    script = (head + piece(b"\n"), gate, piece(CHAT_ANSWER) + END)
    with stable_of(relay, platform, script), relay.wire() as wire:
        begin(wire)
        answer = wire.head()
        assert wire.chunk() == b"\n"
        gate.set()
        assert wire.body_of(answer).body == CHAT_ANSWER
