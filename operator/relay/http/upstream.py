"""A connection to a provider: one call at a time, its answer parsed by llhttp and passed on as it arrives."""

import asyncio
import re
import select
import time
from abc import ABC, abstractmethod
from typing import Any, Final, Literal, cast

import httptools
from mypy_extensions import trait

from relay.http.deadlines import NEVER, DeadlineWheel
from relay.http.delivery import acknowledged_bytes, waiting_bytes
from relay.http.headers import Field
from relay.http.outbox import Channel, Outbox

Fault = Literal["unreachable", "undelivered", "timeout", "reset", "truncated", "invalid"]
"""Ways in which a call ends without a whole answer.

unreachable: no connection. undelivered: closed by a provider whose system had not a byte of the request. timeout: silence.
reset: closed before a byte of the answer. truncated: closed inside the answer. invalid: what came is not HTTP/1.1.
"""

MAX_RESPONSE_HEADERS: Final = 200
MAX_RESPONSE_HEAD_BYTES: Final = 128 * 1024
"""Bounds whatever is no body in a row: interim heads and the head together, chunk extensions, trailers."""

_UNTIL_CLOSE: Final = 0
_FRAMED: Final = 1
_CODED: Final = 2
_BODILESS: Final = (204, 304)
"""Statuses of answers that end with their head, whatever it says."""
_FRAMING_OF_CODING: Final = {b"chunked": _FRAMED, b"identity": _UNTIL_CLOSE}
"""Any other coding, such as `gzip, chunked`, is of the hop that ends here, and was not asked for: its bytes are nobody's."""

UNSAID: Final = 1e9
"""Seconds for which an idle connection stays usable at a provider that does not say how long."""
_KEEP_ALIVE: Final = re.compile(rb"(?i:\btimeout)\s*=\s*\"?([0-9]{1,6})\b")

MOST_PARTS: Final = 1024
"""Fields and chunks of a read, each of which costs a microsecond; after more the other connections get their turn."""
WRITE_BYTES: Final = 256 * 1024
"""A larger request is written in parts, as the provider takes them."""
TLS_WRITE_BYTES: Final = 64 * 1024
"""The same for TLS, which keeps two encrypted copies of what it is given."""


class ResponseReceiver(ABC):
    """Receives one provider's answer. A class and not a protocol: compiled, its calls need no look-up by name.

    now is the time at which the read began, in monotonic seconds.
    """

    __slots__ = ()

    @abstractmethod
    def connected(self, connection: "UpstreamConnection", now: float) -> None:
        """Called with an open connection; the receiver sends its request on it at once."""

    @abstractmethod
    def response(self, status: int, headers: list[Field], now: float) -> None:
        """Called with the final head; body_received and read_ended follow in the same read."""

    @abstractmethod
    def body_received(self, data: bytes, now: float) -> None:
        """Called with a piece of the body: all chunks that one read brought."""

    @abstractmethod
    def read_ended(self, now: float, *, completed: bool) -> None:
        """Called at the end of each read; with completed, the answer is whole and the connection free."""

    @abstractmethod
    def failed(self, fault: Fault) -> None:
        """Called when there will be no whole answer."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Ends the call after an exception in its handling, whenever that was; frees everything it holds."""


@trait
class ConnectionOwner(ABC):
    """The pool that a connection belongs to."""

    wheel: DeadlineWheel
    outbox: Outbox

    @abstractmethod
    def release(self, connection: "UpstreamConnection", now: float) -> None:
        """Takes back a connection that can take another call."""

    @abstractmethod
    def lost(self, connection: "UpstreamConnection") -> None:
        """Removes a closed connection."""


