"""Slow, idle, huge or many connections cost the relay little and other clients nothing."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

AUTHORISED = {"authorization": f"Bearer {KEY}"}
IDLE_CONNECTIONS = 10_000
BYTES_PER_IDLE_CONNECTION = 16 * 1024
SPARE_FILES = 1_000


@pytest.fixture
def impatient(new_relay: NewRelay) -> Relay:
    """Starts a relay with all client timeouts at half a second."""
    return new_relay(
        header_timeout_seconds="0.5",
        body_timeout_seconds="0.5",
        idle_timeout_seconds="0.5",
        slow_reader_seconds="0.5",
    )


def test_an_idle_connection_is_closed_after_the_idle_timeout(impatient: Relay) -> None:
    with impatient.wire() as wire:
        assert wire.rest() == b""


def test_a_connection_that_is_idle_after_an_answer_is_closed(impatient: Relay) -> None:
    with impatient.wire() as wire:
        wire.send(request_bytes("POST", CHAT, AUTHORISED, chat_body()))
        assert wire.answer().status == 200
        assert wire.rest() == b""


def test_a_request_head_that_trickles_in_is_aborted(impatient: Relay) -> None:
    with impatient.wire() as wire:
        wire.send(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\n".encode())
        received = trickled(wire, b"x-slow: 1\r\n")
    assert received == b"" or received.startswith(b"HTTP/1.1 408 ")


def test_a_request_body_that_trickles_in_is_aborted(impatient: Relay, stable: Upstream) -> None:
    with impatient.wire() as wire:
        headers = {**AUTHORISED, "content-length": "100000"}
        wire.send(request_bytes("POST", CHAT, headers))
        received = trickled(wire, b" ")
    assert received == b"" or received.startswith(b"HTTP/1.1 408 ")
    assert stable.calls() == 0


def trickled(wire: Wire, drop: bytes) -> bytes:
    """Sends the drop every tenth of a second until something comes back and returns that; at most ten seconds."""
    for _ in range(100):
        try:
            wire.send(drop)
        except OSError:
            return b""
        received = wire.pending(0.1)
        if received or wire.has_ended:
            return received
    raise AssertionError("the relay accepted a trickle for ten seconds")


def test_a_client_that_reads_nothing_is_aborted_and_its_upstream_call_freed(
    impatient: Relay, stable: Upstream
) -> None:
    stable.behave(stream_bytes=50_000_000)
    with impatient.wire(receive_buffer_bytes=4096) as wire:
        wire.send(request_bytes("POST", CHAT, AUTHORISED, chat_body(stream=True)))
        eventually(
            stable.stats, lambda stats: stats["aborted_streams"] == 1, what="the aborted stream"
        )
        wire.rest()


def test_a_connection_with_a_long_answer_is_not_idle(impatient: Relay, stable: Upstream) -> None:
    stable.behave(latency_ms=1500)
    assert impatient.chat().status == 200


@pytest.mark.parametrize("size", [40_000, 4_000_000], ids=["40kB", "4MB"])
def test_a_huge_header_is_refused_with_431(relay: Relay, size: int) -> None:
    with relay.wire() as wire:
        wire.send(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nx-huge: ".encode())
        send_what_is_taken(wire, b"h" * size + b"\r\n\r\n")
        assert wire.answer().status == 431


def test_very_many_headers_are_refused_with_431(relay: Relay) -> None:
    headers = {f"x-{number}": "1" for number in range(500)}
    answer = relay.chat(headers=headers)
    assert answer.status == 431
    assert answer.error()["message"]


def test_a_huge_request_target_is_refused_with_414(relay: Relay) -> None:
    with relay.wire() as wire:
        send_what_is_taken(wire, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert wire.answer().status in (414, 431)


def send_what_is_taken(wire: Wire, data: bytes) -> None:
    """Sends the data, or as much as the peer accepts before it ends the connection."""
    with suppress(BrokenPipeError, ConnectionResetError):
        wire.send(data)


@pytest.mark.parametrize("announced", [True, False], ids=["content-length", "chunked"])
def test_a_body_over_the_limit_is_refused_with_413_however_it_is_framed(
    new_relay: NewRelay, stable: Upstream, announced: bool
) -> None:
    relay = new_relay(max_body_bytes="65536")
    with relay.wire() as wire:
        if announced:
            wire.send(request_bytes("POST", CHAT, {**AUTHORISED, "content-length": "1000000"}))
        else:
            wire.send(request_bytes("POST", CHAT, {**AUTHORISED, "transfer-encoding": "chunked"}))
            send_what_is_taken(wire, (b"2000\r\n" + b"x" * 0x2000 + b"\r\n") * 16)
        answer = wire.answer()
        assert (answer.status, answer.error()["code"]) == (413, "payload_too_large")
    assert stable.calls() == 0


def test_a_connection_is_closed_after_an_answer_once_it_is_old(new_relay: NewRelay) -> None:
    relay = new_relay(connection_age_seconds="0.3")
    request = request_bytes("POST", CHAT, AUTHORISED, chat_body())
    with relay.wire() as wire:
        for _ in range(1000):
            wire.send(request)
            answer = wire.answer()
            assert answer.status == 200
            if answer.header("connection") == "close":
                assert wire.ended()
                return
            wire.pending(0.01)
    raise AssertionError("an old connection was never closed")


def test_upstream_connections_are_reused(relay: Relay, stable: Upstream) -> None:
    for _ in range(50):
        relay.chat()
    assert len({received.connection for received in stable.received()}) <= 3


def test_a_malformed_request_opens_no_upstream_connection(relay: Relay, stable: Upstream) -> None:
    for _ in range(20):
        with relay.wire() as wire:
            wire.send(b"nonsense\r\n\r\n")
            assert wire.answer().status in (400, 501)
    assert stable.stats()["bad_requests"] == 0
    assert relay.chat().status == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raises the limit of open files for this process and the relays it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE_CONNECTIONS + SPARE_FILES
    assert before[1] == resource.RLIM_INFINITY or before[1] >= needed, (
        f"the hard limit of open files is {before[1]}; this test needs {needed} (ulimit -Hn)"
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], needed), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_idle_connections_do_not_stop_the_service(
    many_files: None, new_unforked_relay: NewRelay
) -> None:
    relay = new_unforked_relay()
    before = relay.process.memory_bytes()
    with ExitStack() as crowd:
        for _ in range(IDLE_CONNECTIONS):
            crowd.enter_context(socket.create_connection(("127.0.0.1", relay.port), timeout=5))
        eventually(
            lambda: relay.metrics().total("relay_client_connections"),
            lambda seen: seen >= IDLE_CONNECTIONS,
            what=f"{IDLE_CONNECTIONS} connections",
        )
        assert [relay.chat().status for _ in range(20)] == [200] * 20
        grown = relay.process.memory_bytes() - before
        assert grown < IDLE_CONNECTIONS * BYTES_PER_IDLE_CONNECTION, grown
    eventually(
        lambda: relay.metrics().total("relay_client_connections"),
        lambda seen: seen <= 1,
        what="the end of the crowd",
    )
    assert relay.chat().status == 200
