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
