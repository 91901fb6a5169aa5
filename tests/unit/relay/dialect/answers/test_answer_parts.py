"""What answers consist of: texts and tool calls, in documents and in streams of both APIs."""

import json
from typing import Any

import pytest

from relay.dialect.answers.answer_content import decoded
from relay.dialect.answers.answer_parts import AnswerParts, parts_of_document, parts_of_stream
from relay.dialect.endpoints import Endpoint

CHAT, COMPLETIONS, RESPONSES = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES

DEEP = decoded(b"[" * 1000 + b"]" * 1000)


def events(*payloads: Any) -> bytes:
    lines = [b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads]
    return b"".join(lines) + b"data: [DONE]\n\n"


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **fields}}]}


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def tool(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}


def piece(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "function": function}


def read(parts: AnswerParts) -> tuple[list[str], Any, bool]:
    return parts.texts, parts.tools(), parts.empty


@pytest.mark.parametrize(
    ("document", "endpoint", "expected"),
    [
        (message(content="hi"), CHAT, (["hi"], (), False)),
        (message(content=None), CHAT, ([""], (), True)),
        (message(content=" \n"), CHAT, ([" \n"], (), True)),
        (
            message(content=[{"type": "text", "text": "a"}, {"text": "b"}]),
            CHAT,
            (["ab"], (), False),
        ),
        (message(content="", refusal="no"), CHAT, ([""], (), False)),
        (
            message(tool_calls=[tool("f", '{"b":1,"a":2}')]),
            CHAT,
            ([""], (("f", ("a", "b")),), False),
        ),
        (message(tool_calls=[tool("f", {"b": 1})]), CHAT, ([""], (("f", ("b",)),), False)),
        (message(tool_calls=[tool("f", {"a": DEEP})]), CHAT, ([""], (("f", ("a",)),), False)),
        (message(tool_calls=[tool("f", DEEP)]), CHAT, ([""], None, False)),
        (message(tool_calls=[tool("f", None)]), CHAT, ([""], None, False)),
        (message(tool_calls=[tool("f", "")]), CHAT, ([""], (("f", ()),), False)),
        (message(tool_calls=[tool("f", '{"a":')]), CHAT, ([""], None, False)),
        (message(tool_calls=[tool("f", "[1]")]), CHAT, ([""], None, False)),
        (
            message(function_call={"name": "f", "arguments": "{}"}),
            CHAT,
            ([""], (("f", ()),), False),
        ),
        (
            message(tool_calls=[tool("z", "{}"), tool("a", "{}")]),
            CHAT,
            ([""], (("a", ()), ("z", ())), False),
        ),
        ({"choices": [{"text": "t"}, {"text": ""}]}, COMPLETIONS, (["t", ""], (), False)),
        (
            {"output": [{"type": "message", "content": [{"type": "output_text", "text": "t"}]}]},
            RESPONSES,
            (["t"], (), False),
        ),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "name": "f", "arguments": '{"a":1}'},
                ]
            },
            RESPONSES,
            ([""], (("f", ("a",)),), False),
        ),
        ({"output": [{"type": "reasoning"}]}, RESPONSES, ([""], (), True)),
        ({"output": [{"type": "web_search_call"}]}, RESPONSES, ([""], (), False)),
        ({"choices": "odd"}, CHAT, ([], (), True)),
        (
            {"choices": [{"message": {"content": 3, "tool_calls": {"a": 1}}}]},
            CHAT,
            ([""], (), True),
        ),
        ({"output": {"a": 1}}, RESPONSES, ([""], (), True)),
    ],
)
def test_a_document_is_read_by_its_parts(
    document: dict[str, Any], endpoint: Endpoint, expected: Any
) -> None:
    assert read(parts_of_document(document, endpoint)) == expected


@pytest.mark.parametrize(
    ("stream", "endpoint", "expected"),
    [
        (
            events(delta(role="assistant"), delta(content="a"), delta(content="b")),
            CHAT,
            (["ab"], (), False),
        ),
        (events(delta(role="assistant", content="")), CHAT, ([""], (), True)),
        (
            events(
                delta(tool_calls=[piece(0, name="f", arguments="")]),
                delta(tool_calls=[piece(0, arguments='{"a"'), piece(1, name="g", arguments="{}")]),
                delta(tool_calls=[piece(0, name="f", arguments=":1}")]),
            ),
            CHAT,
            ([""], (("f", ("a",)), ("g", ())), False),
        ),
        (
            events(delta(function_call={"name": "f"}), delta(function_call={"arguments": "{}"})),
            CHAT,
            ([""], (("f", ()),), False),
        ),
        (
            events(delta(tool_calls=[piece(0, name="f", arguments='{"a')])),
            CHAT,
            ([""], None, False),
        ),
        (
            events({"choices": [{"text": "a"}]}, {"choices": [{"text": "b"}]}),
            COMPLETIONS,
            (["ab"], (), False),
        ),
        (
            events(
                {
                    "type": "response.output_item.done",
                    "item": {"type": "function_call", "name": "f", "arguments": '{"a":1}'},
                },
                {
                    "type": "response.output_item.done",
                    "item": {"type": "message", "content": [{"text": "t"}]},
                },
                {"type": "response.completed", "response": {"output": []}},
            ),
            RESPONSES,
            (["t"], (("f", ("a",)),), False),
        ),
        (b"data: {broken\n\ndata: [1]\n\n", CHAT, ([], (), True)),
    ],
)
def test_a_stream_is_read_by_its_parts(stream: bytes, endpoint: Endpoint, expected: Any) -> None:
    assert read(parts_of_stream(stream, endpoint)) == expected


@pytest.mark.parametrize(
    ("text", "valid"),
    [('{"a":1}', True), ("[1]", True), ("", True), ("```json\n{}\n```", False), ('{"a":', False)],
)
def test_a_text_is_json_or_is_not(text: str, valid: bool) -> None:
    assert parts_of_document(message(content=text), CHAT).texts_are_json() is valid
