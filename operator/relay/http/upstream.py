"""A connection to a provider: one call at a time, its answer parsed by llhttp and handed on as it arrives."""

import asyncio
import select
import time
from abc import ABC, abstractmethod
from typing import Any, Final, Literal, cast

import httptools
from mypy_extensions import trait

from relay.http.deadlines import NEVER, DeadlineWheel
from relay.http.headers import Field
from relay.http.outbox import Channel, Outbox

Fault = Literal["unreachable", "timeout", "reset", "truncated", "invalid"]
"""How a call ends without a whole answer.

unreachable: no connection. timeout: silence. reset: closed before a byte of the answer. truncated: closed inside the
answer. invalid: what came is not HTTP/1.1.
"""

MAX_RESPONSE_HEADERS: Final = 200
MAX_RESPONSE_HEAD_BYTES: Final = 128 * 1024


class ResponseReceiver(ABC):
    """Who waits for an answer. A class and not a protocol: compiled, its calls need no look-up by name.

    now is when the read began that the call is told of, in monotonic seconds.
    """

    __slots__ = ()

    @abstractmethod
    def connected(self, connection: "UpstreamConnection", now: float) -> None:
        """A connection is there; the call sends on it at once."""

    @abstractmethod
    def response(self, status: int, headers: list[Field], now: float) -> None:
        """The final head; body_received and completed follow in the same read if they are there."""

    @abstractmethod
    def body_received(self, data: bytes, now: float) -> None:
        """A piece of the body, as many chunks as one read brought."""

    @abstractmethod
    def read_ended(self, now: float, *, completed: bool) -> None:
        """All of this read has been handed over; with completed, the answer is whole and the connection let go."""

    @abstractmethod
    def failed(self, fault: Fault) -> None:
        """There is no whole answer, and never will be."""


@trait
class ConnectionOwner(ABC):
    """The pool a connection belongs to."""

    wheel: DeadlineWheel
    outbox: Outbox

    @abstractmethod
    def release(self, connection: "UpstreamConnection", now: float) -> None:
        """The connection can take another call."""

    @abstractmethod
    def lost(self, connection: "UpstreamConnection") -> None:
        """The connection is gone."""


