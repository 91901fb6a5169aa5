"""A client connection of the provider: reads HTTP/1.1 requests and sends answers, one after the other."""

import asyncio
import time
from collections import deque
from typing import cast

import httptools
from tests.simulator.delivery import Clock, Delivery
from tests.simulator.provider import Header, Provider, Request
from tests.simulator.records import Record

MAX_BODY_BYTES = 256 * 1024 * 1024
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connections:
    """All open connections, and the deliveries that wait for release."""

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.held: list[Delivery] = []
        self.draining = False
        self.emptied = asyncio.Event()
        """Set once draining has closed the last connection."""
        self._counter = 0

    def next_number(self) -> int:
        """Returns the next number that identifies a connection in the records."""
        self._counter += 1
        return self._counter

    def release(self) -> int:
        """Releases everything held; returns how many there were."""
        held, self.held = self.held, []
        for delivery in held:
            delivery.proceed()
        return len(held)

    def drain(self) -> None:
        """Closes idle connections; the others close after their answer."""
        self.draining = True
        for connection in tuple(self.open):
            connection.close_if_idle()
        self._notice_empty()

    def closed(self, connection: "Connection") -> None:
        """Forgets a closed connection."""
        self.open.discard(connection)
        self._notice_empty()

    def _notice_empty(self) -> None:
        if self.draining and not self.open:
            self.emptied.set()


class Connection(asyncio.Protocol):
    """A client connection. Requests are answered in order; a pipelined one waits for its turn."""

    def __init__(self, provider: Provider, connections: Connections, clock: Clock) -> None:
        self.paused = False
        self._provider = provider
        self._connections = connections
        self._clock = clock
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._delivery: Delivery | None = None
        self._number = connections.next_number()
        self._target = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._body_bytes = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._connections.open.add(self)
        self._provider.records.connections_open += 1
        self._provider.records.connections_total += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self)
        self._provider.records.connections_open -= 1
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.lost()
            if delivery in self._connections.held:
                self._connections.held.remove(delivery)
            self._provider.records.closed(
                delivery.record, at=time.time(), outcome="aborted", streamed=delivery.streams
            )
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._provider.records.bad_requests += 1
            self.transport.write(_BAD_REQUEST)
            self.transport.close()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._delivery is not None:
            self._delivery.resume()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))
        if name.lower() == b"expect":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self.transport.abort()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(self._parser.get_method(), self._target, self._headers, body)
        closes = not self._parser.should_keep_alive()
        if self._delivery is None:
            self._serve(request, closes)
        else:
            self._waiting.append((request, closes))

    # Line, for deliveries

    def delivered(self, delivery: Delivery, *, outcome: str, reusable: bool) -> None:
        self._delivery = None
        self._provider.records.closed(
            delivery.record, at=time.time(), outcome=outcome, streamed=delivery.streams
        )
        if not reusable or self._connections.draining:
            self._waiting.clear()
            self.transport.close()
        elif self._waiting:
            # not called directly: a thousand pipelined requests would recurse a thousand deep
            self._clock.call_soon(self._serve_next)

    def hold(self, delivery: Delivery) -> None:
        self._connections.held.append(delivery)

    def wrote(self, record: Record, size: int) -> None:
        record.bytes_sent += size
        self._provider.records.bytes_sent += size

    def close_if_idle(self) -> None:
        if self._delivery is None and not self._waiting:
            self.transport.close()

    def _serve_next(self) -> None:
        if self._waiting and self._delivery is None:
            self._serve(*self._waiting.popleft())

    def _serve(self, request: Request, closes: bool) -> None:
        at = time.time()
        record = self._provider.records.opened(
            at=at,
            method=request.method.decode("latin-1"),
            target=request.target.decode("latin-1"),
            headers=request.headers,
            body=request.body,
            connection=self._number,
        )
        plan = self._provider.plan(request, record, now=self._clock.time(), unix_time=at)
        self._delivery = Delivery(
            plan, record, self, self._clock, closes or self._connections.draining
        )
        self._delivery.start()
