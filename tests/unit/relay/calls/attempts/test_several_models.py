"""An answer to which several models contributed is booked with all their tokens, as an estimate, and says why."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.calls.attempts.test_billed_searches import asked, response
from tests.unit.relay.calls.attempts.test_billed_searches import relay as relay
from tests.unit.relay.memory import STREAM_HEAD, MemoryRelay, call, chunk, event, reply

from relay.outbox.outbox_reader import OutboxReader

TURN = {"type": "message", "input_tokens": 412, "cache_read_input_tokens": 0, "output_tokens": 89}
ADVICE = {
    "type": "advisor_message",
    "model": "claude-opus-4-8",
    "input_tokens": 823,
    "cache_read_input_tokens": 100,
    "output_tokens": 1612,
}
TOLD = {
    "input_tokens": 412,
    "cache_read_input_tokens": 0,
    "output_tokens": 89,
    "server_tool_use": {"web_search_requests": 2},
    "iterations": [TURN, ADVICE],
}
ALL = {"input": 1235, "cacheRead": 100, "output": 1701}
MESSAGE = {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
RESPONSE = response([{"type": "message", **MESSAGE}], usage=TOLD)


def booked(directory: Path) -> dict[str, Any]:
    reader = OutboxReader(directory / "outbox", "uid-1")
    (parcel,) = reader.read(0.0, most=2)
    reader.close()
    return dict(json.loads(parcel.line))


async def test_of_a_document(relay: MemoryRelay, tmp_path: Path) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    provider.send(reply(RESPONSE))
    line = booked(tmp_path)
    assert (line["usageSource"], line["doubt"], line["tokens"]) == ("estimated", "models", ALL)
    assert line["units"] == {"webSearch": 2}


async def test_of_a_stream(relay: MemoryRelay, tmp_path: Path) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=True))
    last = event({"type": "response.completed", "response": RESPONSE})
    provider.send(STREAM_HEAD + chunk(last) + b"0\r\n\r\n")
    line = booked(tmp_path)
    assert (line["usageSource"], line["doubt"], line["tokens"]) == ("estimated", "models", ALL)


@pytest.mark.parametrize("iterations", [[TURN, ADVICE], [TURN, {**ADVICE, "output_tokens": -1}]])
async def test_of_a_gateway_that_writes_the_usage_of_a_chat(
    relay: MemoryRelay, tmp_path: Path, iterations: list[dict[str, Any]]
) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(call({"model": "gpt-4.1", "messages": []}))
    usage = {"prompt_tokens": 412, "completion_tokens": 89, "total_tokens": 501}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
    body = {"object": "chat.completion", "model": "gpt-4.1", "choices": [choice]}
    provider.send(reply({**body, "usage": {**usage, "iterations": iterations}}))
    line = booked(tmp_path)
    assert (line["usageSource"], line["doubt"]) == ("estimated", "models")
    # of what cannot be summed the relay has its own estimate
    assert (line["tokens"] == ALL) == (iterations[1] == ADVICE)


@pytest.mark.parametrize(
    ("kind", "doubt"), [("compaction", "range"), ("advisor_message", "models")]
)
@pytest.mark.parametrize("number", ["input_tokens", "output_tokens", "cache_read_input_tokens"])
async def test_what_no_model_can_have_used_at_once_is_not_booked(
    relay: MemoryRelay, tmp_path: Path, kind: str, doubt: str, number: str
) -> None:
    client, provider = relay.client(), relay.provider()
    client.send(asked(stream=False))
    iterations = [TURN, {**ADVICE, "type": kind, number: 900_000_000}]
    provider.send(reply({**RESPONSE, "usage": {**TOLD, "iterations": iterations}}))
    line = booked(tmp_path)
    assert (line["usageSource"], line["doubt"]) == ("estimated", doubt)
    assert line["tokens"] == {"input": 412, "output": 89}
