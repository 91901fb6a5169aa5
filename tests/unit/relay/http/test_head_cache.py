"""Cached request heads: a repeated head is not parsed again, and nothing but the time shows it."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.relay.documents import API_KEY, CANARY, STABLE, document, provider
from tests.unit.relay.memory import MemoryRelay, Peer, call, error, fields, reply, status

from relay.http.downstream import ClientConnection
from relay.http.head_cache import MAX_MISSES, HeadCache
from relay_contract.document import Route

Make = Callable[..., MemoryRelay]


def body(text: str = "hi") -> bytes:
    message = {"role": "user", "content": text}
    return json.dumps({"model": "gpt-4.1", "messages": [message]}).encode()


class NoParser:
    """Stands in for the parser where nothing must be parsed."""

    def feed_data(self, data: bytes) -> None:
        raise AssertionError(f"parsed: {data!r}")


def without_parser(client: Peer) -> ClientConnection:
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    connection._parser = NoParser()
    return connection


def answered(client: Peer, upstream: Peer, request: bytes) -> bytes:
    """Sends a request and returns the client's answer; the provider answers if it was asked."""
    upstream.transport.taken()
    answer = client.send(request)
    if upstream.transport.sent:
        upstream.send(reply())
    return answer + client.transport.taken()


async def test_only_the_first_of_equal_heads_is_parsed(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    assert status(answered(client, upstream, call(body()))) == 200
    without_parser(client)
    for text in ("a", "longer than before", "x" * 2000):
        upstream.transport.taken()
        client.send(call(body(text)))
        asked = upstream.transport.taken()
        assert asked.endswith(b"\r\n\r\n" + body(text))
        assert int(fields(asked)["content-length"]) == len(body(text))
        upstream.send(reply())
        assert status(client.transport.taken()) == 200
    assert relay.service.connections.buffered_bytes == 0
    assert len({event.request_id for event in relay.log.events}) == 4


def ids(number: int) -> str:
    """Returns the fields that a client with a tracer sends with other values on each call."""
    trace = f"00-aaaa{number:028x}-{number:016x}-01"
    return f"Traceparent: {trace}\r\nX-Request-ID: call-{number}\r\nX-Session-ID: s{number}\r\n"


async def test_heads_that_differ_in_the_ids_of_a_call_are_not_parsed_again(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    assert status(answered(client, upstream, call(body(), headers=ids(1)))) == 200
    without_parser(client)
    for number in (2, 3, 40_000):
        upstream.transport.taken()
        client.send(call(body(), headers=ids(number)))
        asked = fields(upstream.transport.taken())
        assert asked["x-request-id"] == f"call-{number}"
        assert asked["traceparent"].startswith(f"00-aaaa{number:028x}-")
        assert "x-session-id" not in asked
        upstream.send(reply())
        assert fields(client.transport.taken())["x-request-id"] == f"call-{number}"
    assert [event.trace_id[-5:] for event in relay.log.events] == [
        f"{number:05x}" for number in (1, 2, 3, 40_000)
    ]


async def test_a_session_named_by_a_cached_head_goes_where_it_went_before(
    relay_with: Make,
) -> None:
    async def providers(client_of: Callable[[], Peer]) -> list[str]:
        relay.log.events.clear()
        for number in range(30):
            client = client_of()
            client.send(call(body(), headers=ids(number)))
            for upstream in upstreams:
                if upstream.transport.taken():
                    upstream.send(reply())
        return [event.subject.provider for event in relay.log.events]

    relay = relay_with(
        {}, routes=(Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=50),)
    )
    upstreams = [relay.provider("legacy"), relay.provider("holysheep")]
    one = relay.client()
    cached = await providers(lambda: one)
    assert set(cached) == {"legacy", "holysheep"}
    assert cached == await providers(relay.client)


async def test_a_key_that_was_revoked_in_between_is_refused(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    answered(client, upstream, call(body()))
    relay.install(document(generation=2, keys=document().tenant.keys[1:]))
    assert error(client.send(call(body())))["code"] == "invalid_api_key"


async def test_the_request_to_the_provider_follows_the_document(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    answered(client, upstream, call(body()))
    assert b"x-fixed" not in upstream.transport.taken()
    providers = tuple(
        provider(p.name, headers={"X-Fixed": "new"}) if p.name == "legacy" else p
        for p in document().catalogue.providers
    )
    relay.install(document(generation=2, providers=providers))
    client.send(call(body()))
    assert fields(upstream.transport.taken())["x-fixed"] == "new"


async def test_a_body_beyond_the_bounds_is_refused_after_a_cached_head(relay_with: Make) -> None:
    relay = relay_with({"max_body_bytes": 200})
    client, upstream = relay.client(), relay.provider()
    assert status(answered(client, upstream, call(body()))) == 200
    assert status(answered(client, upstream, call(body("x" * 200)))) == 413


async def test_a_draining_relay_closes_after_the_answer(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    answered(client, upstream, call(body()))
    relay.service.connections.drain()
    assert fields(answered(client, upstream, call(body())))["connection"] == "close"
    assert client.transport.closed


async def test_a_connection_whose_heads_always_differ_is_no_longer_cached(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    for number in range(MAX_MISSES + 3):
        request = call(body(), headers=f"X-Turn: {number}\r\n")
        assert status(answered(client, upstream, request)) == 200
    connection = client.protocol
    assert isinstance(connection, ClientConnection)
    assert connection._heads._misses == MAX_MISSES
    answered(client, upstream, call(body()))
    # nor does it keep anything of them
    assert (connection._heads._head, connection._heads._parsed) == (None, None)
    assert relay.service.connections.head_memory.used == 0


async def test_long_heads_are_not_cached(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    for padding in ("X-A: " + "a" * 2048 + "\r\n", "".join(f"X-{n}: a\r\n" for n in range(40))):
        assert status(answered(client, upstream, call(body(), headers=padding))) == 200
        connection = client.protocol
        assert isinstance(connection, ClientConnection)
        assert (connection._heads._head, connection._heads._parsed) == (None, None)


async def test_all_cached_heads_together_are_bounded(relay_with: Make) -> None:
    relay = relay_with({"max_cached_head_bytes": 2000})
    first, second = relay.client(), relay.client()
    upstream = relay.provider()
    for client in (first, second, second):
        assert status(answered(client, upstream, call(body()))) == 200
    memory = relay.service.connections.head_memory
    assert 0 < memory.used <= 2000
    without_parser(first)
    assert status(answered(first, upstream, call(body("again")))) == 200
    first.hang_up()
    assert memory.used == 0
    assert status(answered(second, upstream, call(body()))) == 200
    assert memory.used > 0
    without_parser(second)
    assert status(answered(second, upstream, call(body("again")))) == 200


# --- the two ways side by side ---

TRACE = b"00-aaaa0000000000000000000000000001-00000000000000ff-01"
IDS = f"X-Request-ID: same\r\nTraceparent: {TRACE.decode()}\r\nX-Session-ID: s1\r\n"
PLAIN = call(body(), headers=IDS)
LENGTH = f"Content-Length: {len(body())}".encode()


def changed(old: bytes, new: bytes) -> bytes:
    assert old in PLAIN
    return PLAIN.replace(old, new, 1)


READS: tuple[bytes, ...] = (
    PLAIN,
    call(body("another text"), headers=IDS),
    call(b"[]", headers=IDS),
    call(b"{not json", headers=IDS),
    PLAIN[:60],
    PLAIN[60:],
    PLAIN[:-5],
    PLAIN + PLAIN,
    PLAIN + b"G",
    b"\r\n" + PLAIN,
    changed(LENGTH, LENGTH + b" "),
    changed(LENGTH, b"Content-Length: 0" + LENGTH[16:]),
    changed(LENGTH, b"Content-Length: +" + LENGTH[16:]),
    changed(LENGTH, b"Content-Length:" + LENGTH[16:]),
    changed(LENGTH, b"Content-Length: 2"),
    changed(LENGTH, b"Content-Length: 99999999999"),
    changed(LENGTH, b"Content-Length: "),
    changed(LENGTH, b"content-length: " + LENGTH[16:]),
    changed(LENGTH, LENGTH + b"\r\n" + LENGTH),
    changed(LENGTH, LENGTH + b"\r\nTransfer-Encoding: chunked"),
    changed(LENGTH, b"Transfer-Encoding: chunked"),
    changed(b"same", b"same" + LENGTH),
    changed(b"same", b"other"),
    changed(b"same", b""),
    changed(b"same", b"other "),
    changed(b"same", b"\tother"),
    changed(b"same", b"two words"),
    changed(b"same", b"a" * 128),
    changed(b"same", b"a" * 129),
    changed(b"same", b"a\nContent-Length: 0"),
    changed(b"same", b"a\rContent-Length: 0"),
    changed(b"same", b"a\0"),
    changed(b"same", b"a\r\n folded"),
    changed(b"same", b"a\r\nX-Request-ID: b"),
    changed(b"same", b"caf\xe9"),
    changed(b"X-Request-ID: same", b"X-Request-ID:same"),
    changed(b"X-Request-ID: same", b"X-Request-ID : same"),
    changed(b"X-Request-ID: same", b"X-Request-Id: other"),
    changed(b"X-Request-ID: same\r\n", b""),
    changed(TRACE, TRACE.replace(b"1-", b"2-")),
    changed(TRACE, b"ff" + TRACE[2:]),
    changed(TRACE, b"no-trace"),
    changed(TRACE, TRACE + b"\r\nTransfer-Encoding: chunked"),
    changed(b"s1", b"s2"),
    changed(b"s1\r\n", b"s1\r\n\r\n"),
    changed(b"Traceparent", b"Tracestate"),
    changed(API_KEY.encode(), b"sk-relay-of-nobody"),
    changed(b"POST", b"GET"),
    changed(b"HTTP/1.1", b"HTTP/1.0"),
    changed(b"Host: relay", b"Host: relay\r\nExpect: 100-continue"),
    changed(b"Host: relay", b"Host: relay\r\nConnection: close"),
    changed(b"Host: relay", b"Host: relay\r\nConnection: Upgrade\r\nUpgrade: h2c"),
    changed(b"/v1/chat/completions", b"/v1/nothing"),
)
_OF_ITS_OWN = re.compile(
    rb"(traceparent: 00-aaaa[0-9a-f]{28}-)[0-9a-f]{16}|(traceparent: 00-)(?!aaaa)[0-9a-f-]+"
    rb"|(x-request-id: req_)[0-9a-f]+"
)
"""Ids that the relay makes; those of the caller must arrive."""


def conversation(reads: list[bytes], *, knowing: bool) -> tuple[Any, ...]:
    """Returns all that client, provider and log see of these reads, except ids."""

    async def run(directory: Path) -> tuple[Any, ...]:
        relay = MemoryRelay(document(), directory)
        client, upstream = relay.client(), relay.provider()
        connection = client.protocol
        assert isinstance(connection, ClientConnection)
        if not knowing:
            connection._heads.disable()
        seen: list[bytes] = []
        for read in reads:
            if client.transport.closed:
                break
            answer = client.send(read)
            while asked := upstream.transport.taken():
                upstream.send(reply())
                answer += b"|" + asked + b"|" + client.transport.taken()
            seen.append(_OF_ITS_OWN.sub(rb"\1\2\3", answer))
        told = [(event.outcome, event.status, event.tokens) for event in relay.log.events]
        return seen, told, client.transport.closed, relay.service.connections.buffered_bytes

    with TemporaryDirectory() as name:
        return asyncio.run(run(Path(name)))


@given(st.lists(st.sampled_from(READS), min_size=2, max_size=6))
@example([PLAIN, PLAIN])
def test_a_cached_head_changes_nothing_that_anyone_sees(reads: list[bytes]) -> None:
    assert conversation([PLAIN, *reads], knowing=True) == conversation(
        [PLAIN, *reads], knowing=False
    )


@pytest.mark.parametrize("second", range(len(READS)))
def test_a_read_after_a_cached_head_is_answered_as_without_the_cache(second: int) -> None:
    reads = [PLAIN, READS[second], PLAIN]
    assert conversation(reads, knowing=True) == conversation(reads, knowing=False)


def test_a_repeated_head_is_served_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = HeadCache.body_start

    def body_start(self: HeadCache, data: bytes) -> int:
        taken.append(original(self, data))
        return taken[-1]

    monkeypatch.setattr(HeadCache, "body_start", body_start)
    conversation([PLAIN, READS[1], PLAIN], knowing=True)
    assert [start > 0 for start in taken] == [False, True, True]
