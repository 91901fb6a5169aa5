"""Requests of clients, valid and not: framing, sizes, times, pipelines."""

import time
from collections.abc import Callable

import pytest
from tests.unit.relay.documents import API_KEY
from tests.unit.relay.memory import (
    CONTENT,
    STREAM_HEAD,
    MemoryRelay,
    Peer,
    call,
    chunk,
    error,
    fields,
    get,
    reply,
    status,
)

from relay.http.downstream import ClientConnection

Make = Callable[..., MemoryRelay]
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {API_KEY}\r\n"
SMUGGLED = "GET /v1/me HTTP/1.1\r\nHost: relay\r\n\r\n"

MALFORMED = {
    "length and chunks": f"{HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": f"{HEAD}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two equal lengths": f"{HEAD}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}",
    "two lengths": f"{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
    "list of lengths": f"{HEAD}Content-Length: 2, 2\r\n\r\n{{}}",
    "signed length": f"{HEAD}Content-Length: +2\r\n\r\n{{}}",
    "huge length": f"{HEAD}Content-Length: 99999999999999999999\r\n\r\n{{}}",
    "blank before colon": f"{HEAD}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": f"{HEAD}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded line": f"{HEAD}X-A: a\r\n b\r\n\r\n",
    "bare line feed": f"{HEAD}X-A: a\nX-B: b\r\n\r\n",
    "bare carriage return": f"{HEAD}X-A: a\rX-B: b\r\n\r\n",
    "zero byte": f"{HEAD}X-A: a\x00b\r\n\r\n",
    "coding before chunked": f"{HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding after chunked": f"{HEAD}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown coding": f"{HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk size in hex notation": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n",
    "negative chunk size": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n",
    "chunk longer than said": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}XX0\r\n\r\n",
    "line feed in extension": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{{}}\r\n0\r\n\r\n",
    "two hosts": f"{HEAD}Host: other\r\nContent-Length: 2\r\n\r\n{{}}",
    "no host": "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "chunks in 1.0": "POST /v1/chat/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two keys": f"{HEAD}Authorization: Bearer other\r\nContent-Length: 2\r\n\r\n{{}}",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_ambiguous_framing_is_refused_and_nothing_behind_it_is_a_request(
    relay: MemoryRelay, name: str
) -> None:
    client, upstream = relay.client(), relay.provider()
    answer = client.send((MALFORMED[name] + SMUGGLED).encode("latin-1"))
    assert status(answer) == 400
    assert fields(answer)["connection"] == "close"
    assert answer.count(b"HTTP/1.1 ") == 1
    assert client.transport.closed
    assert upstream.transport.sent == b""


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        ("GET /v1/models\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
async def test_other_requests_are_refused_in_json(
    relay: MemoryRelay, request_text: str, expected: int
) -> None:
    answer = relay.client().send(request_text.encode())
    assert status(answer) == expected
    assert error(answer)["message"]


async def test_an_absolute_target_is_its_path(relay: MemoryRelay) -> None:
    assert status(relay.client().send(get("http://relay:80/v1/models"))) == 200


async def test_chunk_extensions_and_trailers_are_dropped(relay: MemoryRelay) -> None:
    body = b'{"model":"gpt-4.1","messages":[]}'
    upstream = relay.provider()
    relay.client().send(
        HEAD.encode()
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"%x;name=value\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body)
    )
    asked = upstream.transport.taken()
    assert asked.endswith(b"\r\n\r\n" + body)
    assert b"railer" not in asked
    assert b"name=value" not in asked


@pytest.mark.parametrize("split", range(1, 40, 3))
async def test_a_request_in_any_pieces_is_read(relay: MemoryRelay, split: int) -> None:
    client, upstream = relay.client(), relay.provider()
    request = call()
    for start in range(0, len(request), split):
        client.send(request[start : start + split])
    upstream.send(reply())
    assert status(client.transport.taken()) == 200


async def test_an_upgrade_is_ignored_and_its_body_kept(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(headers="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"))
    assert upstream.transport.taken().endswith(b"}")
    upstream.send(reply())
    assert status(client.transport.taken()) == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_upgrade_is_ignored_in_either_version(relay: MemoryRelay, version: str) -> None:
    request = get("/v1/models", headers="Connection: Upgrade\r\nUpgrade: h2c\r\n")
    answer = relay.client().send(request.replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    assert status(answer) == 200


async def test_pipelined_requests_are_answered_in_order(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call() + get("/v1/models") + call(path="/v1/nothing"))
    assert client.transport.paused
    upstream.send(reply())
    answers = client.transport.taken().split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"404"]
    assert not client.transport.paused


async def test_a_connection_with_too_many_pipelined_requests_is_closed(relay: MemoryRelay) -> None:
    client = relay.client()
    relay.provider()
    client.send(call() + get("/v1/models") * 100)
    assert client.transport.closed


async def test_a_body_is_asked_for_only_if_it_will_be_read(relay: MemoryRelay) -> None:
    head, _, body = call(headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    welcome, refused = relay.client(), relay.client()
    upstream = relay.provider()
    assert welcome.send(head + b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    welcome.send(body)
    upstream.send(reply())
    assert status(welcome.transport.taken()) == 200
    without_key = head.replace(API_KEY.encode(), b"other")
    assert status(refused.send(without_key + b"\r\n\r\n")) == 401


async def test_an_unknown_expectation_fails(relay: MemoryRelay) -> None:
    assert status(relay.client().send(call(headers="Expect: 200-ok\r\n"))) == 417


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(relay_with: Make) -> None:
    relay = relay_with({"max_body_bytes": 100})
    head = HEAD + "Content-Length: 101\r\n\r\n"
    assert status(relay.client().send(head.encode())) == 413


async def test_a_chunked_body_that_grows_too_large_is_refused(relay_with: Make) -> None:
    relay = relay_with({"max_body_bytes": 100})
    client = relay.client()
    client.send(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    client.send(chunk(b"x" * 60))
    assert status(client.send(chunk(b"x" * 60))) == 413


async def test_all_bodies_together_are_bounded(relay_with: Make) -> None:
    relay = relay_with({"max_buffered_bytes": 200})
    first, second = relay.client(), relay.client()
    start = f"{HEAD}Content-Length: 100\r\n\r\n".encode() + b"x" * 90
    first.send(start)
    assert status(second.send(start)) == 503
    first.hang_up()
    assert relay.client().send(start) == b""


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET /" + "a" * 40_000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + "a" * 40_000 + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + "X-A: b\r\n" * 150 + "\r\n", 431),
    ],
)
@pytest.mark.parametrize("pieces", [1, 9])
async def test_an_oversized_head_is_refused(
    relay: MemoryRelay, head: str, expected: int, pieces: int
) -> None:
    client = relay.client()
    data, answer = head.encode(), b""
    size = len(data) // pieces + 1
    for start in range(0, len(data), size):
        answer += client.send(data[start : start + size])
    assert status(answer) == expected
    assert client.transport.closed


def expire(peer: Peer) -> bytes:
    """Lets the connection's deadline pass; returns what it writes then."""
    assert isinstance(peer.protocol, ClientConnection)
    peer.protocol.expired(time.monotonic())
    peer.protocol.flush()
    return peer.transport.taken()


async def test_a_slow_head_is_timed_out(relay: MemoryRelay) -> None:
    client = relay.client()
    client.send(b"GET /v1/models HT")
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    assert 0 < connection.deadline - time.monotonic() <= 10
    client.send(b"TP/1.1\r\nHo")
    assert connection.deadline - time.monotonic() <= 10
    assert status(expire(client)) == 408
    assert client.transport.closed


async def test_a_slow_body_is_timed_out(relay: MemoryRelay) -> None:
    client = relay.client()
    client.send(call()[:-5])
    assert status(expire(client)) == 408


async def test_a_client_that_does_not_read_is_disconnected(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call({"model": "gpt-4.1", "stream": True}))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.protocol.pause_writing()
    expire(client)
    assert client.transport.aborted


async def test_an_idle_connection_is_closed_without_an_answer(relay: MemoryRelay) -> None:
    client = relay.client()
    assert expire(client) == b""
    assert client.transport.closed


async def test_an_early_refusal_reads_the_rest_and_keeps_the_connection(
    relay: MemoryRelay,
) -> None:
    client = relay.client()
    request = call(key="sk-relay-wrong")
    assert status(client.send(request[:-5])) == 401
    assert client.send(request[-5:]) == b""
    assert status(client.send(get("/v1/models"))) == 200


async def test_an_early_refusal_drops_a_bounded_part_of_the_body(relay: MemoryRelay) -> None:
    client = relay.client()
    head = f"{HEAD}Content-Length: 9000000\r\n\r\n".replace(API_KEY, "wrong")
    assert status(client.send(head.encode())) == 401
    for _ in range(20):
        client.send(b"x" * 100_000)
    assert client.transport.closed


async def test_old_connections_are_closed_after_their_answer(relay_with: Make) -> None:
    relay = relay_with({"connection_age_seconds": 1e-9})
    client = relay.client()
    answer = client.send(get("/v1/models"))
    assert fields(answer)["connection"] == "close"
    assert client.transport.closed


async def test_http_1_0_gets_an_answer_that_ends_with_the_connection(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call({"model": "gpt-4.1", "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0"))
    upstream.send(STREAM_HEAD + chunk(CONTENT) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    answer = client.transport.taken()
    assert "transfer-encoding" not in fields(answer)
    assert answer.endswith(CONTENT + b"data: [DONE]\n\n")
    assert client.transport.closed


async def test_too_many_connections_are_refused(relay_with: Make) -> None:
    relay = relay_with({"max_connections": 1})
    relay.client()
    assert relay.client().transport.aborted
