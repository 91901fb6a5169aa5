"""Which calls cannot be copied, and which ask for JSON."""

import json
from typing import Any

import pytest

from relay.calls.attempts.shadow_request import read_request
from relay.dialect.endpoints import Endpoint

CHAT, RESPONSES = Endpoint.CHAT, Endpoint.RESPONSES
SCHEMA = {
    "type": "function",
    "function": {"name": "f", "parameters": {"file_id": {"type": "string"}}},
}
FLAT = {"type": "function", "name": "f", "parameters": {"properties": {"container": {}}}}


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("endpoint", "body", "stateful"),
    [
        (CHAT, {"messages": user("hi")}, False),
        (CHAT, {"store": True}, True),
        (CHAT, {"store": False}, False),
        (CHAT, {"store": None}, False),
        (CHAT, {"messages": user('say "store": true')}, False),
        (CHAT, {"messages": user([{"type": "file", "file": {"file_id": "f"}}])}, True),
        (CHAT, {"messages": user("hi"), "tools": [SCHEMA]}, False),
        (RESPONSES, {"input": "hi"}, True),
        (RESPONSES, {"input": "hi", "store": True}, True),
        (RESPONSES, {"input": "hi", "store": None}, True),
        (RESPONSES, {"input": "hi", "store": False}, False),
        (RESPONSES, {"input": "hi", "store": False, "background": True}, True),
        (RESPONSES, {"input": "hi", "store": False, "conversation": "c"}, True),
        (RESPONSES, {"input": "hi", "store": False, "previous_response_id": "r"}, True),
        (RESPONSES, {"input": "hi", "store": False, "prompt": {"id": "p"}}, True),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "i"}], "store": False}, True),
        (RESPONSES, {"input": "x", "store": False, "tools": [FLAT]}, False),
        (
            RESPONSES,
            {
                "input": "x",
                "store": False,
                "tools": [{"type": "file_search", "vector_store_ids": ["v"]}],
            },
            True,
        ),
    ],
)
def test_a_call_that_stores_or_needs_what_is_stored_is_not_copied(
    endpoint: Endpoint, body: dict[str, Any], stateful: bool
) -> None:
    raw = json.dumps({"model": "m", **body}).encode()
    assert read_request(raw, endpoint).is_stateful is stateful


SIGNED = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
OPEN = {"type": "thinking", "thinking": "hm", "signature": None}
CALLED = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OF_GOOGLE = {"google": {"thought_signature": "CiQB"}}
ASKED_FOR = {
    "type": "function",
    "function": {"name": "f", "parameters": {"signature": {"type": "string"}}},
}


