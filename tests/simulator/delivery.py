"""Sends an answer with its latency, pace, holds and faults, with back-pressure and a client that may leave."""

import asyncio
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

import orjson
from tests.simulator.api.errors import error_object
from tests.simulator.behaviour import Fault, Framing
from tests.simulator.provider import GARBAGE_BODY, Plan
from tests.simulator.records import Record

WRITE_BYTES = 64 * 1024
"""Events are joined up to about this size per write if they have no pace."""
DRIP_SECONDS = 0.02
WRONG_BY = 16
"""By how many bytes a wrong Content-Length differs."""
LAST_CHUNK = b"0\r\n\r\n"
NOT_HTTP = b"SSH-2.0-OpenSSH_9.2p1\r\n" * 4

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_HUGE_HEADERS = b"".join(b"x-huge-%d: %b\r\n" % (index, b"h" * 4000) for index in range(256))
_EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n" * 2
_BEFORE_HEAD = frozenset({Fault.NO_ANSWER, Fault.RESET, Fault.CLOSE, Fault.NOT_HTTP})
_ABORTING = frozenset({Fault.RESET, Fault.DIE_RESET})


class Timer(Protocol):
    """A callback that runs unless cancelled."""

    def cancel(self) -> None:
        """Cancels the callback."""


class Clock(Protocol):
    """The part of an event loop that deliveries use; monotonic seconds."""

    def time(self) -> float:
        """Returns the current time."""

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Calls at that time."""

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        """Calls after that delay."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Calls after the current callback."""


class Line(Protocol):
    """What a delivery needs of its connection."""

    transport: asyncio.Transport
    paused: bool

    def delivered(self, delivery: "Delivery", *, outcome: str, reusable: bool) -> None:
        """Called when the answer is complete."""

    def hold(self, delivery: "Delivery") -> None:
        """Calls proceed() of this delivery on release."""

    def wrote(self, record: Record, size: int) -> None:
        """Called with the number of bytes that went to the transport."""


