"""What a provider may bill by the piece is read from a call: the bound that it sets, else a fixed number; a caller's own tools are none."""

import json
from typing import Any

import pytest

from relay.calls.money.asked_pieces import UNBOUNDED, asked_pieces
from relay.dialect.request_body import CallBody, read_body


def asked(raw: bytes | None = None, **fields: Any) -> tuple[int, int]:
    body = read_body(json.dumps({"model": "m", **fields}).encode() if raw is None else raw)
    assert isinstance(body, CallBody)
    pieces = asked_pieces(body)
    return pieces.searches, pieces.fetches


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "web_search_preview_2025_03_11"},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_search_20250305", "max_uses": True},
        {"google_search": {}},
        {"googleSearchRetrieval": {}},
        {"type": "builtin_function", "function": {"name": "$web_search"}},
    ],
)
def test_a_search_without_a_bound_is_taken_for_some(tool: dict[str, Any]) -> None:
    assert asked(tools=[tool]) == (UNBOUNDED, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"web_search_options": {}},
        {"search_parameters": {"mode": "auto"}},
        {"enable_search": True},
    ],
)
def test_so_is_one_that_is_asked_for_beside_tools(fields: dict[str, Any]) -> None:
    assert asked(**fields) == (UNBOUNDED, 0)


def test_the_bounds_of_a_call_hold() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    fetch = {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 7}
    assert asked(tools=[search, fetch]) == (3, 7)
    assert asked(tools=[search, search, fetch]) == (6, 7)
    assert asked(tools=[{"type": "web_search"}, fetch], max_tool_calls=2) == (2, 2)
    assert asked(tools=[search | {"max_uses": 0}]) == (0, 0)
    assert asked(tools=[search | {"max_uses": 10**9}]) == (10_000, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": "search and fetch \u4f60"}]},
        {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
        {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
        {"tools": "web_search"},
        {"tools": ["web_search"]},
        {"web_search_options": None, "enable_search": False, "search_parameters": {"mode": "off"}},
        {"metadata": {"tools": [{"type": "web_search"}]}},
    ],
)
def test_a_call_that_a_provider_searches_nothing_for_asks_for_no_pieces(
    fields: dict[str, Any],
) -> None:
    assert asked(**fields) == (0, 0)


def test_names_may_be_spelled_with_escapes_and_stand_twice() -> None:
    spelled = b'{"model":"m","t\\u006fols":[{"type":"web_se\\u0061rch","max_uses":4}]}'
    assert asked(spelled) == (4, 0)
    twice = b'{"model":"m","tools":[{"type":"web_search"}],"tools":[]}'
    assert asked(twice) == (UNBOUNDED, 0)


def test_what_no_parser_reads_may_ask_for_anything() -> None:
    digits = b"1" * 5000
    raw = b'{"model":"m","tools":[{"type":"web_search","max_uses":' + digits + b"}]}"
    assert asked(raw) == (UNBOUNDED, UNBOUNDED)


def test_a_body_of_too_many_fields_may_ask_for_anything() -> None:
    many: dict[str, Any] = {f"x{number}": "search" for number in range(200)}
    assert asked(**many) == (UNBOUNDED, UNBOUNDED)