def said(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", **fields}, *user("go on")]}


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        (said(audio={"id": "audio_1"}), True),
        (said(content=[SIGNED]), True),
        (said(thinking_blocks=[SIGNED]), True),
        (said(content=[{"type": "redacted_thinking", "data": "EmwK"}]), True),
        (said(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]), True),
        (said(content=[{"reasoningContent": {"redactedContent": "x"}}]), True),
        (said(tool_calls=[{**CALLED, "extra_content": OF_GOOGLE}]), True),
        (
            said(tool_calls=[{**CALLED, "function": {"name": "f", "thoughtSignature": "CiQB"}}]),
            True,
        ),
        (said(encrypted_content="gAAA"), True),
        ({"extra_body": {"google": {"cached_content": "cachedContents/1"}}}, True),
        (said(tool_calls=[CALLED], audio=None, content=[OPEN]), False),
        (said(reasoning_content="hm", content="a"), False),
        ({"messages": user([{"type": "input_audio", "input_audio": {"data": "AAAA"}}])}, False),
        ({"modalities": ["audio"], "audio": {"voice": "alloy"}}, False),
        ({"messages": user("the signature"), "tools": [ASKED_FOR]}, False),
    ],
)
def test_messages_that_only_one_provider_understands_are_not_copied(
    body: dict[str, Any], bound: bool
) -> None:
    assert read_request(json.dumps({"model": "m", **body}).encode(), CHAT).is_stateful is bound


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("item", "bound"),
    [
        ({**THOUGHT, "encrypted_content": "gAAAA"}, True),
        ({"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}, True),
        ({"type": "compaction", "encrypted_content": "gAAAA"}, True),
        (THOUGHT, True),
        ({**THOUGHT, "encrypted_content": None}, True),
        ({"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}, True),
        (
            {
                **THOUGHT,
                "content": [{"type": "reasoning_text", "text": "hm"}],
                "encrypted_content": None,
            },
            False,
        ),
        (
            {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "a"}]},
            False,
        ),
        ({"type": "function_call_output", "call_id": "c", "output": '"signature": "x"'}, False),
    ],
)
def test_items_that_only_one_provider_understands_are_not_copied(
    item: dict[str, Any], bound: bool
) -> None:
    raw = json.dumps({"model": "m", "store": False, "input": [item, *user("go on")]}).encode()
    assert read_request(raw, RESPONSES).is_stateful is bound


MCP = {"type": "mcp", "server_label": "tickets", "require_approval": "never"}
SHELL = {"type": "shell", "environment": {"type": "container_auto"}}


@pytest.mark.parametrize(
    ("body", "again"),
    [
        ({"tools": [MCP]}, True),
        ({"tools": [FLAT, MCP]}, True),
        ({"tools": [SHELL]}, True),
        ({"tools": [{"type": "web_search"}]}, True),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [MCP]}]}, True),
        ({"tools": [{"type": ["function"]}]}, True),
        ({"tools": [{"google_search": {}}]}, True),
        ({"tools": ["browser"]}, True),
        ({"mcp_servers": [{"url": "https://tickets"}]}, True),
        ({"web_search_options": {}}, True),
        ({"plugins": [{"id": "web"}]}, True),
        ({"search_parameters": {"mode": "on"}}, True),
        ({"data_sources": [{"type": "azure_search"}]}, True),
        ({"tools": [SCHEMA, FLAT, {"type": "custom", "name": "sql"}]}, False),
        ({"tools": [{"function": {"name": "f"}}]}, False),
        ({"tools": []}, False),
        ({"tools": None, "plugins": [], "mcp_servers": None}, False),
        ({"user": "tools"}, False),
    ],
)
@pytest.mark.parametrize("endpoint", [CHAT, RESPONSES])
def test_a_call_whose_tools_the_provider_runs_is_not_copied(
    endpoint: Endpoint, body: dict[str, Any], again: bool
) -> None:
    unstored = {"store": False, "input": "hi"} if endpoint is RESPONSES else {}
    raw = json.dumps({"model": "m", **unstored, **body}).encode()
    assert read_request(raw, endpoint).is_stateful is again


def test_tools_that_were_loaded_in_a_conversation_are_run_as_well() -> None:
    found = {"type": "tool_search_output", "call_id": None, "tools": [MCP]}
    raw = json.dumps({"store": False, "input": [found]}).encode()
    assert read_request(raw, RESPONSES).is_stateful


def test_a_spelling_with_escapes_is_the_same_field() -> None:
    assert read_request(b'{"model":"m","st\\u006fre":true}', CHAT).is_stateful


def test_what_cannot_be_read_is_not_copied() -> None:
    deep = b'{"store":' + b"[" * 100_000
    assert read_request(deep, CHAT).is_stateful


@pytest.mark.parametrize(
    ("body", "wants"),
    [
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"text": {"format": {"type": "json_schema"}}}, True),
        ({"messages": user('"json_object"')}, False),
        ({}, False),
    ],
)
def test_a_call_for_json_is_told_from_others(body: dict[str, Any], wants: bool) -> None:
    assert read_request(json.dumps({"model": "m", **body}).encode(), CHAT).wants_json is wants
