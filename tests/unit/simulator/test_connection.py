"""Pace, holds, faults and back-pressure on a connection without a socket."""

import asyncio
import functools
import heapq
import io
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.simulator.behaviour import Behaviour, Fault, Framing
from tests.simulator.connection import Connection, Connections
from tests.simulator.provider import Provider


class Timer:
    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """Timers of a loop on a fake clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(functools.partial(callback, *args))
        heapq.heappush(self._due, (when, next(self._order), timer))
        return timer

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Timer:
        return self.call_at(self.now, callback, *args)

    def advance(self, seconds: float) -> None:
        """Moves the clock and runs all timers that become due, in order."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until + 1e-9:
            when, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if timer.callback is not None:
                timer.callback()
        self.now = until


class Wire(asyncio.Transport):
    """Collects what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Caller:
    """One connection to one provider, and the clock they share."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.provider = Provider(
            behaviour, recorded_requests=10, allow_override=False, seed=1, now=0.0
        )
        self.connections = Connections()
        self.connection = Connection(self.provider, self.connections, self.clock)
        self.connection.connection_made(self.wire)

    def send(self, **fields: Any) -> None:
        body = json.dumps({"model": "gpt-4.1", "messages": [], **fields}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        self.connection.data_received(head % len(body) + body)

    @property
    def events(self) -> int:
        return self.wire.sent.count(b"data: ")

    @property
    def body(self) -> bytes:
        return self.wire.sent.partition(b"\r\n\r\n")[2]


STREAMED_EVENTS = 1 + 16 + 1 + 1
"""Role, tokens, finish, [DONE]."""


def test_the_head_waits_for_the_latency() -> None:
    caller = Caller(Behaviour(latency_ms=50))
    caller.send()
    caller.clock.advance(0.049)
    assert caller.wire.sent == b""
    caller.clock.advance(0.002)
    assert caller.wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_stream_keeps_its_pace() -> None:
    caller = Caller(Behaviour(first_token_ms=100, token_interval_ms=10))
    caller.send(stream=True)
    assert caller.wire.sent.endswith(b"\r\n\r\n")
    assert caller.events == 0
    caller.clock.advance(0.1)
    assert caller.events == 1
    caller.clock.advance(0.03)
    assert caller.events == 4
    caller.clock.advance(1)
    assert caller.events == STREAMED_EVENTS
    assert caller.wire.sent.endswith(b"0\r\n\r\n")


def test_a_stream_without_pace_is_one_write_away() -> None:
    caller = Caller(Behaviour())
    caller.send(stream=True)
    assert caller.events == STREAMED_EVENTS


def test_a_held_stream_goes_on_when_released() -> None:
    caller = Caller(Behaviour(hold_after_events=2))
    caller.send(stream=True)
    assert caller.events == 2
    assert caller.connections.release() == 1
    assert caller.events == STREAMED_EVENTS
    assert caller.connections.release() == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_hold_at_zero_keeps_even_the_head(stream: bool) -> None:
    caller = Caller(Behaviour(hold_after_events=0))
    caller.send(stream=stream)
    assert caller.wire.sent == b""
    caller.connections.release()
    assert caller.wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert caller.provider.records.outcomes == {"answered": 1}


def test_a_paused_transport_stops_the_stream_until_it_drains() -> None:
    caller = Caller(Behaviour(stream_bytes=10_000_000))
    caller.connection.pause_writing()
    caller.send(stream=True)
    head = len(caller.wire.sent)
    assert caller.events == 0
    caller.connection.resume_writing()
    assert len(caller.wire.sent) > head + 10_000_000


def test_a_client_that_leaves_is_counted_and_nothing_fires_afterwards() -> None:
    caller = Caller(Behaviour(token_interval_ms=10))
    caller.send(stream=True)
    caller.clock.advance(0.02)
    caller.connection.connection_lost(None)
    sent = caller.events
    caller.clock.advance(1)
    assert caller.events == sent
    records = caller.provider.records
    assert (records.aborted_streams, records.in_flight, records.connections_open) == (1, 0, 0)
    assert records.last[0].events_sent == sent


def test_the_journal_has_a_line_of_each_call_that_has_ended_also_of_one_that_was_left() -> None:
    caller = Caller(Behaviour(error_first=1, error_status=503, completion_tokens=5))
    journal = caller.provider.records.journal = io.StringIO()
    caller.send()
    caller.send()
    caller.provider.behave(Behaviour(latency_ms=50), now=0.0)
    caller.send()
    caller.provider.reset(now=0.0)
    caller.connection.connection_lost(None)
    entries = [json.loads(line) for line in journal.getvalue().splitlines()]
    assert [(one["status"], one["outcome"]) for one in entries] == [
        (503, "answered"),
        (200, "answered"),
        (200, "aborted"),
    ]
    assert [one["completionTokens"] for one in entries] == [0, 5, 16]
    sent = re.findall(rb"x-request-id: (\S+)", caller.wire.sent)
    assert [one["answerId"].encode() for one in entries[:2]] == sent


def test_a_client_that_leaves_while_held_is_not_released() -> None:
    caller = Caller(Behaviour(hold_after_events=0))
    caller.send()
    caller.connection.connection_lost(None)
    assert caller.connections.release() == 0
    assert caller.wire.sent == b""


def test_a_dying_stream_ends_after_its_events_without_an_ending() -> None:
    caller = Caller(Behaviour(fault=Fault.DIE, fault_after_events=3))
    caller.send(stream=True)
    assert caller.events == 3
    assert caller.wire.closed
    assert not caller.wire.sent.endswith(b"0\r\n\r\n")
    assert caller.provider.records.outcomes == {"faulted": 1}


def test_a_dying_answer_stops_half_way() -> None:
    caller = Caller(Behaviour(fault=Fault.DIE))
    caller.send()
    with pytest.raises(json.JSONDecodeError):
        json.loads(caller.body)
    assert caller.wire.closed


def test_an_error_event_follows_good_events_and_ends_the_stream() -> None:
    caller = Caller(Behaviour(fault=Fault.ERROR_EVENT, fault_after_events=2))
    caller.send(stream=True)
    assert caller.events == 3
    assert b'"server_error"' in caller.wire.sent
    assert caller.wire.sent.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in caller.wire.sent


def test_a_stall_sends_the_head_and_never_a_body() -> None:
    caller = Caller(Behaviour(fault=Fault.STALL))
    caller.send()
    caller.clock.advance(3600)
    assert caller.wire.sent.endswith(b"\r\n\r\n")
    assert caller.provider.records.in_flight == 1


@pytest.mark.parametrize(
    ("fault", "difference"),
    [(Fault.LONG_CONTENT_LENGTH, 16), (Fault.SHORT_CONTENT_LENGTH, -16), (None, 0)],
)
def test_content_length_lies_by_sixteen_bytes(fault: Fault | None, difference: int) -> None:
    caller = Caller(Behaviour(fault=fault))
    caller.send()
    length = int(caller.wire.sent.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert length - len(caller.body) == difference


def test_conflicting_length_sends_both_framings() -> None:
    caller = Caller(Behaviour(fault=Fault.CONFLICTING_LENGTH))
    caller.send()
    head = caller.wire.sent.partition(b"\r\n\r\n")[0]
    assert b"transfer-encoding: chunked" in head
    assert b"content-length: " in head


def test_a_chunked_answer_has_no_length_and_ends_with_the_last_chunk() -> None:
    caller = Caller(Behaviour(framing=Framing.CHUNKED))
    caller.send()
    assert b"content-length" not in caller.wire.sent
    assert caller.wire.sent.endswith(b"}\r\n0\r\n\r\n")
    assert not caller.wire.closed


def test_an_answer_framed_by_the_connections_end_closes_it() -> None:
    caller = Caller(Behaviour(framing=Framing.CLOSE))
    caller.send()
    assert b"content-length" not in caller.wire.sent
    assert b"connection: close" in caller.wire.sent
    assert json.loads(caller.body)["object"] == "chat.completion"
    assert caller.wire.closed


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_answer_is_a_good_head_and_nothing_else(stream: bool) -> None:
    caller = Caller(Behaviour(fault=Fault.EMPTY))
    caller.send(stream=stream)
    assert caller.wire.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert caller.body == (b"0\r\n\r\n" if stream else b"")
    assert not caller.wire.closed


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.NOT_HTTP, Fault.CLOSE_AFTER])
def test_faults_that_close_do_close(fault: Fault) -> None:
    caller = Caller(Behaviour(fault=fault))
    caller.send()
    assert caller.wire.closed
    assert caller.wire.sent.startswith(b"HTTP/1.1 200") is (fault is Fault.CLOSE_AFTER)
    assert b"connection: close" not in caller.wire.sent


