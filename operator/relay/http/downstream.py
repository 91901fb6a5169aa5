"""A client's connection: requests in, answers out, one at a time and in order (RFC 9112 section 9.3.2)."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools
from mypy_extensions import trait

from relay.http.deadlines import NEVER, DeadlineWheel
from relay.http.head_cache import HeadCache, HeadMemory
from relay.http.headers import nominated
from relay.http.message import CONTINUE, Request
from relay.http.outbox import Channel, Outbox
from relay.http.peer import peer_has_left, unread_bytes
from relay.http.problem import Problem
from relay.http.request_handler import RequestHandler

PIPELINE_DEPTH: Final = 64
"""Requests one read may hold before the connection is closed; clients of this API do not pipeline at all."""
SLICE_BYTES: Final = 16 * 1024
"""What may hold many small parts is parsed in slices of this size."""
MOST_PARTS: Final = 256
"""Parts of a slice, each of which costs a microsecond; after more the other connections get their turn."""
LOOK_SECONDS: Final = 0.1
"""While reading is paused the client is looked for after this, which is at each turn of the wheel."""
MOST_UNREAD_BYTES: Final = 32 * 1024
"""As much that nobody reads may fill the kernel's buffer: the end of the connection would not get in behind it."""
MOST_READ_AHEAD: Final = PIPELINE_DEPTH // 2
"""So many calls that wait in line are read to their end."""
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 1024 * 1024
"""After an early refusal this much of the body is read and dropped, so that the answer is not lost to a reset."""
BODY_FLOOR_BYTES_PER_SECOND: Final = 512
"""A body slower than this on average, beyond the body timeout, is a slow attack."""

