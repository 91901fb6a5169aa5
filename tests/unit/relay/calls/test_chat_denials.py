"""What a manifest denies of chat calls and of their answers is recorded: once, with the names and nothing else of what was said."""

import gzip
import json
from typing import Any

import pytest
from tests.unit.relay.calls.test_chat_tools import (
    BODY,
    RESPONSES,
    STREAMED,
    Make,
    call_event,
    calling,
    granting,
)
from tests.unit.relay.documents import API_KEY
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    STREAM_HEAD,
    MemoryRelay,
    call,
    chunk,
    event,
    reply,
    status,
)
from tests.unit.relay.tools.chat.granted import function
from tests.unit.relay.tools.protocol import ERP, MAIL

from relay.accounting.tool_call_event import ToolCallEvent, tool_call_line
from relay.calls.tool_policy.denials import listed
from relay_contract.tools.manifest import Manifest, revision

UID = "uid-1"
HIDDEN, REFUSED, DEFAULT = "onDenied: Hide", "onDenied: Refuse", "default deny"


def only_record(relay: MemoryRelay) -> ToolCallEvent:
    (record,) = relay.log.tool_calls
    return record


def told(record: ToolCallEvent) -> tuple[str, str, str, str]:
    return record.method, record.outcome, record.name, record.rule


@pytest.fixture
def granted(relay_with: Make) -> MemoryRelay:
    return granting(relay_with)


async def test_hidden_tools_are_recorded_with_the_call_that_went_on(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    tools = [function("pay"), function("read_invoice"), {"type": "mcp", "server_url": "https://x"}]
    body = json.dumps(BODY | {"tools": tools}).encode()
    client.send(call(body, headers="x-request-id: mine\r\n"))
    record = only_record(granted)
    assert told(record) == ("chat.tools", "denied", "pay, mcp", HIDDEN)
    assert (record.key, record.request_id, record.request_bytes) == (
        "production",
        "mine",
        len(body),
    )
    assert record.revision == revision(Manifest(grants=(ERP, MAIL)), UID)
    assert record.server == ""
    upstream.send(reply())
    # whoever reads both finds which call of the model it was
    assert granted.log.events[0].call_id == record.call_id != record.round_id


@pytest.mark.parametrize(
    ("on_denied", "extra", "told_of"),
    [
        ("Refuse", {"tools": [function("pay")]}, ("denied", "pay", REFUSED)),
        ("Refuse", {"enable_search": True}, ("denied", "enable_search", REFUSED)),
        ("Refuse", {"prompt": {"id": "p"}}, ("denied", "prompt", DEFAULT)),
        ("Hide", {"tool_choice": {"type": "function", "name": "pay"}}, ("denied", "pay", DEFAULT)),
        ("Hide", {"tools": [function("pay")], "tool_choice": "any"}, ("denied", "pay", DEFAULT)),
        ("Hide", {"extra_body": {"tools": [1]}}, ("denied", "extra_body.tools", DEFAULT)),
        ("Hide", {"Tools": [function("pay")]}, ("refused", "", "")),
    ],
)
async def test_a_refused_call_is_recorded_by_what_refused_it(
    relay_with: Make, on_denied: Any, extra: dict[str, Any], told_of: tuple[str, str, str]
) -> None:
    relay = granting(relay_with, on_denied)
    client = relay.client()
    assert status(client.send(call(BODY | extra))) == 400
    assert told(only_record(relay)) == ("chat.tools", *told_of)


async def test_what_is_granted_is_no_record(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY | {"tools": [function("read_invoice")]}))
    upstream.send(reply(calling("read_invoice")))
    assert granted.log.tool_calls == []


async def test_a_denied_call_in_an_answer_is_recorded_without_its_arguments(
    granted: MemoryRelay,
) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    answer = reply(calling("pay", '{"iban": "secret"}'))
    upstream.send(answer)
    record = only_record(granted)
    assert told(record) == ("chat.tool_calls", "denied", "pay", DEFAULT)
    assert record.call_id == granted.log.events[0].call_id
    assert record.answer_bytes == len(answer.partition(b"\r\n\r\n")[2])
    line = tool_call_line(record, tenant="finance", tenant_uid=UID, timestamp=0.0, pod="p")
    assert b"secret" not in line
    assert API_KEY.encode() not in line


@pytest.mark.parametrize(
    ("path", "events", "name"),
    [
        ("/v1/chat/completions", call_event("pay", "secret"), "pay"),
        (
            RESPONSES,
            event(
                {
                    "type": "response.output_item.added",
                    "item": {"type": "function_call", "name": "pay"},
                }
            ),
            "pay",
        ),
        (
            RESPONSES,
            event({"type": "response.output_item.added", "item": {"type": "web_search_call"}}),
            "web_search_call",
        ),
        (RESPONSES, event({"type": "response.mcp_call.in_progress"}), "mcp_call"),
    ],
)
async def test_a_stream_that_ends_for_a_call_has_one_record(
    granted: MemoryRelay, path: str, events: bytes, name: str
) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED | {"input": "hi"}, path=path))
    if path != RESPONSES:
        events = CONTENT + events
    upstream.send(STREAM_HEAD + chunk(events))
    assert told(only_record(granted)) == ("chat.tool_calls", "denied", name, DEFAULT)


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ({"type": "tool_use", "name": "pay", "input": {"iban": "secret"}}, "pay"),
        ({"type": "server_tool_use", "id": "s"}, "server_tool_use"),
    ],
)
async def test_a_denied_block_of_content_is_recorded_by_its_name(
    granted: MemoryRelay, block: dict[str, Any], name: str
) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    message = {"role": "assistant", "content": [{"type": "text", "text": "tool"}, block]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    upstream.send(reply({**COMPLETION, "choices": [choice]}))
    assert status(client.transport.taken()) == 502
    assert told(only_record(granted)) == ("chat.tool_calls", "denied", name, DEFAULT)


async def test_an_answer_that_nobody_can_read_is_recorded_as_that(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    head = "content-type: application/json\r\ncontent-encoding: gzip\r\n"
    upstream.send(reply(gzip.compress(json.dumps(COMPLETION).encode()), headers=head))
    assert status(client.transport.taken()) == 502
    assert told(only_record(granted)) == ("chat.tool_calls", "invalid", "", "")


async def test_both_ends_of_one_call_are_two_records(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY | {"tools": [function("pay"), function("read_invoice")]}))
    upstream.send(reply(calling("pay")))
    first, second = granted.log.tool_calls
    assert (first.method, second.method) == ("chat.tools", "chat.tool_calls")
    assert first.call_id == second.call_id
    assert first.id(UID) != second.id(UID)


async def test_many_names_are_one_record_of_bounded_size(granted: MemoryRelay) -> None:
    client = granted.client()
    client.send(call(BODY | {"tools": [function(f"tool_{n}" + "x" * 500) for n in range(500)]}))
    record = only_record(granted)
    assert record.name.startswith("tool_0xxx")
    assert len(record.name) <= 256
    assert record.name.endswith(" more")
    granted.client().send(call(BODY | {"tools": [function("päy\r\n,")] * 500}))
    assert granted.log.tool_calls[1].name == "p?y???"


def test_names_are_whole_and_each_is_listed_once() -> None:
    assert listed(["b", "a", "b"]) == "b, a"
    assert listed([]) == ""
    names = [f"name_{number:03}" for number in range(40)]
    for most in range(40, 400):
        text = listed(names, most)
        assert len(text) <= most
        shown, _, more = text.partition(", and ")
        left = int(more.split()[0]) if more else 0
        assert shown.split(", ") == names[: len(names) - left]
