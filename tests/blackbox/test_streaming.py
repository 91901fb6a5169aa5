"""Streams are passed on at once, a client that left frees its provider, and a slow reader costs no memory."""

from collections.abc import Iterator

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import Answer, Wire, request_bytes

VOLUME_BYTES = 300_000_000
READ_BEFORE_STOPPING_BYTES = 1_000_000
IN_THE_PIPES_BYTES = 40_000_000
"""Kernel buffers of two loopback hops and the buffers of two processes; far below the volume."""
GROWTH_BYTES = 24_000_000
WITHIN_AN_EVENT_SECONDS = 2.0


@pytest.fixture
def relay(patient_relay: Relay) -> Relay:
    """Starts a relay with timeouts of minutes, so that an early end has the reason the test is about."""
    return patient_relay


def streamed_call() -> bytes:
    headers = {"authorization": f"Bearer {KEY}"}
    return request_bytes("POST", CHAT, headers, chat_body(stream=True))


def test_the_head_arrives_before_the_first_event(stable: Upstream, relay: Relay) -> None:
    stable.behave(first_token_ms=600_000)
    with relay.wire() as wire:
        wire.send(streamed_call())
        assert wire.head().status == 200


def test_the_first_event_arrives_while_the_rest_is_withheld(stable: Upstream, relay: Relay) -> None:
    stable.behave(hold_after_events=1)
    with relay.wire() as wire:
        wire.send(streamed_call())
        head = wire.head()
        first = wire.chunk()
        assert b'"role":"assistant"' in first
        assert stable.stats()["held"] == 1
        stable.release()
        rest = wire.body_of(head).body
    assert rest.endswith(b"data: [DONE]\n\n")


def test_each_event_arrives_when_it_is_sent(stable: Upstream, relay: Relay) -> None:
    stable.behave(token_interval_ms=50, completion_tokens=4)
    with relay.wire() as wire:
        wire.send(streamed_call())
        wire.head()
        chunks = list(iter(wire.chunk, b""))
    assert len(chunks) >= 1 + 4 + 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
def test_a_client_that_leaves_frees_its_upstream_call(
    stable: Upstream, relay: Relay, stream: bool
) -> None:
    stable.behave(hold_after_events=1)
    with relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=stream)))
        eventually(stable.stats, lambda stats: stats["held"] == 1, what="the held answer")
    eventually(
        stable.stats,
        lambda stats: stats["in_flight"] == 0 and stats["outcomes"] == {"aborted": 1},
        within_seconds=WITHIN_AN_EVENT_SECONDS,
        what="the end of the upstream call",
    )


def test_a_client_that_resets_frees_its_upstream_call(stable: Upstream, relay: Relay) -> None:
    stable.behave(token_interval_ms=20, completion_tokens=10_000)
    with relay.wire() as wire:
        wire.send(streamed_call())
        wire.head()
        wire.chunk()
        wire.reset()
    eventually(
        stable.stats,
        lambda stats: stats["aborted_streams"] == 1,
        within_seconds=WITHIN_AN_EVENT_SECONDS,
        what="the end of the upstream stream",
    )


def test_a_call_whose_client_leaves_before_its_body_is_complete_reaches_no_provider(
    stable: Upstream, relay: Relay
) -> None:
    with relay.wire() as wire:
        wire.send(streamed_call()[:-10])
    assert relay.chat().status == 200
    assert stable.calls() == 1


def test_a_seat_is_free_again_after_its_client_left(stable: Upstream, relay: Relay) -> None:
    stable.behave(hold_after_events=1)
    with relay.wire() as wire:
        wire.send(streamed_call())
        wire.head()
        in_flight(relay, 1)
    in_flight(relay, 0)


def in_flight(relay: Relay, count: int) -> None:
    eventually(
        lambda: relay.metrics().total("relay_in_flight"),
        lambda seen: seen == count,
        what=f"relay_in_flight == {count}",
    )


def test_a_slow_reader_stops_the_upstream_and_costs_no_memory(
    stable: Upstream, relay: Relay
) -> None:
    stable.behave(stream_bytes=VOLUME_BYTES)
    before = relay.process.memory_bytes()
    with relay.wire(receive_buffer_bytes=65536, deadline_seconds=30) as wire:
        wire.send(streamed_call())
        head = wire.head()
        taken = wire.exactly(READ_BEFORE_STOPPING_BYTES)
        sent = eventually_steady(stable)
        assert sent < READ_BEFORE_STOPPING_BYTES + IN_THE_PIPES_BYTES, sent
        assert relay.process.memory_bytes() - before < GROWTH_BYTES
        peak, total = before, len(taken)
        for size in drained(wire, head):
            total += size
            if total % 50_000_000 < size:
                peak = max(peak, relay.process.memory_bytes())
    assert total > VOLUME_BYTES
    assert peak - before < GROWTH_BYTES
    assert stable.stats()["outcomes"] == {"answered": 1}


def eventually_steady(upstream: Upstream) -> int:
    """Returns how much the upstream had sent when it stopped sending."""

    def sent() -> int:
        return int(upstream.stats()["bytes_sent"])

    def sent_if_steady() -> int:
        try:
            return steady(sent, for_seconds=0.3)
        except AssertionError:
            return 0

    return eventually(sent_if_steady, what="the upstream's pause")


def drained(wire: Wire, head: Answer) -> Iterator[int]:
    """Reads to the end of the chunked body and yields the sizes read, framing included."""
    assert head.header("transfer-encoding") == "chunked"
    ending = b""
    while not ending.endswith(b"\r\n0\r\n\r\n"):
        data = wire.some()
        ending = (ending + data)[-16:]
        yield len(data)


def test_a_client_that_never_reads_does_not_delay_others(stable: Upstream, relay: Relay) -> None:
    stable.behave(stream_bytes=50_000_000)
    with relay.wire(receive_buffer_bytes=4096) as wire:
        wire.send(streamed_call())
        wire.head()
        eventually_steady(stable)
        stable.behave(stream_bytes=0)
        for _ in range(20):
            assert relay.chat().status == 200


def test_a_half_closed_client_still_gets_its_answer(stable: Upstream, relay: Relay) -> None:
    # RFC 9112, 9.6 lets a server treat this as gone; it must not hang or answer in part
    stable.behave(latency_ms=50)
    with relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}", "connection": "close"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body()))
        wire.half_close()
        data = wire.rest()
    assert data == b"" or (data.startswith(b"HTTP/1.1 200") and data.endswith(b"}"))


def test_the_relays_own_answer_reaches_a_half_closed_client(relay: Relay) -> None:
    with relay.wire() as wire:
        wire.send(request_bytes("GET", "/v1/models", {"authorization": f"Bearer {KEY}"}))
        wire.half_close()
        assert wire.rest().startswith(b"HTTP/1.1 200")


def test_many_streams_at_once_all_end_complete(stable: Upstream, relay: Relay) -> None:
    stable.behave(token_interval_ms=10, completion_tokens=20)
    wires = [relay.wire() for _ in range(64)]
    try:
        for wire in wires:
            wire.send(streamed_call())
        answers = [wire.answer() for wire in wires]
    finally:
        for wire in wires:
            wire.close()
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body.endswith(b"data: [DONE]\n\n") for answer in answers)
    assert {answer.body.count(b"\n\n") for answer in answers} == {1 + 20 + 1 + 1}
