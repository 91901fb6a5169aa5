"""Calls of tools in answers: none that is not granted gets through, in whatever pieces an answer comes."""

import codecs
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.chat.granted import HIDING

from relay.tools.chat.answer_guard import (
    MAX_HELD_BYTES,
    AnswerGuard,
)

SECRET = "c0ffee"
"""Stands in the arguments of every call that is not granted."""


def event(payload: dict[str, Any], *, end: str = "\n", name: str = "") -> bytes:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(payload)}{end}{end}".encode()


def delta(*calls: dict[str, Any], choice: int = 0, **fields: Any) -> dict[str, Any]:
    parts = {"tool_calls": list(calls), **fields} if calls else fields
    return {"choices": [{"index": choice, "delta": parts, "finish_reason": None}]}


def piece(
    name: str | None = None, arguments: str = "", *, index: int | None = 0, **fields: Any
) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    place = {} if index is None else {"index": index}
    return {**place, "function": function, **fields}


def item(name: str, kind: str = "function_call", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": "i1", "name": name, "arguments": "", **fields}


def block(name: str, kind: str = "tool_use") -> dict[str, Any]:
    return {"type": kind, "id": "b1", "name": name, "input": {"a": SECRET}}


def begun(*blocks: dict[str, Any]) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": [*blocks]}
    return {"type": "message_start", "message": message}


def argument(said: str, index: int = 0) -> dict[str, Any]:
    delta = {"type": "input_json_delta", "partial_json": said}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def candidate(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An answer in Gemini's own shape."""
    content = {"role": "model", "parts": [*parts]}
    return {"candidates": [{"index": 0, "content": content}], **fields}


def gemini(name: str) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"a": SECRET}}}


def bedrock(name: str) -> dict[str, Any]:
    """The beginning of a call in the shape of Bedrock's Converse."""
    start = {"toolUse": {"toolUseId": "t", "name": name}}
    return {"contentBlockStart": {"contentBlockIndex": 0, "start": start}}


def converse(said: str) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolUse": {"input": said}}}}


