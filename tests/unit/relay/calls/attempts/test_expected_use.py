"""An attempt of which nobody knows what it used tells the ledger the most that was expected of it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.memory import STREAM_HEAD, MemoryRelay, call, reply

from relay.http.upstream import UpstreamConnection
from relay.outbox.outbox_reader import OPEN_SECONDS, OutboxReader
from relay_contract.billing.event_line import read_event

TEXT = "a word and another one " * 100
LEAST, MOST = len(TEXT) // 16, len(TEXT)
"""Tokens that the call's text may have."""


def asked(**fields: Any) -> bytes:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": TEXT}], **fields}
    return call(body)


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


def left_after(relay: MemoryRelay, directory: Path, asked: bytes, answered: bytes) -> Any:
    """Returns the line of a call whose provider says this much and falls silent."""
    client, provider = relay.client(), relay.provider()
    client.send(asked)
    if answered:
        provider.send(answered)
    assert isinstance(provider.protocol, UpstreamConnection)
    provider.protocol.expired(time.monotonic())
    reader = OutboxReader(directory / "outbox", "uid-1")
    (parcel,) = reader.read(0.0, most=2)
    reader.close()
    read_event(parcel.line)
    return json.loads(parcel.line)


@pytest.mark.parametrize("answered", [b"", STREAM_HEAD], ids=["silent", "silent after the head"])
async def test_a_timeout_tells_the_input_and_the_callers_bound(
    relay: MemoryRelay, tmp_path: Path, answered: bytes
) -> None:
    line = left_after(relay, tmp_path, asked(max_tokens=300, stream=True), answered)
    assert (line["usageSource"], "tokens" in line) == ("unknown", False)
    assert line["reservedTokens"]["output"] == 300
    assert LEAST < line["reservedTokens"]["input"] < MOST


async def test_without_a_bound_it_is_what_answers_usually_have(
    relay: MemoryRelay, tmp_path: Path
) -> None:
    assert left_after(relay, tmp_path, asked(), b"")["reservedTokens"]["output"] > 0


async def test_a_bound_that_no_answer_has_is_none(relay: MemoryRelay, tmp_path: Path) -> None:
    line = left_after(relay, tmp_path, asked(max_tokens=2**60), b"")
    assert 0 < line["reservedTokens"]["output"] <= 10_000_000


async def test_an_attempt_that_its_relay_does_not_survive_told_it_when_it_began(
    relay: MemoryRelay, tmp_path: Path
) -> None:
    relay.client().send(asked(max_tokens=300, stream=True))
    relay.provider()
    reader = OutboxReader(tmp_path / "outbox", "uid-1")
    assert reader.read(0.0, most=2) == []
    (parcel,) = reader.read(OPEN_SECONDS, most=2)
    reader.close()
    line = json.loads(parcel.line)
    assert (line["phase"], line["reservedTokens"]["output"]) == ("opened", 300)
    assert LEAST < line["reservedTokens"]["input"] < MOST


async def test_what_is_known_has_nothing_reserved(relay: MemoryRelay, tmp_path: Path) -> None:
    line = left_after(relay, tmp_path, asked(), reply())
    assert (line["usageSource"], "reservedTokens" in line) == ("provider", False)
