"""Small writes at the end of the loop's turn: order, closes and losses are as with immediate writes."""

import asyncio
from collections.abc import Callable

from tests.unit.relay.documents import BACKUP, STABLE
from tests.unit.relay.memory import (
    CONTENT,
    STREAM_HEAD,
    MemoryRelay,
    Peer,
    call,
    chunk,
    get,
    reply,
    status,
)

from relay.http.outbox import SOON_BYTES
from relay_contract.document import Route

Make = Callable[..., MemoryRelay]


def heard(peer: Peer, data: bytes) -> None:
    """Lets the relay read the data within the turn."""
    peer.protocol.data_received(data)


async def test_answers_of_one_turn_are_written_at_its_end(relay: MemoryRelay) -> None:
    clients = [relay.client() for _ in range(3)]
    for client in clients:
        heard(client, get("/v1/models"))
        assert client.transport.sent == b""
    await asyncio.sleep(0)
    assert [status(client.transport.taken()) for client in clients] == [200] * 3


async def test_small_requests_are_written_at_the_end_of_the_turn_and_large_ones_at_once(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    heard(client, call())
    assert upstream.transport.sent == b""
    await asyncio.sleep(0)
    assert upstream.transport.taken().startswith(b"POST ")
    upstream.send(reply())
    text = "x" * SOON_BYTES
    heard(client, call({"model": "gpt-4.1", "messages": [{"role": "user", "content": text}]}))
    assert upstream.transport.taken().endswith(b"}")


async def test_a_stream_is_written_as_it_comes(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call({"model": "gpt-4.1", "stream": True, "messages": []}))
    heard(upstream, STREAM_HEAD + chunk(CONTENT))
    assert client.transport.taken().endswith(chunk(CONTENT))


async def test_answers_keep_their_order_in_one_turn(relay: MemoryRelay) -> None:
    client = relay.client()
    heard(client, get("/v1/models") + get("/v1/nothing") + get("/v1/me"))
    await asyncio.sleep(0)
    answers = client.transport.taken().split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"404", b"200"]


async def test_a_connection_closes_behind_its_answer(relay: MemoryRelay) -> None:
    client = relay.client()
    heard(client, get("/v1/models", headers="Connection: close\r\n"))
    assert client.transport.closed
    assert status(client.transport.taken()) == 200


async def test_a_client_that_ends_its_side_in_the_same_turn_is_answered(relay: MemoryRelay) -> None:
    client = relay.client()
    heard(client, get("/v1/models"))
    client.protocol.eof_received()
    assert status(client.transport.taken()) == 200


async def test_nothing_is_written_to_a_client_that_left_in_the_same_turn(
    relay: MemoryRelay,
) -> None:
    client = relay.client()
    heard(client, get("/v1/models"))
    client.transport.closed = True
    client.protocol.connection_lost(None)
    await asyncio.sleep(0)
    assert client.transport.sent == b""


async def test_a_request_that_was_never_written_is_sent_on_another_connection(
    relay: MemoryRelay,
) -> None:
    client, first = relay.client(), relay.provider()
    heard(client, call())
    first.hang_up(ConnectionResetError())
    assert first.transport.sent == b""
    second = relay.provider()
    second.send(reply())
    assert status(client.transport.taken()) == 200
    assert [event.outcome for event in relay.log.events] == ["ok"]


async def test_a_request_that_was_never_written_twice_goes_to_the_fallback(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),))
    client, first, backup = relay.client(), relay.provider(), relay.provider("backup")
    heard(client, call())
    first.hang_up(ConnectionResetError())
    again = relay.provider()
    again.hang_up(ConnectionResetError())
    assert again.transport.sent == b""
    backup.send(reply())
    assert status(client.transport.taken()) == 200
    assert [event.outcome for event in relay.log.events] == ["unreachable", "ok"]
    # what never left was neither charged nor estimated
    assert [event.charged_tokens > 0 for event in relay.log.events] == [False, True]


async def test_sending_again_takes_from_the_budget_of_further_attempts(relay_with: Make) -> None:
    relay = relay_with({"retry_ratio": 0, "retry_burst": 1})
    for expected in (200, 502):
        client, first = relay.client(), relay.provider()
        heard(client, call())
        first.hang_up(ConnectionResetError())
        if expected == 200:
            relay.provider().send(reply())
        assert status(client.transport.taken()) == expected


async def test_a_call_whose_client_left_at_once_is_never_sent(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    heard(client, call())
    client.hang_up()
    await asyncio.sleep(0)
    assert upstream.transport.sent == b""
    assert upstream.transport.aborted
