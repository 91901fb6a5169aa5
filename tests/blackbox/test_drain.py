"""On SIGTERM the relay is not ready, finishes streams in flight, accepts nothing new and exits with 0."""

import json
import signal

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import Queue
from relay_contract.endpoints import BREAKERS_PATH, HEALTH_PATH

AUTHORISED = {"authorization": f"Bearer {KEY}"}


def call(*, stream: bool = True) -> bytes:
    return request_bytes("POST", CHAT, AUTHORISED, chat_body(stream=stream))


def refuses_connections(relay: Relay) -> bool:
    try:
        relay.wire().close()
    except OSError:
        return True
    return False


def test_an_idle_relay_exits_soon_with_code_0(new_relay: NewRelay) -> None:
    relay = new_relay()
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait(5) == 0


def test_whoever_waits_for_a_change_of_the_breakers_does_not_hold_up_the_exit(
    new_relay: NewRelay,
) -> None:
    relay = new_relay()
    seen = json.loads(relay.admin("GET", BREAKERS_PATH).body)["tag"]
    with Wire(relay.admin_port) as wire:
        wire.send(request_bytes("GET", f"{BREAKERS_PATH}?seen={seen}&wait=20"))
        # the next answer on another connection shows that the question was taken
        assert relay.admin("GET", HEALTH_PATH).status == 200
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(8) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_in_flight_finishes_and_new_connections_are_refused(
    new_relay: NewRelay, stable: Upstream, number: signal.Signals
) -> None:
    relay = new_relay(drain_seconds="20")
    stable.behave(hold_after_events=2)
    with relay.wire() as wire:
        wire.send(call())
        head = wire.head()
        wire.chunk()
        relay.process.send_signal(number)
        eventually(lambda: refuses_connections(relay), what="the refusal of new connections")
        assert relay.process.exit_code is None
        stable.release()
        assert wire.body_of(head).body.endswith(b"data: [DONE]\n\n")
    assert relay.process.wait(5) == 0


def test_a_draining_relay_is_not_ready(new_relay: NewRelay, stable: Upstream) -> None:
    relay = new_relay(drain_seconds="20")
    stable.behave(hold_after_events=2)
    with relay.wire() as wire:
        wire.send(call())
        head = wire.head()
        relay.process.send_signal(signal.SIGTERM)
        eventually(lambda: relay.ready().status, lambda status: status == 503, what="not ready")
        assert relay.admin("GET", "/healthz").status == 200
        assert relay.metrics().total("relay_in_flight") == 1
        stable.release()
        wire.body_of(head)
    assert relay.process.wait(5) == 0


def test_a_draining_relay_serves_new_connections_until_endpoints_have_moved(
    new_relay: NewRelay, stable: Upstream
) -> None:
    relay = new_relay(drain_accept_seconds="2", drain_seconds="20")
    relay.process.send_signal(signal.SIGTERM)
    eventually(lambda: relay.ready().status, lambda status: status == 503, what="not ready")
    answer = relay.chat()
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert relay.process.wait(10) == 0


def test_a_unary_call_in_flight_is_answered(new_relay: NewRelay, stable: Upstream) -> None:
    relay = new_relay(drain_seconds="20")
    stable.behave(hold_after_events=0)
    with relay.wire() as wire:
        wire.send(call(stream=False))
        eventually(stable.stats, lambda stats: stats["held"] == 1, what="the call upstream")
        relay.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(relay), what="the refusal of new connections")
        stable.release()
        answer = wire.answer()
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert relay.process.wait(5) == 0


def test_an_idle_connection_is_served_to_the_end_of_the_drain(new_relay: NewRelay) -> None:
    """Whoever keeps one may be about to call: a close would cross the request, which is then lost."""
    relay = new_relay(drain_seconds="20")
    with relay.wire() as first, relay.wire() as second:
        relay.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(relay), what="the refusal of new connections")
        # several looks of the drain, each of which might have closed them
        assert first.pending(3) == b""
        for wire in (first, second):
            wire.send(call(stream=False))
            answer = wire.answer()
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert wire.ended()
    assert relay.process.wait(5) == 0


def test_idle_connections_are_closed_in_order_when_the_drain_time_is_over(
    new_relay: NewRelay,
) -> None:
    relay = new_relay(drain_seconds="3")
    with relay.wire() as wire:
        wire.send(call(stream=False))
        assert wire.answer().status == 200
        relay.process.send_signal(signal.SIGTERM)
        assert wire.ended()
    assert relay.process.wait(5) == 0


def test_a_stream_that_never_ends_is_aborted_when_the_drain_time_is_over(
    new_relay: NewRelay, stable: Upstream
) -> None:
    relay = new_relay(drain_seconds="1")
    stable.behave(hold_after_events=2)
    with relay.wire() as wire:
        wire.send(call())
        wire.head()
        relay.process.send_signal(signal.SIGTERM)
        assert b"[DONE]" not in wire.rest()
    assert relay.process.wait(5) == 0


def test_queued_calls_are_answered_while_the_relay_drains(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    one_seat = Queue(concurrency=1, max_depth=10, max_wait_seconds=30)
    relay = new_relay(document=platform.document(queue=one_seat), drain_seconds="20")
    stable.behave(hold_after_events=0)
    with relay.wire() as first, relay.wire() as second:
        first.send(call(stream=False))
        eventually(stable.stats, lambda stats: stats["held"] == 1, what="the first call upstream")
        second.send(call(stream=False))
        eventually(
            lambda: relay.metrics().total("relay_queue_depth"),
            lambda depth: depth == 1,
            what="the queued call",
        )
        relay.process.send_signal(signal.SIGTERM)
        eventually(lambda: relay.ready().status, lambda status: status == 503, what="not ready")
        stable.behave(hold_after_events=None)
        stable.release()
        assert first.answer().status == 200
        assert second.answer().status in (200, 503)
    assert relay.process.wait(5) == 0
