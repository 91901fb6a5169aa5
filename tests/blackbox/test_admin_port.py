"""The admin port under callers that leave their requests unfinished: probes, scrapes and pushes get in."""

import contextlib
import gzip
import socket
from collections.abc import Callable, Iterator

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import MAX_DOCUMENT_BYTES
from relay_contract.endpoints import CONFIG_PATH, HEALTH_PATH, METRICS_PATH

MOST = 64
"""The relay's bound on connections of the admin port."""
UNFINISHED = {
    "nothing sent": b"",
    "half a head": b"PUT /config HTTP/1.1\r\nhost: r",
    "a push without its body": b"PUT /config HTTP/1.1\r\nhost: r\r\ncontent-length: 1000\r\n\r\n{",
    "a large push": (
        b"PUT /config HTTP/1.1\r\nhost: r\r\ncontent-length: 1000000\r\n\r\n" + b"a" * 500_000
    ),
    "a push in chunks": (
        b"PUT /config HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n5\r\naaaaa\r\n"
    ),
    "a probe with half a body": b"GET /healthz HTTP/1.1\r\nhost: r\r\ncontent-length: 10\r\n\r\na",
    "another path": b"PUT /nothing HTTP/1.1\r\nhost: r\r\ncontent-length: 1000\r\n\r\n{",
}


Open = Callable[[Relay, bytes, int], list[Wire]]


@pytest.fixture
def unfinished() -> Iterator[Open]:
    """Opens connections, with the beginning of a request on each."""
    with contextlib.ExitStack() as stack:

        def opened(relay: Relay, start: bytes, count: int) -> list[Wire]:
            wires: list[Wire] = []
            for _ in range(count):
                wire = stack.enter_context(Wire(relay.admin_port))
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    wire.send(start)
                wires.append(wire)
            return wires

        yield opened


def still_open(wires: list[Wire]) -> int:
    for wire in wires:
        wire.pending(0.001)
    return sum(not wire.has_ended for wire in wires)


@pytest.mark.parametrize("start", UNFINISHED.values(), ids=UNFINISHED)
def test_probes_scrapes_and_pushes_get_in_beside_three_hundred_unfinished_requests(
    relay: Relay, platform: Platform, unfinished: Open, start: bytes
) -> None:
    before = relay.process.memory_bytes()
    wires = unfinished(relay, start, 300)
    assert relay.ready().status == 200
    assert relay.admin("GET", HEALTH_PATH).status == 200
    assert relay.metrics().total("relay_in_flight") == 0
    assert relay.push(platform.document()).generation == platform.signer.generation
    eventually(lambda: still_open(wires), lambda count: count <= MOST, what="their bound")
    # what all of them sent is 150 MB
    assert relay.process.memory_bytes() - before < 80 * 1024 * 1024


@pytest.mark.parametrize("start", UNFINISHED.values(), ids=UNFINISHED)
def test_an_unfinished_request_has_its_time(
    new_relay: NewRelay, unfinished: Open, start: bytes
) -> None:
    relay = new_relay(admin_request_seconds="0.5")
    (wire,) = unfinished(relay, start, 1)
    eventually(lambda: still_open([wire]), lambda count: count == 0, within_seconds=5)


def test_a_byte_now_and_then_buys_no_time(new_relay: NewRelay, unfinished: Open) -> None:
    relay = new_relay(admin_request_seconds="0.5")
    (wire,) = unfinished(relay, UNFINISHED["half a head"], 1)

    def drip() -> int:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            wire.send(b"a")
        return still_open([wire])

    eventually(drip, lambda count: count == 0, within_seconds=5, what="the end of the connection")


def test_a_scraper_keeps_its_connection_between_scrapes(relay: Relay) -> None:
    with Wire(relay.admin_port) as wire:
        for _ in range(3):
            wire.send(request_bytes("GET", METRICS_PATH))
            assert wire.answer().status == 200


def test_a_scraper_that_reads_nothing_keeps_nobody_out(relay: Relay) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2 * MOST):
            wire = stack.enter_context(Wire(relay.admin_port, receive_buffer_bytes=4096))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                wire.send(request_bytes("GET", METRICS_PATH) * 20)
        assert relay.ready().status == 200


def test_a_compressed_push_is_not_unpacked(relay: Relay) -> None:
    bomb = gzip.compress(b" " * (MAX_DOCUMENT_BYTES * 64))
    with Wire(relay.admin_port) as wire:
        wire.send(request_bytes("PUT", CONFIG_PATH, {"content-encoding": "gzip"}, bomb))
        assert wire.answer().status == 400


SECRET = b"sk-planted-in-a-head"
MALFORMED = {
    "a huge field": b"GET /healthz HTTP/1.1\r\nhost: r\r\nx: " + SECRET * 10_000 + b"\r\n\r\n",
    "a huge target": b"GET /" + SECRET * 10_000 + b" HTTP/1.1\r\nhost: r\r\n\r\n",
    "many fields": b"GET /healthz HTTP/1.1\r\nhost: r\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    "two lengths": b"PUT /config HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "no length": b"PUT /config HTTP/1.1\r\ncontent-length: " + SECRET + b"\r\n\r\n",
    "no chunk": b"PUT /config HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
    "no request": SECRET * 100 + b"\r\n\r\n",
    "half a push": b"PUT /config HTTP/1.1\r\ncontent-length: 500\r\n\r\n" + SECRET,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_writes_at_most_two_bounded_lines(
    new_relay: NewRelay, unfinished: Open, text: bytes
) -> None:
    relay = new_relay(admin_request_seconds="0.3")
    # what a worker tells of its beginning
    eventually(
        lambda: relay.output().count("upstream_key_read"), lambda read: read == 3, what="three keys"
    )
    before = len(relay.output())
    for wire in unfinished(relay, text, 20):
        wire.rest()
    assert relay.ready().status == 200
    written = relay.output()[before:]
    assert SECRET.decode() not in written
    lines = written.splitlines()
    assert len(lines) <= 2, written
    assert all(len(line) < 500 for line in lines)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ports_take_both_kinds_of_addresses(new_relay: NewRelay, host: str) -> None:
    relay = new_relay(traffic_host="::", admin_host="::")
    for port, path in ((relay.port, "/v1/models"), (relay.admin_port, HEALTH_PATH)):
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(request_bytes("GET", path, {"connection": "close"}))
            assert connection.recv(100).startswith(b"HTTP/1.1 ")