_UPGRADE: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one client connection; sizes in bytes, times in seconds.

    single_fields may occur once in a head.
    """

    header_timeout: float
    body_timeout: float
    idle_timeout: float
    slow_reader: float
    max_header_bytes: int
    max_headers: int
    max_body_bytes: int
    single_fields: frozenset[bytes]


@trait
class ConnectionHost(ABC):
    """The process as its client connections need it."""

    client_limits: ClientLimits
    head_memory: HeadMemory
    wheel: DeadlineWheel
    outbox: Outbox
    draining: bool

    @abstractmethod
    def admit_connection(self, connection: "ClientConnection") -> bool:
        """Adds the connection if there is room for it; returns whether there was."""

    @abstractmethod
    def forget_connection(self, connection: "ClientConnection") -> None:
        """Removes a closed connection."""

    @abstractmethod
    def handler(self, connection: "ClientConnection", request: Request) -> RequestHandler:
        """Makes the handler of a new request; the connection calls `begin`."""

    @abstractmethod
    def reserve_body(self, size: int, whole: int) -> bool:
        """Reserves memory for `size` more bytes of a body that has come to `whole`; returns whether there was enough."""

    @abstractmethod
    def release_body(self, size: int) -> None:
        """Gives back reserved memory."""

    @abstractmethod
    def note_exception(self, error: BaseException) -> None:
        """Logs an exception that nobody expected."""

    @abstractmethod
    def connection_age(self) -> float:
        """Returns the age, in seconds and jittered, at which a new connection is to be closed."""


class ClientConnection(Channel):
    """An asyncio protocol: parses with llhttp, bounds sizes and times, and hands one request at a time to its handler.

    It does not derive from asyncio.Protocol: mypyc compiles a class natively only if it has no Python base.
    """

    __slots__ = (
        "_age_limit",
        "_current",
        "_handler",
        "_head_bytes",
        "_heads",
        "_host",
        "_in_head",
        "_lingered_bytes",
        "_parser",
        "_parsing",
        "_parts",
        "_read_bytes",
        "_reading_paused",
        "_unparsed",
        "_upgrade_seen",
        "_waiting",
        "_write_deadline",
        "closing",
        "was_aborted",
    )

    def __init__(self, host: ConnectionHost) -> None:
        super().__init__(host.outbox)
        self._host = host
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parsing: Request | None = None
        self._current: Request | None = None
        self._handler: RequestHandler | None = None
        self._waiting: deque[Request] | None = None
        self._in_head = False
        # of the head that comes, or since the last piece of the body that comes
        self._head_bytes = 0
        self._read_bytes = self._lingered_bytes = 0
        self._upgrade_seen = False
        self._reading_paused = False
        # fields and pieces of bodies since it was last set to 0, and what is read later for the sake of the others
        self._parts = 0
        self._unparsed = b""
        self._write_deadline = NEVER
        self._heads = HeadCache(host.head_memory)
        self._age_limit = NEVER
        self.closing = False
        # here: its client has not left by itself
        self.was_aborted = False

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass
        if not self._host.admit_connection(self):
            self.transport.abort()
            return
        now = time.monotonic()
        self._age_limit = now + self._host.connection_age()
        self._set_deadline(now + self._host.client_limits.idle_timeout)

    def eof_received(self) -> None:
        """Flushes pending answers when the client has closed its sending side; returning None lets asyncio close then."""
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._pending = None
        self._unparsed = b""
        self.deadline = NEVER
        self._host.wheel.forget(self)
        self._host.forget_connection(self)
        handler, self._handler = self._handler, None
        if handler is not None:
            try:
                handler.client_gone()
            except (
                Exception
            ) as raised:  # the connection must be forgotten whatever its handler does
                self._end_crashed(handler, raised)
        for request in (self._parsing, self._current, *(self._waiting or ())):
            if request is not None:
                self.drop_body(request)
        self._parsing = self._current = self._waiting = None
        self._heads.clear()
        # the parser refers to us; with it goes the cycle
        self._parser = None

    def data_received(self, data: bytes) -> None:
        if self._unparsed:
            self._unparsed += data
        elif self.idle and not self.closing and self._serve_repeated(data):
            return
        elif len(data) > SLICE_BYTES and self._may_be_in_small_parts(data):
            self._read_in_slices(data)
        else:
            self._read_all(data)

    def _read_all(self, data: bytes) -> None:
        # one round, and one more for each Upgrade that is ignored
        while data and not self.closing:
            data = self._read(data)

    def _may_be_in_small_parts(self, data: bytes) -> bool:
        """Returns whether the data may hold more parts than a read of its size should: anything but a body of known length."""
        request = self._parsing
        if request is None:
            return b"chunked" in data[:SLICE_BYTES].lower()
        return self._in_head or b"transfer-encoding" in request.fields

    def _read_in_slices(self, data: bytes) -> None:
        """Takes in what came; goes on in the loop's next turn where it turns out to be in small parts."""
        start = 0
        while start < len(data) and not self.closing:
            end = start + SLICE_BYTES
            self._parts = 0
            self._read_all(data[start:end])
            start = end
            if self._parts > MOST_PARTS and start < len(data) and not self.closing:
                self._unparsed = data[start:]
                self.transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._read_on)
                return

    def _read_on(self) -> None:
        """Goes on with what was read before."""
        data, self._unparsed = self._unparsed, b""
        if not data or self.transport.is_closing():
            return
        self._read_in_slices(data)
        if not self._unparsed:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self._reading_paused or self._unparsed or self.transport.is_closing()):
            self.transport.resume_reading()

    def _read(self, data: bytes) -> bytes:
        """Takes in what came; returns what is to be parsed anew."""
        fresh = self._parsing is None and self._current is None
        size = self._read_bytes = len(data)
        self._head_bytes += size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._not_parsed(error)
            return b""
        if self._parsing is not None:
            self._bound_unfinished(size)
        elif fresh:
            self._heads.remember(data)
        return b""

    def _not_parsed(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            # a subclass of the parser's errors, but a fault of this program
            self._host.note_exception(error.__context__ or error)
            self.was_aborted = True
            self.transport.abort()
        elif isinstance(error, httptools.HttpParserInvalidMethodError):
            self._malformed(Problem.METHOD_UNKNOWN)
        else:
            self._malformed(Problem.BAD_REQUEST)

    def pause_writing(self) -> None:
        self._write_deadline = time.monotonic() + self._host.client_limits.slow_reader
        self._set_deadline(self._write_deadline)
        if self._handler is not None:
            try:
                self._handler.pause()
            except Exception as raised:  # see _crashed
                self._crashed(raised)
        elif self._current is None and not self.closing:
            self._pause_reading()

    def resume_writing(self) -> None:
        self._write_deadline = NEVER
        if self._reading_paused and self._current is None and not self.closing:
            self._release_next()
        elif self._reading_paused:
            self._set_deadline(time.monotonic() + LOOK_SECONDS)
        else:
            self._set_deadline(NEVER if self._handler is not None else self._idle_deadline())
        if self._handler is not None:
            try:
                self._handler.resume()
            except Exception as raised:  # see _crashed
                self._crashed(raised)

    # -- httptools -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.closing:
            return  # nothing after the last answer on this connection is a request
        self._parsing = Request(time.monotonic())
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        request = self._parsing
        if request is not None:
            request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parts += 1
        # trailers arrive here too; they are dropped (RFC 9110 section 6.5.1 allows it)
        if self._in_head and self._parsing is not None:
            self._parsing.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        request, parser = self._parsing, self._parser
        if request is None:
            return
        self._in_head = False
        head_bytes, self._head_bytes = self._head_bytes, 0
        request.head_complete(
            method=parser.get_method(),
            version=parser.get_http_version(),
            keep_alive=parser.should_keep_alive(),
            single=self._host.client_limits.single_fields,
        )
        if parser.should_upgrade():
            self._upgrade_seen = True
            return
        limits = self._host.client_limits
        if head_bytes > limits.max_header_bytes or self._read_bytes > limits.max_header_bytes:
            self._bound_head(request)
        if len(request.headers) > limits.max_headers:
            request.problem = Problem.HEADERS_TOO_LARGE
        if request.problem is not None:
            # where this request ends, and the next begins, is uncertain
            request.keep_alive = False
        if self._current is None:
            self._start(request)
        else:
            self._wait_in_line(request)

    def on_body(self, body: bytes) -> None:
        request = self._parsing
        self._parts += 1
        self._head_bytes = 0
        if request is None:
            return
        size = len(body)
        request.body_bytes += size
        if request.discard:
            return
        if request.body_bytes > self._host.client_limits.max_body_bytes:
            self._unusable(request, Problem.BODY_TOO_LARGE)
        elif not self._host.reserve_body(size, request.body_bytes):
            self._unusable(request, Problem.BODY_MEMORY_FULL)
        else:
            request.reserved_bytes += size
            request.add_body(body)

    def on_message_complete(self) -> None:
        request = self._parsing
        if request is None or self._upgrade_seen:
            return
        self._parsing = None
        self._head_bytes = 0
        self._heads.parsed(request)
        request.body_complete()
        if request is self._current:
            self._set_deadline(NEVER)
            if self._handler is not None:
                self._complete(self._handler)
            else:
                self._next(time.monotonic())
        elif not self.closing:
            self._pause_reading()

    # -- what handlers call ----------------------------------------------------------------------------------------

    def reserve_copy(self, request: Request, size: int) -> bool:
        """Reserves memory for a copy that the request's handler makes of its body; given back with the body."""
        # the body itself left room for another of its size
        if not self._host.reserve_body(size, 0):
            return False
        request.reserved_bytes += size
        return True

    def keeps_alive(self, request: Request, now: float) -> bool:
        """Returns whether this connection takes another request after this one.

        Who waits for 100 (Continue) and is answered otherwise may send the body, or go on without it (RFC 9110 section
        10.1.1): what comes next could be either.
        """
        return (
            request.keep_alive
            and (request.complete or not request.expects_continue)
            and not self.closing
            and not self._host.draining
            and now < self._age_limit
        )

    def want_body(self, request: Request) -> None:
        """Asks for the body of a client that waits for 100 (Continue)."""
        if request.expects_continue and not request.complete and not request.body_bytes:
            self.write(CONTINUE)

    def drop_body(self, request: Request) -> None:
        """Frees the request's body; what still arrives of it is dropped."""
        reserved = request.discard_body()
        if reserved:
            self._host.release_body(reserved)

    def finished(self, now: float, *, keep_alive: bool) -> None:
        """Called when the answer is written: goes on to the next request, or closes."""
        request, self._handler = self._current, None
        if request is None:
            return
        self.drop_body(request)
        if not keep_alive:
            self.closing = request.complete
            request.keep_alive = False
        if request.complete:
            self._next(now)
        else:
            self._lingered_bytes = 0
            self._set_deadline(now + LINGER_SECONDS)

    def abort(self) -> None:
        """Closes without a proper end, which tells the client that the answer is incomplete."""
        self.was_aborted = True
        self.flush()
        self.transport.abort()

    # -- drain and deadlines ---------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Returns whether neither a request nor a part of one has arrived."""
        return self._current is None and self._parsing is None and not self._waiting

    def idle_since(self) -> float:
        """Returns when the last answer ended, in monotonic seconds; meaningful while idle."""
        return self.deadline - self._host.client_limits.idle_timeout

    @property
    def is_secure(self) -> bool:
        """Returns whether the connection is encrypted."""
        return self.transport.get_extra_info("ssl_object") is not None

    def end_age(self, now: float) -> None:
        """Makes the answer that is under way, or the next one, the last of this connection."""
        self._age_limit = min(self._age_limit, now)

    def retire(self) -> None:
        """Closes after the answer that is under way, at once without one."""
        request = self._current
        if request is None:
            self.close()
        else:
            request.keep_alive = False

    def close(self) -> None:
        """Closes after everything written has been sent."""
        self.closing = True
        self._set_deadline(time.monotonic() + self._host.client_limits.slow_reader)
        self.flush()
        self.transport.close()

    def expired(self, now: float) -> None:
        if self._reading_paused and now < self._write_deadline and not self.closing:
            self._look_for_client(now)
        elif (
            self.closing
            or now >= self._write_deadline
            or (self._handler is not None and self._parsing is None)
        ):
            self.transport.abort()  # the client does not read its answer
        elif self._handler is not None:
            self._refuse(self._handler, Problem.TIMEOUT)
        elif self._in_head:
            self._malformed(Problem.TIMEOUT)
        else:
            self.close()

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self.slot:
            self._host.wheel.watch(self)

    def _idle_deadline(self) -> float:
        return time.monotonic() + self._host.client_limits.idle_timeout

    def _bound_head(self, request: Request) -> None:
        """Measures a head by its parts: it came in one large read, perhaps with a body behind it."""
        limit = self._host.client_limits.max_header_bytes
        target = len(request.target)
        if target + sum(len(name) + len(value) + 4 for name, value in request.headers) > limit:
            too_long = target > limit // 2
            request.problem = Problem.URI_TOO_LONG if too_long else Problem.HEADERS_TOO_LARGE

    def _bound_unfinished(self, size: int) -> None:
        """Bounds size and time of an unfinished request; called after each read, of that many bytes, that leaves one.

        The parser joins the parts of a field: what is no body, trailers and chunk extensions too, must stay small.
        """
        request, limits = self._parsing, self._host.client_limits
        assert request is not None
        now = time.monotonic()
        if self._head_bytes > limits.max_header_bytes:
            too_long = self._in_head and len(request.target) > limits.max_header_bytes // 2
            self._malformed(Problem.URI_TOO_LONG if too_long else Problem.HEADERS_TOO_LARGE)
        elif self._in_head:
            if self._current is None:
                self._set_deadline(request.received_at + limits.header_timeout)
        elif request is self._current and self._handler is not None:
            patience = limits.body_timeout + request.body_bytes / BODY_FLOOR_BYTES_PER_SECOND
            self._set_deadline(min(now + limits.body_timeout, request.received_at + patience))
        elif request is self._current:
            self._lingered_bytes += size
            if self._lingered_bytes > LINGER_BYTES:
                self.close()

    # -- pipelined requests ----------------------------------------------------------------------------------------

    def _start(self, request: Request) -> None:
        self._current = request
        try:
            handler = self._handler = self._host.handler(self, request)
            if request.problem is not None:
                handler.unusable(request.problem)
            else:
                handler.begin()
        except Exception as raised:  # see _crashed
            self._crashed(raised)

    def _complete(self, handler: RequestHandler) -> None:
        try:
            handler.request_complete()
        except Exception as raised:  # see _crashed
            self._crashed(raised)

    def _refuse(self, handler: RequestHandler, problem: Problem) -> None:
        try:
            handler.unusable(problem)
        except Exception as raised:  # see _crashed
            self._crashed(raised)

    def _crashed(self, error: Exception) -> None:
        """Ends the current request, whose handling raised: what left here would reach the parser, which takes it for bad
        HTTP, or the event loop, and the request would never end.
        """
        handler = self._handler
        if handler is None:
            self._host.note_exception(error)
            self.transport.abort()
        else:
            self._end_crashed(handler, error)

    def _end_crashed(self, handler: RequestHandler, error: Exception) -> None:
        try:
            handler.crashed(error)
        except Exception as raised:  # its connection at least must not stay
            self._host.note_exception(raised)
            self.transport.abort()

    def _serve_repeated(self, data: bytes) -> bool:
        """Serves the read if it is one more request with the cached head; returns whether it was."""
        start = self._heads.body_start(data)
        if not start:
            return False
        size = len(data) - start
        if size > self._host.client_limits.max_body_bytes or not self._host.reserve_body(
            size, size
        ):
            return False
        self.deadline = NEVER
        body = data[start:]
        self._serve(self._heads.request(body, time.monotonic()))
        return True

    def _wait_in_line(self, request: Request) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(request)
        if len(self._waiting) > PIPELINE_DEPTH:
            self.close()
        elif request.complete or request.problem is not None:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
        self._set_deadline(min(self._write_deadline, time.monotonic() + LOOK_SECONDS))

    def _look_for_client(self, now: float) -> None:
        """Aborts the connection if the client has left: while reading is paused the loop does not notice.

        Reads on where so much is unread that the kernel would not notice either, up to the end of one more call.
        """
        socket = self.transport.get_extra_info("socket")
        descriptor = socket.fileno() if socket is not None else -1
        if descriptor >= 0 and peer_has_left(descriptor):
            self.transport.abort()
        elif (
            self._current is not None
            and len(self._waiting or ()) < MOST_READ_AHEAD
            and unread_bytes(descriptor) >= MOST_UNREAD_BYTES
        ):
            self._reading_paused = False
            self._set_deadline(self._write_deadline)
            self._resume_reading()
        else:
            self._set_deadline(min(self._write_deadline, now + LOOK_SECONDS))

    def _next(self, now: float) -> None:
        """Goes on after the current request, whose answer and body are complete."""
        request, self._current = self._current, None
        if self.closing or (request is not None and not request.keep_alive):
            self.close()
        elif self._write_deadline != NEVER:
            # the client has yet to read its answers: more of them would gather in memory
            self._pause_reading()
        elif self._waiting:
            self._follow(self._waiting.popleft())
        else:
            self._set_deadline(now + self._host.client_limits.idle_timeout)

    def _release_next(self) -> None:
        """Goes on now that the client has read its answers."""
        if self._waiting:
            self._follow(self._waiting.popleft())
        else:
            self._reading_paused = False
            self._set_deadline(self._idle_deadline())
            self._resume_reading()

    def _follow(self, request: Request) -> None:
        if not self._waiting and self._reading_paused:
            self._reading_paused = False
            self._set_deadline(NEVER)
            self._resume_reading()
        self._serve(request)

    def _serve(self, request: Request) -> None:
        """Starts the request and completes it if its body has arrived."""
        if not request.complete:
            # it had to wait for its turn: the time for its body begins now
            request.received_at = time.monotonic()
            self._set_deadline(request.received_at + self._host.client_limits.body_timeout)
        self._start(request)
        if request.complete and self._current is request and self._handler is not None:
            self._complete(self._handler)

    def _unusable(self, request: Request, problem: Problem) -> None:
        request.problem = problem
        if request is self._current and self._handler is not None:
            self._refuse(self._handler, problem)
        self.drop_body(request)

    def _malformed(self, problem: Problem) -> None:
        """Refuses bytes that are not a request: answers the requests already accepted, then closes."""
        if self.closing:
            return
        request = self._parsing or Request(time.monotonic())
        request.keep_alive = False
        request.complete = True
        request.problem = problem
        self._parsing, self._in_head = None, False
        if self._current is None:
            self._start(request)
        elif request is self._current and self._handler is not None:
            self._refuse(self._handler, problem)
        elif request is self._current:
            self.close()
        elif not self._waiting or self._waiting[-1] is not request:
            self._wait_in_line(request)

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Returns the request without Upgrade and what follows: RFC 9110 section 7.8 lets a server ignore it, llhttp does not."""
        request, self._upgrade_seen = self._parsing, False
        if request is None:
            # behind the last answer on this connection
            return b""
        if request.method == b"CONNECT":
            self._malformed(Problem.METHOD_NOT_ALLOWED)
            return b""
        self._parser = httptools.HttpRequestParser(self)
        head = b"".join(
            b"%b: %b\r\n" % field for field in request.headers if field[0] not in _UPGRADE
        )
        still_nominated = nominated(request.fields.get(b"connection", b"")) - _UPGRADE - {b""}
        if still_nominated:
            head += b"connection: %b\r\n" % b", ".join(sorted(still_nominated))
        version = b"1.1" if request.http11 else b"1.0"
        line = b"%b %b HTTP/%b\r\n" % (request.method, request.target, version)
        return line + head + b"\r\n" + rest
