"""A client's connection: requests in, answers out, one at a time and in order (RFC 9112 section 9.3.2)."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools
from mypy_extensions import trait

from relay.dialect.refusals import Refusal
from relay.http.deadlines import NEVER, DeadlineWheel
from relay.http.message import CONTINUE, KnownHead, Request, known_head
from relay.http.outbox import Channel, Outbox

PIPELINE_DEPTH: Final = 64
"""Requests one read may hold before the connection is closed; clients of this API do not pipeline at all."""
MAX_STRANGERS: Final = 8
"""After so many different heads in a row a connection's heads are taken to differ always: each has a trace id, say."""
LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 1024 * 1024
"""After an early refusal this much of the body is read and dropped, so that the answer is not lost to a reset."""
BODY_FLOOR_BYTES_PER_SECOND: Final = 512
"""A body slower than this on average, beyond the body timeout, is a slow attack."""

_UPGRADE: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What one client connection may take; sizes in bytes, times in seconds."""

    header_timeout: float
    body_timeout: float
    idle_timeout: float
    slow_reader: float
    max_header_bytes: int
    max_headers: int
    max_body_bytes: int


@trait
class RequestHandler(ABC):
    """One request's life as its connection sees it."""

    @abstractmethod
    def begin(self) -> None:
        """The head is there; the exchange may answer at once."""

    @abstractmethod
    def request_complete(self) -> None:
        """The whole body is there."""

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """The request turned out unusable."""

    @abstractmethod
    def client_gone(self) -> None:
        """Nobody reads the answer any more."""

    @abstractmethod
    def pause(self) -> None:
        """The client reads slower than the answer arrives."""

    @abstractmethod
    def resume(self) -> None:
        """The client caught up."""


@trait
class ConnectionHost(ABC):
    """What a connection needs from the process it lives in."""

    client_limits: ClientLimits
    wheel: DeadlineWheel
    outbox: Outbox
    draining: bool

    @abstractmethod
    def admit_connection(self, connection: "ClientConnection") -> bool:
        """Whether there is room for one more."""

    @abstractmethod
    def forget_connection(self, connection: "ClientConnection") -> None:
        """The connection is gone."""

    @abstractmethod
    def exchange(self, connection: "ClientConnection", request: Request) -> RequestHandler:
        """A new request's exchange, not begun."""

    @abstractmethod
    def reserve_body(self, size: int) -> bool:
        """Whether the process can hold so many more bytes of request bodies."""

    @abstractmethod
    def release_body(self, size: int) -> None:
        """So many bytes are held no longer."""

    @abstractmethod
    def connection_age(self) -> float:
        """The age, in seconds, at which a new connection is to be closed; jittered."""