class Delivery:
    """Sends one plan. Every path ends in exactly one call of Line.delivered, or in lost()."""

    def __init__(self, plan: Plan, record: Record, line: Line, clock: Clock, close: bool) -> None:
        self.record = record
        self._plan = plan
        self._line = line
        self._clock = clock
        self._timer: Timer | None = None
        unframed = plan.behaviour.framing is Framing.CLOSE and plan.events is None
        self._close = close or plan.behaviour.close_connection or unframed
        self._next_event_at = 0.0
        self._waits_for_drain = False
        self._held = False

    @property
    def streams(self) -> bool:
        """Returns whether the answer is an event stream."""
        return self._plan.events is not None

    def start(self) -> None:
        """Begins after the latency."""
        if self._plan.latency_seconds:
            self._timer = self._clock.call_later(self._plan.latency_seconds, self._after_latency)
        else:
            self._after_latency()

    def lost(self) -> None:
        """Cancels all timers: the client is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def resume(self) -> None:
        """Goes on sending: the transport accepts data again."""
        if self._waits_for_drain:
            self._waits_for_drain = False
            self._send_events()

    def proceed(self) -> None:
        """Goes on sending after a hold."""
        if self.record.events_sent or self._next_event_at:
            self._send_events()
        else:
            self._answer()

    def _after_latency(self) -> None:
        hold = self._plan.behaviour.hold_after_events
        if hold == 0 or (hold is not None and self._plan.events is None):
            self._held = True
            self._line.hold(self)
        else:
            self._answer()

    def _answer(self) -> None:
        fault = self._plan.fault
        if fault in _BEFORE_HEAD:
            self._fail_before_head(fault)
        elif fault is Fault.SLOW_HEADERS:
            self._drip(self._head(), 0)
        elif self._plan.events is None:
            self._send_unary()
        else:
            self._write(self._head())
            self._begin_stream()

    def _fail_before_head(self, fault: Fault | None) -> None:
        if fault is Fault.NO_ANSWER:
            return
        if fault is Fault.NOT_HTTP:
            self._write(NOT_HTTP)
        self._die(reset=fault in _ABORTING)

    def _drip(self, head: bytes, position: int) -> None:
        self._write(head[position : position + 1])
        pace = max(DRIP_SECONDS, self._plan.behaviour.token_interval_ms / 1000)
        if position + 1 < len(head):
            self._timer = self._clock.call_later(pace, self._drip, head, position + 1)
        elif self._plan.events is None:
            self._write(self._plan.body)
            self._finish()
        else:
            self._begin_stream()

    def _send_unary(self) -> None:
        body, fault = self._plan.body, self._plan.fault
        head = self._head()
        if self._plan.behaviour.framing is Framing.CHUNKED:
            half = len(body) // 2
            body = _chunk(body[:half]) + _chunk(body[half:]) + LAST_CHUNK
        if fault is None:
            self._write(head + body)
            self._finish()
            return
        if fault is Fault.STALL:
            self._write(head)
            return
        if fault in (Fault.DIE, Fault.DIE_RESET):
            self._write(head + body[: len(body) // 2])
            self._die(reset=fault in _ABORTING)
            return
        self._write(head + body)
        if fault is Fault.LONG_CONTENT_LENGTH:
            self._die(reset=False)
        else:
            self._finish()

    def _begin_stream(self) -> None:
        fault = self._plan.fault
        if fault is Fault.STALL:
            return
        if fault is Fault.GARBAGE:
            self._write(_chunk(GARBAGE_BODY + b"\n\ndata: {\n\n"))
            self._end_stream()
            return
        if fault is Fault.EMPTY:
            self._end_stream()
            return
        self._next_event_at = self._clock.time() + self._plan.behaviour.first_token_ms / 1000
        if self._plan.behaviour.first_token_ms:
            self._timer = self._clock.call_at(self._next_event_at, self._send_events)
        else:
            self._send_events()

    def _send_events(self) -> None:
        interval = self._plan.behaviour.token_interval_ms / 1000
        while not self._line.paused:
            if self._interrupted():
                return
            batch, ended = self._batch(1 if interval else WRITE_BYTES)
            if batch:
                self._write(batch)
            if ended:
                self._end_stream()
                return
            if interval:
                self._next_event_at += interval
                self._timer = self._clock.call_at(self._next_event_at, self._send_events)
                return
        self._waits_for_drain = True

    def _batch(self, size: int) -> tuple[bytes, bool]:
        """Returns the next events as chunks, at least size bytes unless something intervenes, and True at the end."""
        assert self._plan.events is not None
        chunks: list[bytes] = []
        total = 0
        while total < size:
            event = next(self._plan.events, None)
            if event is None:
                return b"".join(chunks), True
            chunks.append(_chunk(event))
            total += len(event)
            self.record.events_sent += 1
            if self._stops_here():
                break
        return b"".join(chunks), False

    def _stops_here(self) -> bool:
        sent, behaviour = self.record.events_sent, self._plan.behaviour
        return sent == behaviour.hold_after_events or (
            self._plan.fault is not None and sent == behaviour.fault_after_events
        )

    def _interrupted(self) -> bool:
        """Starts a hold or fault due before the next event; returns whether there was one."""
        sent, behaviour = self.record.events_sent, self._plan.behaviour
        if sent == behaviour.hold_after_events and not self._held:
            self._held = True
            self._line.hold(self)
            return True
        if sent < behaviour.fault_after_events:
            return False
        if self._plan.fault in (Fault.DIE, Fault.DIE_RESET):
            self._die(reset=self._plan.fault in _ABORTING)
            return True
        if self._plan.fault is Fault.ERROR_EVENT:
            self._write(_chunk(b"data: " + orjson.dumps(error_object(500)) + b"\n\n"))
            self._end_stream()
            return True
        return False

    def _head(self) -> bytes:
        plan, fault = self._plan, self._plan.fault
        lines = [b"HTTP/1.1 %d %b" % (plan.status, _PHRASES.get(plan.status, b"Unknown"))]
        lines.extend(b"%b: %b" % header for header in plan.headers)
        framing = Framing.CHUNKED if self.streams else plan.behaviour.framing
        if framing is Framing.CHUNKED or fault is Fault.CONFLICTING_LENGTH:
            lines.append(b"transfer-encoding: chunked")
        if framing is Framing.LENGTH or fault is Fault.CONFLICTING_LENGTH:
            lines.append(b"content-length: %d" % self._claimed_length())
        if self._close:
            lines.append(b"connection: close")
        head = b"\r\n".join(lines) + b"\r\n"
        if fault is Fault.HUGE_HEADERS:
            head += _HUGE_HEADERS
        if fault is Fault.EARLY_HINTS:
            head = _EARLY_HINTS + head
        return head + b"\r\n"

    def _claimed_length(self) -> int:
        match self._plan.fault:
            case Fault.LONG_CONTENT_LENGTH:
                return len(self._plan.body) + WRONG_BY
            case Fault.SHORT_CONTENT_LENGTH:
                return max(0, len(self._plan.body) - WRONG_BY)
            case _:
                return len(self._plan.body)

    def _end_stream(self) -> None:
        self._write(LAST_CHUNK)
        self._finish()

    def _finish(self) -> None:
        faulted = self._plan.fault not in (None, Fault.EARLY_HINTS, Fault.CLOSE_AFTER)
        closes = self._close or self._plan.fault is Fault.CLOSE_AFTER
        self._line.delivered(
            self, outcome="faulted" if faulted else "answered", reusable=not closes
        )

    def _die(self, *, reset: bool) -> None:
        transport = self._line.transport
        if reset:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._line.delivered(self, outcome="faulted", reusable=False)
        if reset:
            transport.abort()

    def _write(self, data: bytes) -> None:
        self._line.transport.write(data)
        self._line.wrote(self.record, len(data))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