def added(one: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": one}


def passed(events: list[bytes]) -> tuple[bytes, bool]:
    """What gets through of a stream, and whether it was stopped."""
    guard = AnswerGuard(HIDING)
    through = b"".join(map(guard.events, events)) + guard.rest()
    return through, guard.refuses


PERMITTED_STREAMS: dict[str, list[dict[str, Any]]] = {
    "words": [delta(content="the word tool_calls"), delta(content="x", tool_calls=None)],
    "a call in pieces": [delta(piece("read_invoice", id="a")), delta(piece(None, '{"a"')), delta(piece(None, ":1}"))],
    "its name again and again": [delta(piece("read_invoice", "{")), delta(piece("read_invoice", "}"))],
    "two calls": [delta(piece("read_invoice"), piece("mail__send", index=1)), delta(piece(None, "{}", index=1))],
    "two calls of one index": [delta(piece("read_invoice", "{}", id="a")), delta(piece("mail__send", "{}", id="b"))],
    "calls without an index": [delta(piece("read_invoice", "{}", index=None), piece("mail__send", "{}", index=None))],
    "an id before the name": [delta({"index": 0, "id": "a", "function": {"name": "", "arguments": ""}}), delta(piece("read_invoice"))],
    "a custom tool": [delta({"index": 0, "type": "custom", "custom": {"name": "mail__send", "input": "hi"}})],
    "a call of old": [delta(function_call={"name": "read_invoice", "arguments": ""}), delta(function_call={"arguments": "{}"})],
    "a block": [{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "read_invoice", "input": {}}}],
    "a block in pieces": [
        {"type": "message_start", "message": {"type": "message", "role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "read_invoice", "input": {}}},
        argument('{"a"', 1),
        argument(":1}", 1),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ],
    "a message that begins with its block": [begun({"type": "tool_use", "name": "read_invoice", "input": {}}), argument("{}")],
    "a block that only tells": [{"type": "content_block_start", "index": 0, "content_block": {"type": "function_call_output", "output": "x"}}],
    "parts of words": [{"type": "response.content_part.added", "part": {"type": "output_text", "text": "tool_use"}}],
    "blocks of words": [delta(content=[{"type": "text", "text": "tool_use"}, "tool", {"type": 7}])],
    "a call in Gemini's shape": [
        candidate({"text": "one tool"}, gemini("read_invoice"), usageMetadata={"toolUsePromptTokenCount": 3}),
        candidate(gemini("mail__send")),
    ],
    "a call in Bedrock's shape": [bedrock("read_invoice"), converse('{"a"'), converse(":1}"), {"messageStop": {"stopReason": "tool_use"}}],
    "arguments that look like a call": [
        candidate({"functionCall": {"name": "read_invoice", "args": {"tool_calls": [{"name": "pay"}], "functionCall": {"name": "pay"}}}}),
        begun({"type": "tool_use", "name": "read_invoice", "input": {"tool_calls": [{"name": "pay"}]}}),
    ],
    "tools whose schemas look like a call": [
        {"type": "response.created", "response": {"tools": [{"type": "function", "name": "read_invoice", "parameters": {"properties": {"tool_call": {"name": "pay"}}}}], "output": []}},
    ],
    "what was used": [delta(content="x", usage={"tool_calls": {"web_search": 0}}), {"choices": [], "usage": {"server_tool_use": {"tool_calls": 1}}}],
    "a response": [
        {"type": "response.created", "response": {"id": "r", "tools": [{"type": "function", "name": "read_invoice"}], "output": []}},
        added(item("read_invoice")),
        {"type": "response.function_call_arguments.delta", "item_id": "i1", "output_index": 0, "delta": "{"},
        {"type": "response.function_call_arguments.done", "item_id": "i1", "output_index": 0, "name": "read_invoice", "arguments": "{}"},
        {"type": "response.output_item.done", "output_index": 0, "item": item("read_invoice", arguments="{}")},
        added({"type": "reasoning", "summary": []}, 1),
        {"type": "response.completed", "response": {"output": [item("read_invoice"), {"type": "message", "content": []}]}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("payloads", PERMITTED_STREAMS.values(), ids=PERMITTED_STREAMS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_granted_passes_byte_by_byte(payloads: list[dict[str, Any]], end: str) -> None:
    events = [event(payload, end=end) for payload in payloads]
    assert passed(events) == (b"".join(events), False)
    whole = b"".join(events)
    assert passed([whole[at : at + 1] for at in range(len(whole))]) == (whole, False)


DENIED_EVENTS: dict[str, list[dict[str, Any]]] = {
    "a call": [delta(piece("pay", SECRET))],
    "one beside a granted one": [delta(piece("read_invoice"), piece("pay", SECRET, index=1))],
    "one of another choice": [delta(piece("read_invoice")), delta(piece("pay", SECRET), choice=1)],
    "a name in two pieces": [delta(piece("read_invoice")), delta(piece("_all", SECRET))],
    "a granted name that goes on": [delta(piece("read_invoice")), delta(piece("list_orders", SECRET))],
    "arguments before the name": [delta(piece(None, SECRET)), delta(piece("pay"))],
    "arguments of a choice that called nothing": [delta(piece("read_invoice")), delta(piece(None, SECRET), choice=1)],
    "a call of old": [delta(function_call={"name": "pay", "arguments": SECRET})],
    "a custom tool": [delta({"index": 0, "custom": {"name": "pay", "input": SECRET}})],
    "two names": [delta({"index": 0, "function": {"name": "read_invoice"}, "custom": {"name": "pay", "input": SECRET}})],
    "a tool of the provider's": [delta({"index": 0, "type": "web_search", "function": {"name": "read_invoice", "arguments": SECRET}})],
    "calls that are no list": [delta(tool_calls={"0": piece("pay", SECRET)})],
    "a call that is no object": [delta(tool_calls=[SECRET])],
    "a name that is no text": [delta({"index": 0, "function": {"name": ["pay"], "arguments": SECRET}})],
    "choices that are no list": [{"choices": {"0": delta(piece("pay", SECRET))}}],
    "in a message": [{"choices": [{"message": {"tool_calls": [piece("pay", SECRET)]}}]}],
    "an item": [added(item("pay", arguments=SECRET))],
    "a custom item": [added(item("pay", "custom_tool_call", input=SECRET))],
    "a hosted item": [added({"type": "web_search_call", "action": {"query": SECRET}})],
    "a connector's item": [added(item("read_invoice", "mcp_call", arguments=SECRET))],
    "an item of a kind that nobody knows": [added({"type": "program", "code": SECRET})],
    "an item that is done": [{"type": "response.output_item.done", "item": item("pay", arguments=SECRET)}],
    "arguments of no item": [{"type": "response.function_call_arguments.delta", "item_id": "i1", "output_index": 0, "delta": SECRET}],
    "a block": [{"type": "content_block_start", "index": 0, "content_block": block("pay")}],
    "a block in a delta": [delta(content=[block("pay")])],
    "a block that its provider runs": [{"type": "content_block_start", "content_block": block("read_invoice", "server_tool_use")}],
    "a block with which a message begins": [begun(block("pay"))],
    "a block of its provider's with which a message begins": [begun({"type": "text", "text": ""}, block("search", "server_tool_use"))],
    "a block in a part": [{"type": "response.content_part.added", "item_id": "i1", "output_index": 0, "content_index": 0, "part": block("pay")}],
    "a block in a part that is done": [{"type": "response.content_part.done", "part": block("pay")}],
    "an item in a part": [{"type": "response.content_part.added", "part": item("pay", arguments=SECRET)}],
    "a hosted item in a part": [{"type": "response.content_part.added", "part": {"type": "web_search_call", "action": SECRET}}],
    "an item in a message's content": [delta(content=[item("pay", arguments=SECRET)])],
    "a call in a message's content": [delta(content=[{"type": "tool_call", "name": "pay", "args": SECRET}])],
    "a call with which a message begins": [{"type": "message_start", "message": {"tool_calls": [piece("pay", SECRET)]}}],
    "a call in a delta of no choice": [{"type": "tool-call-start", "delta": {"message": {"tool_calls": {"function": {"name": "pay", "arguments": SECRET}}}}}],
    "a call of no choice": [{"tool_calls": [piece("pay", SECRET)]}],
    "arguments of no block": [argument(SECRET)],
    "arguments of another block": [{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "read_invoice"}}, argument(SECRET, 1)],
    "arguments that name another call": [
        added(item("read_invoice")),
        {"type": "response.function_call_arguments.done", "item_id": "i1", "output_index": 0, "name": "pay", "arguments": SECRET},
    ],
    "an event of a hosted tool": [{"type": "response.code_interpreter_call_code.delta", "delta": SECRET}],
    "a connector's tools": [{"type": "response.mcp_list_tools.completed", "item_id": SECRET}],
    "a call in Gemini's shape": [candidate(gemini("pay"))],
    "one beside a granted one in Gemini's shape": [candidate(gemini("read_invoice"), gemini("pay"))],
    "one in snake case": [candidate({"function_call": {"name": "pay", "args": {"a": SECRET}}})],
    "code that Gemini runs": [candidate({"executableCode": {"language": "PYTHON", "code": SECRET}})],
    "a call in Bedrock's shape": [bedrock("pay"), converse(SECRET)],
    "arguments of no call in Bedrock's shape": [converse(SECRET)],
    "a call that a gateway keeps beside the message": [delta(content="x", provider_specific_fields={"tool_calls": [piece("pay", SECRET)]})],
    "a call in an envelope": [{"data": {"choices": [delta(piece("pay", SECRET))["choices"][0]]}}],
    "a call by the name of its tool": [{"type": "tool-call", "toolCallId": "c", "toolName": "pay", "args": {"a": SECRET}}],
    "the whole response at its end": [{"type": "response.completed", "response": {"output": [item("pay", arguments=SECRET)]}}],
}  # fmt: skip


@pytest.mark.parametrize("payloads", DENIED_EVENTS.values(), ids=DENIED_EVENTS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stream_stops_before_the_first_argument(payloads: list[dict[str, Any]], end: str) -> None:
    before = [event(delta(content="hi"), end=end), *(event(one, end=end) for one in payloads[:-1])]
    whole = b"".join([*before, event(payloads[-1], end=end), event(delta(content="more"), end=end)])
    through, refuses = passed([whole])
    assert refuses
    assert SECRET.encode() not in through
    assert b"".join(before).startswith(through)
    bytewise, refuses = passed([whole[at : at + 1] for at in range(len(whole))])
    assert refuses
    # the last line end may have been cut in two
    assert bytewise.rstrip() == through.rstrip()


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"choices":[{"delta":{"tool\\u005fcalls":[{"function":{"name":"pay"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"\\u0074ool\\u005fcalls":[{"function":{"name":"pay"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"read_invoice","name":"pay"}}]}}]}\n\n',
        b'data: {"choices":[],"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay"}}]}}]}\n\n',
        b'data: {"choices":[{"delta":\ndata: {"tool_calls":[{"function":{"name":"pay"}}]}}]}\n\n',
        b'\xef\xbb\xbfdata: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay"}}]}}]}\n\n',
        b'event: response.function_call_arguments.delta\ndata: {"delta":"pay"}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay"}}]}}]} tail\n\n',
        b'data: [{"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay"}}]}}]}]\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay"}}]}}]}',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"pay\xff"}}]}}]}\n\n',
    ],
)  # fmt: skip
def test_an_event_that_is_spelled_otherwise_does_not_pass(data: bytes) -> None:
    assert passed([data]) == (b"", True)