class UpstreamConnection(Channel):
    """An asyncio protocol, as ClientConnection is one.

    Deadlines: first byte after a send, then silence between reads; none while the reader is paused or idle. The patience
    for the first byte lasts until the receiver says that the answer has begun: a head, and events that say nothing yet,
    are sent early by models that then think for minutes.
    """

    __slots__ = (
        "_acknowledged",
        "_answered",
        "_body",
        "_completed",
        "_framed",
        "_head_bytes",
        "_headers",
        "_idle_timeout",
        "_in_head",
        "_keep_alive",
        "_large",
        "_owner",
        "_parser",
        "_parts",
        "_patient_until",
        "_paused",
        "_readable",
        "_size",
        "_socket",
        "_status",
        "_surplus",
        "_unsent",
        "_write_bytes",
        "_writing_paused",
        "born",
        "call",
        "idle_seconds",
        "idle_since",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        super().__init__(owner.outbox)
        self._owner = owner
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[Field] = []
        self._body: list[bytes] = []
        self._status = 0
        # of this answer's heads, or since the last piece of its body
        self._head_bytes = 0
        self._in_head = True
        self._answered = False
        self._completed = False
        self._framed = True
        self._keep_alive = False
        self._large = False
        self._paused = False
        self._parts = 0
        self._patient_until = 0.0
        self._surplus = False
        # the parts of a large request that are still to be written, the next one last
        self._unsent: list[memoryview] = []
        self._writing_paused = False
        self._write_bytes = WRITE_BYTES
        self._readable: select.poll | None = None
        self._socket: Any = None
        # of the request: its size where it is one piece, what was acknowledged before it where it is large
        self._size = self._acknowledged = 0
        self._idle_timeout = 0.0
        self.call: ResponseReceiver | None = None
        self.born = self.idle_since = 0.0
        # seconds for which the provider keeps it idle, as its first answer says; NEVER before that answer
        self.idle_seconds: float = NEVER

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass
        self.born = self.idle_since = time.monotonic()
        if transport.get_extra_info("sslcontext") is not None:
            self._write_bytes = TLS_WRITE_BYTES
            self.transport.set_write_buffer_limits(high=TLS_WRITE_BYTES)
        socket = transport.get_extra_info("socket")
        if socket is not None:
            # our own: when a connection with TLS is lost, the event loop's is closed already
            self._socket = socket.dup()
            self._readable = select.poll()
            self._readable.register(self._socket.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            # no request was sent: this answer would be taken for the next call's
            self.close()
            return
        now = time.monotonic()
        sound = self._feed(data)
        if self._status >= 200 and not self._in_head:
            # the deadline for the first byte counts until the head is whole: neither a slow trickle nor a row of
            # interim answers is an answer
            self._await_more(now)
        try:
            self._hand_over(call, now, sound=sound)
        except (
            Exception
        ) as raised:  # the event loop would only log it, and the call would never end
            self.abandon()
            call.crashed(raised)
        if self._parts > MOST_PARTS and not self._paused and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        """Reads on after the others have had their turn."""
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Waits with the rest of a large request."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Goes on with a large request."""
        self._writing_paused = False
        self._write_on()

    def eof_received(self) -> None:
        """Lets asyncio close the transport: the provider has closed its sending side."""

    def connection_lost(self, error: Exception | None) -> None:
        self.deadline = NEVER
        self._owner.wheel.forget(self)
        self._owner.lost(self)
        call, self.call = self.call, None
        unsent, self._pending = self._pending is not None, None
        self._unsent = []
        # the parser refers to us; with it goes the cycle
        self._parser = None
        undelivered = call is not None and (unsent or (error is None and self._has_taken_nothing()))
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if call is None:
            return
        try:
            self._end_lost(call, error, undelivered=undelivered)
        except Exception as raised:  # as in data_received
            call.crashed(raised)

    def _has_taken_nothing(self) -> bool:
        """Returns whether a provider that closed in order had not a byte of the request in its system."""
        if self._socket is None or self._answered or self._head_bytes:
            return False
        if self._large:
            before = self._acknowledged
            return before >= 0 and acknowledged_bytes(self._socket) == before
        # what is in the kernel is the request, which TLS has made a little larger
        return waiting_bytes(self._socket.fileno()) >= self._size

    def _end_lost(
        self, call: ResponseReceiver, error: Exception | None, *, undelivered: bool
    ) -> None:
        if self._answered and not self._framed and error is None:
            # RFC 9112 section 6.3: the close ends this body
            call.read_ended(time.monotonic(), completed=True)
        elif undelivered:
            call.failed("undelivered")
        else:
            call.failed("truncated" if self._answered or self._head_bytes else "reset")

    # -- httptools -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._completed:
            self._surplus = True  # bytes beyond the answer: the connection is not reused
            return
        self._headers = []
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parts += 1
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        self._in_head = False
        self._status = self._parser.get_status_code()
        # llhttp resets this at the end of the message
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._parts += 1
        self._head_bytes = 0
        if not self._surplus:
            self._body.append(body)

    def on_message_complete(self) -> None:
        # 100 and 103 precede the final answer; 101 ends the connection, as no request asks for it
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
        """Sends the request; its answer goes to the receiver. Timeouts in seconds."""
        self.call = call
        self._idle_timeout = idle
        self._answered = self._completed = False
        self._framed = self._in_head = True
        self._head_bytes = self._status = 0
        self.deadline = self._patient_until = now + first_byte
        if self.deadline < self.slot:
            self._owner.wheel.watch(self)
        self._large = len(request) > 1
        if not self._large:
            self._size = len(request[0])
            self.write_soon(cast(bytes, request[0]))
            return
        self._acknowledged = acknowledged_bytes(self._socket) if self._socket is not None else -1
        self._send_large(request)

    def _send_large(self, request: list[bytes | memoryview]) -> None:
        # its record first
        self.flush()
        if sum(map(len, request)) <= self._write_bytes:
            self.transport.writelines(request)
        else:
            self._unsent = _parts(request, self._write_bytes)
            self._write_on()

    def _write_on(self) -> None:
        unsent = self._unsent
        while unsent and not self._writing_paused and not self.transport.is_closing():
            self.transport.write(unsent.pop())

    def pause(self) -> None:
        """Stops reading until `resume`; there is no deadline meanwhile."""
        if not self._paused:
            self._paused = True
            self.deadline = NEVER
            self.transport.pause_reading()

    def resume(self) -> None:
        """Continues reading."""
        if self._paused:
            self._paused = False
            self._await_more(time.monotonic())
            self.transport.resume_reading()

    def answer_begun(self, now: float) -> None:
        """Ends the patience for the first byte; from now on only the silence between reads counts."""
        self._patient_until = 0.0
        if not self._paused:
            self._await_more(now)

    def _await_more(self, now: float) -> None:
        self.deadline = max(now + self._idle_timeout, self._patient_until)
        if self.deadline < self.slot:
            self._owner.wheel.watch(self)

    def abandon(self) -> None:
        """Drops the answer: the provider sees a reset and can stop its work."""
        self.call = None
        self._pending = None
        self.deadline = NEVER
        self.transport.abort()

    def close(self) -> None:
        """Closes the connection. A call on it must have been failed first."""
        self.transport.close()

    @property
    def has_written(self) -> bool:
        """Returns whether the whole request has been written, and of a large one whether the system has all of it."""
        if self._pending is not None or self._unsent:
            return False
        return not self._large or not self.transport.get_write_buffer_size()

    @property
    def served(self) -> bool:
        """Returns whether a call was answered on it."""
        return self.idle_seconds != NEVER

    @property
    def usable(self) -> bool:
        """Returns whether another call can be sent.

        Asks the kernel too: a provider may have closed an idle connection in bytes that the loop has not read yet. A
        call sent then would be lost, and could not be repeated safely.
        """
        if self.transport.is_closing():
            return False
        return self._readable is None or not self._readable.poll(0)

    def expired(self, now: float) -> None:
        call, self.call = self.call, None
        self.transport.abort()
        if call is not None:
            try:
                call.failed("timeout")
            except Exception as raised:  # as in data_received
                call.crashed(raised)

    # -- one read --------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        self._head_bytes += len(data)
        self._parts = 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        return not self._surplus

    def _head_too_large(self) -> bool:
        return (
            len(self._headers) > MAX_RESPONSE_HEADERS or self._head_bytes > MAX_RESPONSE_HEAD_BYTES
        )

    def _hand_over(self, call: ResponseReceiver, now: float, *, sound: bool) -> None:
        completed = self._completed
        if self._status == 101 or (not sound and not completed) or self._head_too_large():
            self._fail_as_invalid(call)
            return
        if not self._answered and not self._in_head and self._status >= 200:
            self._begin_answer(call, now)
        if not self._answered:
            return
        if self._body:
            body, self._body = self._body, []
            call.body_received(body[0] if len(body) == 1 else b"".join(body), now)
        if self.call is not call:
            # abandoned over what it was given
            return
        if completed:
            self._let_go(now, reusable=sound)
        call.read_ended(now, completed=completed)

    def _begin_answer(self, call: ResponseReceiver, now: float) -> None:
        framing = _framing(self._status, self._headers)
        if framing == _CODED:
            self._fail_as_invalid(call)
            return
        self._answered = True
        self._framed = framing == _FRAMED
        if self._status in _BODILESS and _announces_body(self._headers):
            # what is announced and not part of the answer may still come, as the answer to the next call
            self._keep_alive = False
        if self.idle_seconds == NEVER:
            self.idle_seconds = _idle_seconds(self._headers)
        call.response(self._status, self._headers, now)

    def _fail_as_invalid(self, call: ResponseReceiver) -> None:
        self.call = None
        self.transport.abort()
        call.failed("invalid")

    def _let_go(self, now: float, *, reusable: bool) -> None:
        self.call = None
        self.deadline = NEVER
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if not self.has_written:
            # answered before the body had left: its rest would be the next call's head, and may never be read
            self._pending = None
            self._unsent = []
            self.transport.abort()
        elif self._large and self._status >= 400:
            # perhaps answered without reading the body
            self.transport.close()
        elif reusable and self._keep_alive and self._framed:
            self._owner.release(self, now)
        else:
            self.transport.close()


def _parts(request: list[bytes | memoryview], size: int) -> list[memoryview]:
    """Returns the request in parts of at most that size, the first one last."""
    parts = [
        memoryview(piece)[start : start + size]
        for piece in request
        for start in range(0, len(piece), size)
    ]
    parts.reverse()
    return parts


def _idle_seconds(headers: list[Field]) -> float:
    """Returns the seconds for which an idle connection can be used by what the provider says; UNSAID where it says nothing.

    `Keep-Alive: timeout=5` (RFC 2068 section 19.7.1.1; Node.js and Apache send it) names the time of its own end. A call
    must be there before it, so a second is taken off, or half of what is less than two.
    """
    for name, value in headers:
        if name == b"keep-alive":
            found = _KEEP_ALIVE.search(value)
            if found is not None:
                seconds = float(int(found.group(1)))
                return max(seconds - 1, seconds / 2)
    return UNSAID


def _announces_body(headers: list[Field]) -> bool:
    """Returns whether a head names a length above zero or a coding."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" \t0")):
            return True
    return False


def _framing(status: int, headers: list[Field]) -> int:
    """Returns whether the message itself says where it ends (RFC 9112 section 6.3)."""
    if status in _BODILESS:
        return _FRAMED
    for name, value in headers:
        if name == b"content-length":
            return _FRAMED
        if name == b"transfer-encoding":
            return _FRAMING_OF_CODING.get(value.strip().lower(), _CODED)
    return _UNTIL_CLOSE