class ClientConnection(Channel):
    """An asyncio protocol that does not derive from asyncio's: a compiled class with a Python base is an ordinary one.

    Parses with llhttp, bounds sizes and times, and hands one request at a time to an exchange.
    """

    __slots__ = (
        "_age_limit",
        "_current",
        "_exchange",
        "_head_bytes",
        "_host",
        "_in_head",
        "_known",
        "_last",
        "_parser",
        "_parsing",
        "_strangers",
        "_upgrade_seen",
        "_waiting",
        "closing",
    )

    def __init__(self, host: ConnectionHost) -> None:
        super().__init__(host.outbox)
        self._host = host
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parsing: Request | None = None
        self._current: Request | None = None
        self._exchange: RequestHandler | None = None
        self._waiting: deque[Request] | None = None
        self._in_head = False
        self._head_bytes = 0
        self._upgrade_seen = False
        # the last head, and how many heads in a row were another than the one before
        self._known: KnownHead | None = None
        self._strangers = 0
        self._last: Request | None = None
        self._age_limit = NEVER
        self.closing = False

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
        """The client sends no more: the transport closes, as asyncio's own protocols have it, behind what is answered."""
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._pending = None
        self.deadline = NEVER
        self._host.wheel.forget(self)
        self._host.forget_connection(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
        for request in (self._parsing, self._current, *(self._waiting or ())):
            if request is not None:
                self.drop_body(request)
        self._parsing = self._current = self._waiting = self._known = self._last = None
        # the parser refers to us; with it goes the cycle
        self._parser = None

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        fresh = self._parsing is None and self._current is None
        if fresh and self._repeats(data):
            return
        if self._in_head or self._parsing is None:
            self._head_bytes += len(data)
        if not self._parse(data):
            return
        if self._parsing is not None:
            self._bound_unfinished()
        elif fresh:
            self._remember(data)

    def pause_writing(self) -> None:
        self._set_deadline(time.monotonic() + self._host.client_limits.slow_reader)
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        self._set_deadline(NEVER if self._exchange is not None else self._idle_deadline())
        if self._exchange is not None:
            self._exchange.resume()

    # -- httptools -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.closing:
            return  # what follows the last answer on this connection is not a request any more
        self._parsing = Request(time.monotonic())
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        request = self._parsing
        if request is not None:
            request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
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
        )
        if parser.should_upgrade():
            self._upgrade_seen = True
            return
        if head_bytes > self._host.client_limits.max_header_bytes:
            self._bound_head(request)
        if len(request.headers) > self._host.client_limits.max_headers:
            request.problem = Refusal.headers_too_large
        if request.problem is not None:
            # no later request can be told apart with certainty from what this one brought
            request.keep_alive = False
        if self._current is None:
            self._start(request)
        else:
            self._wait_in_line(request)

    def on_body(self, body: bytes) -> None:
        request = self._parsing
        if request is None or request.discard:
            self._head_bytes += len(body)
            return
        size = len(body)
        request.body_bytes += size
        if request.body_bytes > self._host.client_limits.max_body_bytes:
            self._unusable(request, Refusal.payload_too_large)
        elif not self._host.reserve_body(size):
            request.body_bytes -= size
            self._unusable(request, Refusal.overloaded)
        else:
            request.body.append(body)

    def on_message_complete(self) -> None:
        request = self._parsing
        if request is None or self._upgrade_seen:
            return
        self._parsing = None
        self._last = request
        request.complete = True
        if request is self._current:
            self._set_deadline(NEVER)
            if self._exchange is not None:
                self._exchange.request_complete()
            else:
                self._next(time.monotonic())

    def _parse(self, data: bytes) -> bool:
        """Whether the data was HTTP; what is wrong with it has been answered."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            unknown = isinstance(error, httptools.HttpParserInvalidMethodError)
            self._malformed(Refusal.not_implemented if unknown else Refusal.bad_request)
        else:
            return True
        return False

    # -- what exchanges call ---------------------------------------------------------------------------------------

    def keeps_alive(self, request: Request, now: float) -> bool:
        """Whether this connection takes another request after this one."""
        return (
            request.keep_alive
            and not self.closing
            and not self._host.draining
            and now < self._age_limit
        )

    def want_body(self, request: Request) -> None:
        """A client that waits for 100 (Continue) sends its body now."""
        if request.expects_continue and not request.complete and not request.body_bytes:
            self.write(CONTINUE)

    def drop_body(self, request: Request) -> None:
        """The request's body is held no longer; what still arrives is thrown away."""
        request.discard = True
        if request.body:
            self._host.release_body(sum(map(len, request.body)))
            request.body = []

    def finished(self, now: float, *, keep_alive: bool) -> None:
        """The answer is written; the next request's turn, or the end."""
        request, self._exchange = self._current, None
        if request is None:
            return
        self.drop_body(request)
        if not keep_alive:
            self.closing = request.complete
            request.keep_alive = False
        if request.complete:
            self._next(now)
        else:
            self._head_bytes = 0
            self._set_deadline(now + LINGER_SECONDS)

    def abort(self) -> None:
        """The connection is gone without a proper end, which tells the client that the answer is not whole."""
        self.flush()
        self.transport.abort()

    # -- drain and deadlines ---------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether neither a request nor a part of one is here."""
        return self._current is None and self._parsing is None

    def idle_since(self) -> float:
        """When the last answer ended, in monotonic seconds; meaningful while idle."""
        return self.deadline - self._host.client_limits.idle_timeout

    def close(self) -> None:
        """Closed as soon as what was written has left."""
        self.closing = True
        self._set_deadline(time.monotonic() + self._host.client_limits.slow_reader)
        self.flush()
        self.transport.close()

    def expired(self, now: float) -> None:
        if self.closing or (self._exchange is not None and self._parsing is None):
            self.transport.abort()  # a reader that takes nothing
        elif self._exchange is not None:
            self._exchange.refuse(Refusal.request_timeout)
        elif self._in_head:
            self._malformed(Refusal.request_timeout)
        else:
            self.close()

    def _set_deadline(self, deadline: float) -> None:
        self.deadline = deadline
        if deadline < self.slot:
            self._host.wheel.watch(self)

    def _idle_deadline(self) -> float:
        return time.monotonic() + self._host.client_limits.idle_timeout

    def _bound_head(self, request: Request) -> None:
        """A head that came whole in one large read, perhaps with a body behind it, is measured by its parts."""
        limit = self._host.client_limits.max_header_bytes
        target = len(request.target)
        if target + sum(len(name) + len(value) + 4 for name, value in request.headers) > limit:
            too_long = target > limit // 2
            request.problem = Refusal.uri_too_long if too_long else Refusal.headers_too_large

    def _bound_unfinished(self) -> None:
        """After each read that leaves a request unfinished: sizes and times of what has come so far."""
        request, limits = self._parsing, self._host.client_limits
        assert request is not None
        now = time.monotonic()
        if self._in_head:
            if self._head_bytes > limits.max_header_bytes:
                too_long = len(request.target) > limits.max_header_bytes // 2
                self._malformed(Refusal.uri_too_long if too_long else Refusal.headers_too_large)
            elif self._current is None:
                self._set_deadline(request.received_at + limits.header_timeout)
        elif request is self._current and self._exchange is not None:
            patience = limits.body_timeout + request.body_bytes / BODY_FLOOR_BYTES_PER_SECOND
            self._set_deadline(min(now + limits.body_timeout, request.received_at + patience))
        elif self._head_bytes > LINGER_BYTES:
            self.close()

    # -- the line of requests --------------------------------------------------------------------------------------

    def _start(self, request: Request) -> None:
        self._current = request
        exchange = self._exchange = self._host.exchange(self, request)
        if request.problem is not None:
            exchange.refuse(request.problem)
        else:
            exchange.begin()

    def _repeats(self, data: bytes) -> bool:
        """Whether the data was one more request with the head of the last, and is taken care of."""
        known = self._known
        if known is None:
            return False
        start = known.body_start(data)
        size = len(data) - start
        if not start or size > self._host.client_limits.max_body_bytes:
            return False
        if not self._host.reserve_body(size):
            return False
        self._strangers = 0
        self.deadline = NEVER
        self._serve(known.request(data[start:], time.monotonic()))
        return True

    def _remember(self, data: bytes) -> None:
        """The head of the request that this read brought is known when it comes again."""
        if self._strangers == MAX_STRANGERS:
            return
        self._strangers += 1
        request, self._last = self._last, None
        self._known = known_head(request, data) if request is not None else None

    def _wait_in_line(self, request: Request) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(request)
        if len(self._waiting) > PIPELINE_DEPTH:
            self.close()
        else:
            self.transport.pause_reading()

    def _next(self, now: float) -> None:
        """The current request is over and whole."""
        request, self._current = self._current, None
        if self.closing or (request is not None and not request.keep_alive):
            self.close()
        elif self._waiting:
            self._follow(self._waiting.popleft())
        else:
            self._set_deadline(now + self._host.client_limits.idle_timeout)

    def _follow(self, request: Request) -> None:
        if not self._waiting:
            self.transport.resume_reading()
        self._serve(request)

    def _serve(self, request: Request) -> None:
        """The request's turn, as far as it is here."""
        self._start(request)
        if request.complete and self._current is request and self._exchange is not None:
            self._exchange.request_complete()

    def _unusable(self, request: Request, problem: Refusal) -> None:
        request.problem = problem
        if request is self._current and self._exchange is not None:
            self._exchange.refuse(problem)
        self.drop_body(request)

    def _malformed(self, problem: Refusal) -> None:
        """What follows cannot be told apart from the next request: answer what stands, then close."""
        if self.closing:
            return
        request = self._parsing or Request(time.monotonic())
        request.keep_alive = False
        request.complete = True
        request.problem = problem
        self._parsing, self._in_head = None, False
        if self._current is None:
            self._start(request)
        elif request is self._current and self._exchange is not None:
            self._exchange.refuse(problem)
        elif request is self._current:
            self.close()
        elif not self._waiting or self._waiting[-1] is not request:
            self._wait_in_line(request)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """RFC 9110 section 7.8 lets a server ignore Upgrade, llhttp does not: parse the request again without it."""
        request, self._upgrade_seen = self._parsing, False
        assert request is not None
        if request.method == b"CONNECT" or not request.http11:
            self._malformed(Refusal.method_not_allowed)
            return
        self._parser = httptools.HttpRequestParser(self)
        head = b"".join(
            b"%b: %b\r\n" % field for field in request.headers if field[0] not in _UPGRADE
        )
        line = b"%b %b HTTP/1.1\r\n" % (request.method, request.target)
        self.data_received(line + head + b"\r\n" + rest)
