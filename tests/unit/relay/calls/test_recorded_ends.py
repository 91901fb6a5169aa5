"""The ledger's record of an answer is written before its last byte leaves: nobody has a whole answer that no book knows."""

from collections.abc import Callable
from pathlib import Path

import pytest
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
)

from relay.outbox.attempt_writer import AttemptWriter

STREAM_BODY = {"model": "gpt-4.1", "stream": True, "messages": []}
LARGE = b'{"choices": [{"index": 0, "message": {"content": "%s"}, "finish_reason": "stop"}]}'
JSON = "content-type: application/json\r\n"
CHOICE = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
CHUNKED = "content-type: application/json\r\ntransfer-encoding: chunked\r\n"


class WatchedTransport(MemoryTransport):
    """Notes with each write how many attempts had been recorded as closed by then."""

    def __init__(self, records: AttemptWriter) -> None:
        super().__init__()
        self._records = records
        self.closed_by_then: list[int] = []

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self.closed_by_then.append(self._records.closed)
        super().write(data)

    def close(self) -> None:
        self.closed_by_then.append(self._records.closed)
        super().close()


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


def watched(relay: MemoryRelay, client: Peer) -> WatchedTransport:
    assert relay.service.records is not None
    transport = WatchedTransport(relay.service.records)
    client.transport = transport
    client.protocol.transport = transport
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