@pytest.mark.parametrize(
    "data",
    [b": tool\n\n", b"data: tool_calls are coming\n\n", b'data: "tool_calls"\n\n', b"data: [DONE]\n\n", b"\n\n", b"event: tool\nid: 1\n\n", b'data: {"a":"\\u00e9"}\n\n'],
)  # fmt: skip
def test_comments_and_the_end_pass(data: bytes) -> None:
    assert passed([data]) == (data, False)


@pytest.mark.parametrize("more", [0, 1])
def test_an_event_without_an_end_is_held_only_so_long(more: int) -> None:
    guard = AnswerGuard(HIDING)
    pieces = [b"data: " + b"x" * 1018] * (MAX_HELD_BYTES // 1024) + [b"x" * more]
    assert b"".join(map(guard.events, pieces)) == b""
    assert guard.refuses == bool(more)
    assert len(guard.rest()) == (0 if more else MAX_HELD_BYTES)


def document_of(body: bytes, *, pieces: int = 2) -> tuple[bytes, bool]:
    guard = AnswerGuard(HIDING)
    size = len(body) // pieces + 1
    for at in range(0, len(body), size):
        guard.keep(body[at : at + size])
    return guard.document(), guard.refuses


def completion(*calls: dict[str, Any], **fields: Any) -> bytes:
    message = {"content": None, "tool_calls": list(calls), **fields}
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        completion(piece("read_invoice", "{}", index=None), piece("mail__send", "{}", index=None)),
        completion(),
        b'{"error":{"message":"no tool_calls here"}}',
        b'[{"error":{"message":"no tool_calls here"}}]',
        json.dumps(candidate(gemini("read_invoice"))).encode(),
        json.dumps([candidate(gemini("read_invoice")), candidate(gemini("mail__send"))]).encode(),
        json.dumps({"output": [item("read_invoice"), {"type": "message"}], "tools": []}).encode(),
        completion(content=[block("read_invoice"), block("mail__send")]),
        b"words that are no JSON",
        b"<html><body>Our tool_calls are mcp ready</body></html>",
        b'["tool_calls"]',
        b'{"choices":[{"message":{"content":"tool"},"logprobs":NaN}]}',
        b"",
    ],
)
def test_a_document_that_calls_what_is_granted_passes(body: bytes) -> None:
    assert document_of(body) == (body, False)


