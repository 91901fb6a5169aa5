"""The ledger's records are written before what they tell of leaves: no provider has a call, and nobody a whole answer, that no book knows."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.relay.dialect.body_scans import BodyReader
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    DONE,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    MemoryTransport,
    Peer,
    call,
    chunk,
    event,
    reply,
    status,
)

from relay.calls.attempts import answer
from relay.http.outbox import SOON_BYTES
from relay.outbox.attempt_writer import AttemptWriter

STREAM_BODY = {"model": "gpt-4.1", "stream": True, "messages": []}
LARGE = b'{"choices": [{"index": 0, "message": {"content": "%s"}, "finish_reason": "stop"}]}'
JSON = "content-type: application/json\r\n"
CHOICE = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
CHUNKED = "content-type: application/json\r\ntransfer-encoding: chunked\r\n"


class WatchedTransport(MemoryTransport):
    """Notes with each write how many attempts had been recorded as opened and as closed by then."""

    def __init__(self, records: AttemptWriter) -> None:
        super().__init__()
        self._records = records
        self.opened_by_then: list[int] = []
        self.closed_by_then: list[int] = []

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self._note()
        super().write(data)

    def close(self) -> None:
        self._note()
        super().close()

    def _note(self) -> None:
        self.opened_by_then.append(self._records.opened)
        self.closed_by_then.append(self._records.closed)


@pytest.fixture(autouse=True, params=["read at once", "decoded"])
def _reading(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, compiled: BodyReader
) -> None:
    """Has answers read at once, whose records wait for the end of the turn, and as they are read where that is not built."""
    if request.param == "read at once":
        monkeypatch.setattr(answer, "plain_answer", compiled.plain_answer)


@pytest.fixture
def relay(relay_with: Callable[..., MemoryRelay], tmp_path: Path) -> MemoryRelay:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    return relay_with(
        {
            "ledger_url": "https://ledger.test:8443",
            "ledger_token_file": tmp_path / "token",
            "outbox_directory": outbox,
        }
    )


def watched(relay: MemoryRelay, peer: Peer) -> WatchedTransport:
    assert relay.service.records is not None
    transport = WatchedTransport(relay.service.records)
    peer.transport = transport
    peer.protocol.transport = transport
    return transport


def chunked_reply(data: bytes) -> list[bytes]:
    head = f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n".encode()
    return [head + chunk(data[:50]), chunk(data[50:]) + b"0\r\n\r\n"]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (call(), [reply()]),
        (call(headers="Connection: close\r\n"), [reply()]),
        (call(), [reply(LARGE % (b"x" * 20_000))]),
        (call(), chunked_reply(LARGE % (b"x" * 70_000))),
        (call(STREAM_BODY), [STREAM_HEAD + chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n"]),
        (
            call(STREAM_BODY),
            [STREAM_HEAD + chunk(CONTENT), chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n"],
        ),
        (call(), [reply({"error": {"message": "no"}}, status="400 Bad Request")]),
    ],
    ids=["unary", "close", "large", "chunked", "stream", "pieces", "error"],
)
async def test_an_answer_ends_for_its_caller_after_its_record(
    relay: MemoryRelay, asked: bytes, answered: list[bytes]
) -> None:
    client, upstream = relay.client(), relay.provider()
    transport = watched(relay, client)
    client.send(asked)
    for piece in answered:
        upstream.send(piece)
    assert transport.closed_by_then[-1] == 1
    assert transport.closed_by_then == sorted(transport.closed_by_then)
    assert relay.service.records is not None
    assert (relay.service.records.opened, relay.service.records.closed) == (1, 1)


async def test_so_does_an_answer_behind_which_the_next_call_waits(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    transport = watched(relay, client)
    client.send(call() + call())
    upstream.send(reply())
    assert transport.closed_by_then == [1]


@pytest.mark.parametrize(
    "asked",
    [call(), call(STREAM_BODY), call({"model": "gpt-4.1", "messages": ["x" * SOON_BYTES]})],
    ids=["unary", "stream", "large"],
)
async def test_a_provider_gets_a_call_after_its_record(relay: MemoryRelay, asked: bytes) -> None:
    client, upstream = relay.client(), relay.provider()
    transport = watched(relay, upstream)
    client.protocol.data_received(asked)
    await asyncio.sleep(0)
    assert transport.opened_by_then
    assert set(transport.opened_by_then) == {1}


async def test_all_records_of_a_turn_are_written_before_anything_leaves(relay: MemoryRelay) -> None:
    clients, providers = [relay.client() for _ in range(3)], [relay.provider() for _ in range(3)]
    sent = [watched(relay, provider) for provider in providers]
    for client in clients:
        client.protocol.data_received(call())
    await asyncio.sleep(0)
    assert [transport.opened_by_then for transport in sent] == [[3]] * 3
    answered = [watched(relay, client) for client in clients]
    for provider in providers:
        provider.protocol.data_received(reply())
    await asyncio.sleep(0)
    assert [transport.closed_by_then for transport in answered] == [[3]] * 3


async def test_a_call_that_ends_in_the_turn_in_which_it_began_has_both_records(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.protocol.data_received(call())
    client.protocol.connection_lost(None)
    await asyncio.sleep(0)
    assert upstream.transport.sent == b""
    assert relay.service.records is not None
    assert (relay.service.records.opened, relay.service.records.closed) == (1, 1)


async def test_what_cannot_be_recorded_is_not_sent(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.transport.taken()
    upstream.send(reply())
    client.transport.taken()
    records = relay.service.records
    assert records is not None
    assert records._segment is not None
    # as no fault that is known does
    records._segment.map.close()
    refused = client.send(call())
    assert upstream.transport.sent == b""
    assert status(refused) == 500


HALF = {"model": "gpt-\ud800", "service_tier": "\udfff"}
"""Halves of surrogate pairs: JSON may spell them, and no text in UTF-8 holds one."""


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (call(), reply({**COMPLETION, **HALF}, headers="x-request-id: \xff\r\n" + JSON)),
        (
            call(STREAM_BODY),
            STREAM_HEAD + chunk(event({**CHOICE, **HALF}) + USAGE + DONE) + b"0\r\n\r\n",
        ),
    ],
    ids=["unary", "stream"],
)
async def test_whatever_a_provider_calls_itself_its_answer_is_recorded(
    relay: MemoryRelay, asked: bytes, answered: bytes
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(asked)
    upstream.send(answered)
    assert relay.service.records is not None
    assert relay.service.records.closed == 1
    assert relay.log.events[0].outcome == "ok"
    assert relay.log.lines == []
