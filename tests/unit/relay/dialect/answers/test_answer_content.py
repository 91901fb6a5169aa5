"""What is an answer, and which event carries one."""

from typing import Any

import pytest
from hypothesis import given
from tests.unit.relay.dialect.answers.test_error_report import JSON

from relay.dialect.answers.answer_content import decoded, generates, has_answer
from relay.dialect.endpoints import Endpoint


@pytest.mark.parametrize(
    ("data", "document"),
    [
        (b'{"a":1}', {"a": 1}),
        (b"\n {}", {}),
        (b'{"a":"\\ud83d"}', {"a": "\ud83d"}),
        (b"[Infinity]", [float("inf")]),
        (b"\xef\xbb\xbf{}", {}),
        (b"", None),
        (b"<html>", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_json_is_decoded_as_clients_do(data: bytes, document: object) -> None:
    assert decoded(data) == document


def choice(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("event", "carries"),
    [
        (choice(content="a"), True),
        (choice(content=[{"type": "text", "text": "a"}]), True),
        (choice(reasoning_content="a"), True),
        (choice(reasoning="a", content=""), True),
        (choice(thinking_blocks=[{"thinking": "a"}]), True),
        (choice(tool_calls=[{"index": 0, "id": "c"}]), True),
        (choice(function_call={"name": "f"}), True),
        (choice(refusal="no"), True),
        ({"choices": [{"text": "a"}]}, True),
        ({"choices": [{"delta": {}}, {"delta": {"content": "b"}}]}, True),
        ({"type": "response.output_text.delta", "delta": "a"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, True),
        ({"type": "response.web_search_call.searching"}, True),
        ({"type": "response.output_text.done", "text": "a"}, True),
        (choice(role="assistant"), False),
        (choice(role="assistant", content="", refusal=None, annotations=[]), False),
        (choice(content=[{"type": "text", "text": ""}]), False),
        (choice(tool_calls=[]), False),
        (choice(provider="x"), False),
        ({"choices": [{"text": ""}]}, False),
        ({"choices": []}, False),
        ({"choices": None}, False),
        ({"choices": [None, 1, "x"]}, False),
        ({"type": "response.created", "response": {"instructions": "be nice"}}, False),
        ({"type": "response.in_progress"}, False),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, False),
        ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, False),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "ping"}, False),
        ({}, False),
    ],
)
def test_content_reasoning_and_tool_calls_are_generated(
    event: dict[str, Any], carries: bool
) -> None:
    assert generates(event) == carries


@given(document=JSON)
def test_whatever_a_provider_sends_is_looked_at(document: object) -> None:
    if isinstance(document, dict):
        generates(document)
        for endpoint in Endpoint:
            has_answer(document, endpoint)