@pytest.mark.parametrize(
    "body",
    [
        completion(piece("pay")),
        completion(piece("read_invoice", "{}", index=None), piece("pay", index=None)),
        completion(piece(None, "{}")),
        completion(function_call={"name": "pay"}),
        completion(content=[{"type": "text", "text": "hi"}, block("pay")]),
        json.dumps({"type": "message", "content": [block("pay")]}).encode(),
        json.dumps({"output": [{"type": "message", "content": [block("pay")]}]}).encode(),
        json.dumps({"output": [item("pay")]}).encode(),
        json.dumps({"output": [{"type": "message", "content": [item("pay")]}]}).encode(),
        json.dumps({"message": {"role": "assistant", "tool_calls": [piece("pay")]}}).encode(),
        json.dumps({"output": [{"type": "message", "tool_calls": [piece("pay")]}]}).encode(),
        json.dumps({"output": [{"type": "file_search_call", "queries": []}]}).encode(),
        json.dumps({"output": {"type": "function_call"}}).encode(),
        json.dumps({"output": [None]}).encode(),
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"pay"}}]}}],"choices":[]}',
        b'\xef\xbb\xbf{"choices":[{"message":{"tool_calls":[{"function":{"name":"pay"}}]}}]}',
        *(
            '{"choices":[{"message":{"tool_calls":[{"function":{"name":"pay"}}]}}]}'.encode(coding)
            for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
        ),
        codecs.BOM_UTF16_BE
        + '{"choices":[{"message":{"tool_calls":[{"function":{"name":"pay"}}]}}]}'.encode(
            "utf-16-be"
        ),
        json.dumps(candidate(gemini("pay"))).encode(),
        json.dumps([candidate({"text": "x"}), candidate(gemini("pay"))]).encode(),
        b" [" + completion(piece("pay")) + b"]",
        b"\xef\xbb\xbf[[" + completion(piece("pay")) + b"]]",
        b'[{"choices":[{"message":{"tool_calls":[{"name":"pay"}]}}]}',
    ],
)
def test_a_document_that_calls_anything_else_does_not(body: bytes) -> None:
    assert document_of(body) == (b"", True)