def test_slow_headers_arrive_byte_by_byte() -> None:
    caller = Caller(Behaviour(fault=Fault.SLOW_HEADERS))
    caller.send()
    caller.clock.advance(0.1)
    assert 4 <= len(caller.wire.sent) <= 7
    caller.clock.advance(60)
    assert json.loads(caller.body)["object"] == "chat.completion"


def test_early_hints_precede_a_good_answer() -> None:
    caller = Caller(Behaviour(fault=Fault.EARLY_HINTS))
    caller.send()
    assert caller.wire.sent.startswith(b"HTTP/1.1 103 ")
    assert caller.wire.sent.count(b"HTTP/1.1 200 OK") == 1
    assert caller.provider.records.outcomes == {"answered": 1}


def test_pipelined_requests_are_answered_in_order() -> None:
    caller = Caller(Behaviour(latency_ms=10))
    for model in ("first", "second", "third"):
        caller.send(model=model)
    assert caller.provider.records.in_flight == 1
    caller.clock.advance(1)
    places = [caller.wire.sent.index(name) for name in (b'"first"', b'"second"', b'"third"')]
    assert places == sorted(places)


def test_draining_closes_idle_connections_at_once_and_busy_ones_with_their_answer() -> None:
    idle, busy = Caller(Behaviour()), Caller(Behaviour(latency_ms=10))
    busy.send()
    idle.connections.drain()
    busy.connections.drain()
    assert (idle.wire.closed, busy.wire.closed) == (True, False)
    busy.clock.advance(1)
    assert busy.wire.closed
    assert busy.wire.sent.startswith(b"HTTP/1.1 200")


def test_input_that_is_not_http_gets_400() -> None:
    caller = Caller(Behaviour())
    caller.connection.data_received(b"\x16\x03\x01 hello\r\n\r\n")
    assert caller.wire.sent.startswith(b"HTTP/1.1 400 ")
    assert caller.provider.records.bad_requests == 1
