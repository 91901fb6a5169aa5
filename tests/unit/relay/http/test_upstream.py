"""Answers of providers, valid and not."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from tests.unit.relay.memory import (
    COMPLETION,
    MemoryRelay,
    call,
    chunk,
    error,
    fields,
    reply,
    status,
)

from relay.http.upstream import UpstreamConnection

BROKEN = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"\r\n",
    "a switch of protocols": b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_invalid_answer_is_a_bad_gateway(relay: MemoryRelay, name: str) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(BROKEN[name])
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "upstream_invalid")
    assert upstream.transport.closed


async def test_interim_answers_are_skipped(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + reply())
    answer = client.transport.taken()
    assert status(answer) == 200
    assert "link" not in fields(answer)


async def test_interim_answers_do_not_extend_the_wait_for_the_first_byte(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    deadline = upstream.protocol.deadline
    upstream.send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    assert upstream.protocol.deadline == deadline
    upstream.send(reply()[:-1])
    assert upstream.protocol.deadline < deadline


async def test_bytes_beyond_the_answer_end_the_connection_and_reach_nobody(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply() + reply(b'{"stolen":1}'))
    answer = client.transport.taken()
    assert answer.endswith(reply().partition(b"\r\n\r\n")[2])
    assert upstream.transport.closed


async def test_an_answer_nobody_asked_for_ends_the_connection(relay: MemoryRelay) -> None:
    upstream = relay.provider()
    upstream.send(reply())
    assert upstream.transport.closed


async def test_an_answer_in_any_pieces_is_read(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    for byte in reply():
        upstream.send(bytes([byte]))
    assert status(client.transport.taken()) == 200
    assert not upstream.transport.closed


async def test_an_answer_without_length_ends_with_its_connection(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    body = json.dumps(COMPLETION).encode()
    upstream.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
    upstream.hang_up()
    answer = client.transport.taken()
    assert fields(answer)["transfer-encoding"] == "chunked"
    assert answer.endswith(chunk(body) + b"0\r\n\r\n")


async def test_connection_close_is_obeyed(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(headers="connection: close\r\n"))
    assert status(client.transport.taken()) == 200
    assert upstream.transport.closed
    assert not client.transport.closed


async def test_a_silent_provider_is_a_timeout(relay_with: Callable[..., MemoryRelay]) -> None:
    relay = relay_with({"first_byte_timeout_seconds": 7})
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    connection = upstream.protocol
    assert isinstance(connection, UpstreamConnection)
    assert connection.deadline - time.monotonic() == pytest.approx(7, abs=1)
    upstream.send(b"HTTP/1.1 200 OK\r\nx: ")
    assert connection.deadline - time.monotonic() == pytest.approx(7, abs=1)
    connection.expired(time.monotonic())
    await asyncio.sleep(0)
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (504, "upstream_timeout")
    assert relay.log.events[0].outcome == "timeout"
