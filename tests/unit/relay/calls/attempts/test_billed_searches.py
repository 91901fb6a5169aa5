"""Searches of the web that a response has made are booked, though its usage tells of none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.memory import STREAM_HEAD, MemoryRelay, call, chunk, event, reply

from relay.calls.attempts.unary_body import MAX_KEPT_BYTES
from relay.dialect.answers.event_stream import MAX_HELD_BYTES
from relay.outbox.outbox_reader import OutboxReader

USAGE = {"input_tokens": 90, "output_tokens": 41, "total_tokens": 131}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "a"}],
}


def search(status: str = "completed", **action: Any) -> dict[str, Any]:
    return {"type": "web_search_call", "id": "ws_1", "status": status, **action}


SEARCHED = search(action={"type": "search", "query": "a", "sources": []})
OUTPUT = [
    {"type": "reasoning", "summary": []},
    SEARCHED,
    search(),
    # these two are none that is billed, and the third never was one
    search(action={"type": "open_page", "url": "https://a.test"}),
    search(action={"type": "find_in_page", "pattern": "a"}),
    search("failed", action={"type": "search", "query": "b"}),
    {"type": "function_call", "name": "web_search_call", "arguments": "{}", "call_id": "c"},
    MESSAGE,
]


def response(output: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    fields = {"id": "resp_1", "object": "response", "model": "gpt-4.1", "status": "completed"}
    return {**fields, "output": output, "usage": USAGE, **changes}


def streamed(output: list[dict[str, Any]], last: dict[str, Any] | None) -> bytes:
    """Returns a stream of these items, and its last event if it has come."""
    events = [event({"type": "response.created", "response": response([], usage=None)})]
    for number, item in enumerate(output):
        events += [
            event({"type": f"response.output_item.{step}", "output_index": number, "item": item})
            for step in ("added", "done")
        ]
    if last is not None:
        events.append(event({"type": "response.completed", "response": last}))
    return b"".join(events)


TOLD = {**USAGE, "server_tool_use": {"web_search_requests": 5}}
LONGER = [*OUTPUT, {**MESSAGE, "id": "m" * 2 * MAX_KEPT_BYTES}]
LONG = [*OUTPUT, {**MESSAGE, "id": "m" * MAX_HELD_BYTES}]
ANSWERS: dict[str, tuple[dict[str, Any], int]] = {
    "searches": (response(OUTPUT), 2),
    "none": (response([MESSAGE]), 0),
    "a number of the provider's own": (response(OUTPUT, usage=TOLD), 5),
}


@pytest.fixture
def relay(relay_with: Callable[..., MemoryRelay], tmp_path: Path) -> MemoryRelay:
    (tmp_path / "outbox").mkdir()
    return relay_with(
        {
            "ledger_url": "https://ledger.test:8443",
            "ledger_token_file": tmp_path / "token",
            "outbox_directory": tmp_path / "outbox",
        }
    )


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_document_is_booked_with_its_searches(
    relay: MemoryRelay, tmp_path: Path, name: str
) -> None:
    answered, searches = ANSWERS[name]
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    provider.send(reply(answered))
    assert booked(tmp_path) == ("provider", 90, searches)


@pytest.mark.parametrize("told", [USAGE, None])
@pytest.mark.parametrize("filled", ["output", "tools", "instructions"])
async def test_so_is_a_document_too_large_to_be_held(
    relay: MemoryRelay, tmp_path: Path, filled: str, told: dict[str, int] | None
) -> None:
    long: dict[str, Any] = {"type": "message", "id": "m" * MAX_KEPT_BYTES}
    # what a response repeats of its call was not searched now
    repeated = {"instructions": [SEARCHED], "tools": [{"type": "web_search"}]}
    answered = response(OUTPUT, **repeated, usage=told)
    answered[filled] = [*answered[filled], long]
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    sent = reply(answered)
    for start in range(0, len(sent), 60_000):
        provider.send(sent[start : start + 60_000])
    source, _, searches = booked(tmp_path)
    assert (source, searches) == ("provider" if told else "estimated", 2)


async def test_so_is_a_document_without_usage(relay: MemoryRelay, tmp_path: Path) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    provider.send(reply(response(OUTPUT, usage=None)))
    source, _, searches = booked(tmp_path)
    assert (source, searches) == ("estimated", 2)


async def test_what_a_document_told_of_before_it_broke_off_is_booked(
    relay: MemoryRelay, tmp_path: Path
) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    provider.send(reply(response(LONGER))[: MAX_KEPT_BYTES + 1000])
    client.hang_up()
    source, _, searches = booked(tmp_path)
    assert (source, searches) == ("partial", 2)


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_stream_is_booked_with_its_searches(
    relay: MemoryRelay, tmp_path: Path, name: str
) -> None:
    answered, searches = ANSWERS[name]
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=True))
    provider.send(STREAM_HEAD + chunk(streamed(answered["output"], answered)) + b"0\r\n\r\n")
    assert booked(tmp_path) == ("provider", 90, searches)


async def test_so_is_one_whose_last_event_is_too_large_to_be_held(
    relay: MemoryRelay, tmp_path: Path
) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=True))
    last = event({"type": "response.completed", "response": response(LONG)})
    provider.send(STREAM_HEAD + chunk(streamed(OUTPUT, None)) + chunk(last[:60_000]))
    provider.send(chunk(last[60_000:]) + b"0\r\n\r\n")
    assert booked(tmp_path) == ("provider", 90, 2)


async def test_what_was_searched_before_a_caller_left_is_booked(
    relay: MemoryRelay, tmp_path: Path
) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=True))
    provider.send(STREAM_HEAD + chunk(streamed([SEARCHED], None)))
    client.hang_up()
    source, _, searches = booked(tmp_path)
    assert (source, searches) == ("partial", 1)


def asked(*, stream: bool) -> bytes:
    tools = [{"type": "web_search"}]
    body = {"model": "gpt-4.1", "input": "a", "tools": tools, "stream": stream}
    return call(body, path="/v1/responses")


def booked(directory: Path) -> tuple[str, int, int]:
    """Returns the evidence of what is recorded, the tokens of input, and the searches."""
    reader = OutboxReader(directory / "outbox", "uid-1")
    (parcel,) = reader.read(0.0, most=2)
    reader.close()
    line = json.loads(parcel.line)
    return line["usageSource"], line["tokens"]["input"], line.get("units", {}).get("webSearch", 0)