class UpstreamConnection(Channel):
    """An asyncio protocol, as ClientConnection is one.

    Deadlines: first byte after a send, then silence between reads; none while the reader is paused or idle.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_completed",
        "_framed",
        "_head_bytes",
        "_headers",
        "_home",
        "_idle_timeout",
        "_in_head",
        "_keep_alive",
        "_parser",
        "_paused",
        "_readable",
        "_status",
        "_surplus",
        "born",
        "call",
        "idle_since",
    )

    def __init__(self, home: ConnectionOwner) -> None:
        super().__init__(home.outbox)
        self._home = home
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[Field] = []
        self._body: list[bytes] = []
        self._status = 0
        self._head_bytes = 0
        self._in_head = True
        self._answered = False
        self._completed = False
        self._framed = True
        self._keep_alive = False
        self._paused = False
        self._surplus = False
        self._readable: select.poll | None = None
        self._idle_timeout = 0.0
        self.call: ResponseReceiver | None = None
        self.born = self.idle_since = 0.0

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass
        self.born = self.idle_since = time.monotonic()
        socket = transport.get_extra_info("socket")
        if socket is not None:
            self._readable = select.poll()
            self._readable.register(socket.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            # nothing was asked: an answer now would be taken for the next call's
            self.close()
            return
        now = time.monotonic()
        sound = self._feed(data)
        if not self._in_head:
            # until the head is whole the first byte's deadline stands: a head that trickles is no answer
            self.deadline = now + self._idle_timeout
            if self.deadline < self.slot:
                self._home.wheel.watch(self)
        self._hand_over(call, now, sound=sound)

    def pause_writing(self) -> None:
        """A request is written whole; its size is bounded by the client's."""

    def resume_writing(self) -> None:
        """See pause_writing."""

    def eof_received(self) -> None:
        """The provider sends no more: the transport closes."""

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline = NEVER
        self._home.wheel.forget(self)
        self._home.lost(self)
        call, self.call = self.call, None
        unsent, self._pending = self._pending is not None, None
        # the parser refers to us; with it goes the cycle
        self._parser = None
        if call is None:
            return
        if self._answered and not self._framed and error is None:
            call.read_ended(
                time.monotonic(), completed=True
            )  # RFC 9112 section 6.3: the close ends this body
        elif unsent:
            call.failed("unreachable")
        else:
            call.failed("truncated" if self._answered or self._head_bytes else "reset")

    # -- httptools -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._completed:
            self._surplus = (
                True  # bytes beyond the answer: the connection cannot be trusted with another
            )
            return
        self._headers = []
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        self._in_head = False
        self._status = self._parser.get_status_code()
        # llhttp forgets this with the end of the message
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if not self._surplus:
            self._body.append(body)

    def on_message_complete(self) -> None:
        # interim answers (100, 103) precede the one that counts; 101 never does, nothing asked for it
        if self._status >= 200 or self._status == 101:
            self._completed = True

    # -- what calls and pools do -----------------------------------------------------------------------------------

    def send(
        self,
        call: ResponseReceiver,
        request: list[bytes | memoryview],
        now: float,
        *,
        first_byte: float,
        idle: float,
    ) -> None:
        """The request is on its way and its answer goes to the call; timeouts in seconds."""
        self.call = call
        self._idle_timeout = idle
        self._answered = self._completed = False
        self._framed = self._in_head = True
        self._head_bytes = self._status = 0
        self.deadline = now + first_byte
        if self.deadline < self.slot:
            self._home.wheel.watch(self)
        if len(request) == 1:
            self.write_soon(cast(bytes, request[0]))
        else:
            self.transport.writelines(request)

    def pause(self) -> None:
        """Nothing more is read until `resume`; the provider's own pace is not to blame meanwhile."""
        if not self._paused:
            self._paused = True
            self.deadline = NEVER
            self.transport.pause_reading()

    def resume(self) -> None:
        """Reading goes on."""
        if self._paused:
            self._paused = False
            self.deadline = time.monotonic() + self._idle_timeout
            self._home.wheel.watch(self)
            self.transport.resume_reading()

    def abandon(self) -> None:
        """The answer is wanted no longer: the provider sees a reset and can stop its work."""
        self.call = None
        self._pending = None
        self.deadline = NEVER
        self.transport.abort()

    def close(self) -> None:
        """Closed; a call on it has failed before."""
        self.transport.close()

    @property
    def usable(self) -> bool:
        """Whether another call may be sent.

        The kernel is asked too: a provider that has closed an idle connection may already have said so, in bytes that
        the loop comes to only after us. A call sent then would be lost, and could not be repeated safely.
        """
        if self.transport.is_closing():
            return False
        return self._readable is None or not self._readable.poll(0)

    def expired(self, now: float) -> None:
        call, self.call = self.call, None
        self.transport.abort()
        if call is not None:
            call.failed("timeout")

    # -- one read --------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return not self._surplus

    def _head_too_large(self) -> bool:
        return len(self._headers) > MAX_RESPONSE_HEADERS or (
            self._in_head and self._head_bytes > MAX_RESPONSE_HEAD_BYTES
        )

    def _hand_over(self, call: ResponseReceiver, now: float, *, sound: bool) -> None:
        completed = self._completed
        if self._status == 101 or (not sound and not completed) or self._head_too_large():
            self.call = None
            self.transport.abort()
            call.failed("invalid")
            return
        if not self._answered and not self._in_head and self._status >= 200:
            self._answered = True
            self._framed = _is_framed(self._status, self._headers)
            call.response(self._status, self._headers, now)
        if not self._answered:
            return
        if self._body:
            body, self._body = self._body, []
            call.body_received(body[0] if len(body) == 1 else b"".join(body), now)
        if completed:
            self._let_go(now, reusable=sound)
        call.read_ended(now, completed=completed)

    def _let_go(self, now: float, *, reusable: bool) -> None:
        self.call = None
        self.deadline = NEVER
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if reusable and self._keep_alive and self._framed:
            self._home.release(self, now)
        else:
            self.transport.close()


def _is_framed(status: int, headers: list[Field]) -> bool:
    """Whether the message itself says where it ends (RFC 9112 section 6.3)."""
    if status in (204, 304):
        return True
    for name, value in headers:
        if name == b"content-length":
            return True
        if name == b"transfer-encoding":
            return value.strip().lower().endswith(b"chunked")
    return False