def test_messages_that_stand_in_each_other_are_all_judged() -> None:
    guard, deep = AnswerGuard(HIDING), 200
    # without blanks, which is what can be read to that depth
    call = json.dumps({"tool_calls": [piece("pay")]}, separators=(",", ":")).encode()
    guard.keep(b'{"message":' * deep + call + b"}" * deep)
    assert guard.document() == b""
    assert guard.denied == "pay"


@pytest.mark.parametrize("words", [b"x", b"bWNwmcptool", b' \\"tool_calls\\": [1] '])
def test_a_long_document_passes_if_it_calls_nothing(words: bytes) -> None:
    long = (
        b'{"choices":[{"message":{"content":"' + words * (2 * 1024 * 1024 // len(words)) + b'"}}]}'
    )
    assert document_of(long) == (long, False)
    granted = long.replace(
        b'"content"', b'"tool_calls":[{"function":{"name":"read_invoice"}}],"content"'
    )
    assert document_of(granted) == (granted, False)
    denied = granted.replace(b"read_invoice", b"pay")
    assert document_of(denied) == (b"", True)
    assert document_of(b" " * (MAX_HELD_BYTES + 1), pieces=4) == (b"", True)


def test_a_long_event_passes_if_it_calls_nothing() -> None:
    done = {
        "type": "response.completed",
        "response": {"output": [{"type": "message", "content": "tool" * 400_000}]},
    }
    assert passed([event(done)]) == (event(done), False)


@pytest.mark.parametrize(
    "body",
    [b'{"choices":[{"message":{"tool_calls":[', b'{"tool_calls" NaN}', b" " * (MAX_HELD_BYTES + 1)],
)
def test_what_nobody_can_read_is_held_back_and_told_apart(body: bytes) -> None:
    guard = AnswerGuard(HIDING)
    guard.keep(body)
    assert guard.document() == b""
    assert (guard.refuses, guard.is_unreadable) == (True, True)
    guard = AnswerGuard(HIDING)
    guard.keep(completion(piece("pay")))
    assert guard.document() == b""
    assert (guard.refuses, guard.is_unreadable) == (True, False)


NAMES = st.sampled_from(["read_invoice", "list_orders", "pay", "send", "read", "_invoice", ""])
CALLS = st.lists(
    st.builds(
        piece,
        st.none() | NAMES,
        st.just(""),
        index=st.none() | st.integers(0, 1),
        id=st.none() | st.sampled_from(["a", "b"]),
    ),
    max_size=2,
)
EVENTS = st.lists(
    CALLS.map(lambda calls: delta(*calls, content="words"))
    | NAMES.map(lambda name: added(item(name)))
    | NAMES.map(lambda name: delta(function_call={"name": name, "arguments": ""})),
    max_size=6,
)
GRANTED = {"read_invoice", "list_orders"}


@given(
    payloads=EVENTS,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_no_denied_name_passes_whatever_the_pieces(
    payloads: list[dict[str, Any]], end: str, cuts: list[int]
) -> None:
    whole = b"".join(event(payload, end=end) for payload in payloads)
    places = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    through, refuses = passed([whole[a:b] for a, b in pairwise(places)])
    assert whole.startswith(through)
    assert (through == whole) or refuses
    for line in through.decode().splitlines():
        if line.startswith("data:"):
            assert called_in(json.loads(line[5:])) <= GRANTED
    if not refuses:
        assert all(called_in(payload) <= GRANTED for payload in payloads)


def called_in(payload: Any) -> set[str]:
    """Every name in an event, wherever it stands."""
    if isinstance(payload, dict):
        name = payload.get("name")
        own = {name} if isinstance(name, str) and name else set()
        return own.union(*map(called_in, payload.values()))
    return set().union(*map(called_in, payload)) if isinstance(payload, list) else set()
