"""Writes an answer to the client: heads, framing, and one write per read of the provider."""

from typing import Final

from relay.calls import own_responses
from relay.dialect.header_fields import WITHHELD_FROM_CLIENT
from relay.dialect.refusals import Refusal, refusal_body
from relay.http.downstream import ClientConnection
from relay.http.headers import HOP_BY_HOP, Field, nominated
from relay.http.message import LAST_CHUNK, Request, chunk, status_line

_DROPPED: Final = HOP_BY_HOP | WITHHELD_FROM_CLIENT
RESET_CONTENT: Final = 205
BODILESS: Final = frozenset({204, RESET_CONTENT, 304})
"""Answers without a body (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5): whatever stood there would be taken for the next answer."""
UNBUFFERED: Final = b"x-accel-buffering: no\r\n"
"""Tells nginx and similar proxies not to buffer the stream."""

CLIENT_CLOSED_REQUEST: Final = 499
"""Stands in metrics for an answer that nobody read, as nginx has it."""
HELD_BYTES: Final = 64 * 1024
"""A unary answer up to this is sent when it is whole: one that breaks off can then still become a clean error."""


class ResponseWriter:
    """Writes one answer. Framing follows the client: chunked for HTTP/1.1, until close for 1.0 (RFC 9112 section 6)."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_held_bytes",
        "_out",
        "_request",
        "holds",
        "keep_alive",
        "sent_bytes",
        "status",
    )

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._out: list[bytes] = []
        self._chunked = False
        self._held_bytes = 0
        self.keep_alive = True
        self.holds = False
        self.status = 0
        self.sent_bytes = 0

    def whole(self, status: int, fields: bytes, body: bytes, *, keep_alive: bool) -> None:
        """Writes a complete answer; HEAD gets its head alone (RFC 9110 section 9.3.2)."""
        self.status = status
        self.keep_alive = keep_alive
        length = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
        head = status_line(status) + fields + length + self._connection_field() + b"\r\n"
        self._connection.write_soon(head if self._request.method == b"HEAD" else head + body)

    def refusal(
        self,
        refusal: Refusal,
        fields: bytes,
        *,
        message: str | None,
        retry_after_seconds: float | None,
        keep_alive: bool,
    ) -> None:
        """Writes a refusal in the OpenAI shape."""
        retry = own_responses.retry_fields(refusal, retry_after_seconds)
        body = refusal_body(refusal, message)
        self.whole(
            refusal.value.status, own_responses.JSON + retry + fields, body, keep_alive=keep_alive
        )

    def begin(
        self,
        status: int,
        headers: list[Field],
        fields: bytes,
        *,
        stream: bool,
        hold: bool,
        rewritten: bool,
        keep_alive: bool,
    ) -> None:
        """Begins a provider's answer: its fields but for those that are ours or its connection's, then ours.

        A stream of events never keeps the provider's length: events are hidden, added and appended on the way; nor does
        another answer that is rewritten. With hold a small answer is sent when it is whole.
        """
        self.status = status
        length, passed = _passed_on(headers)
        if stream or (rewritten and status not in BODILESS):
            length = None
        elif status in BODILESS:
            length = b"0" if status == RESET_CONTENT else None
        bodiless = status in BODILESS
        self._chunked = length is None and self._request.http11 and not bodiless
        # without length or chunks only the end of the connection tells the end of the answer
        self.keep_alive = keep_alive and (length is not None or self._chunked or bodiless)
        if length is not None:
            passed += (b"content-length: ", length, b"\r\n")
        elif self._chunked:
            passed.append(b"transfer-encoding: chunked\r\n")
        if stream:
            passed.append(UNBUFFERED)
        self.holds = hold and (length is None or int(length) <= HELD_BYTES)
        self._held_bytes = 0
        passed += (fields, self._connection_field(), b"\r\n")
        passed[0] = status_line(status)
        self._out = passed

    def forget(self) -> None:
        """Drops an answer that was begun and of which nothing has left: another takes its place."""
        self._out = []
        self._held_bytes = 0
        self.holds = False

    def body(self, data: bytes) -> None:
        """Adds a piece of the body; the next `flush` writes it. What proves larger than is held is held no more."""
        if self.holds:
            self._held_bytes += len(data)
            self.holds = self._held_bytes <= HELD_BYTES
        if self._chunked:
            self._out.append(chunk(data))
        elif self.status not in BODILESS:
            self._out.append(data)

    def flush(self) -> None:
        """Writes what has gathered."""
        if self._out:
            out, self._out = self._out, []
            data = out[0] if len(out) == 1 else b"".join(out)
            self.sent_bytes += len(data)
            self._connection.write(data)

    @property
    def may_release(self) -> bool:
        """True if a part of an answer of unknown length is held."""
        return self.holds and self._chunked and self._held_bytes > 0

    def end(self) -> None:
        """Ends a whole answer."""
        if self._chunked:
            self._out.append(LAST_CHUNK)
        if self.holds:
            data = b"".join(self._out)
            self._out = []
            self.sent_bytes += len(data)
            self._connection.write_soon(data)
        else:
            self.flush()

    def end_stream_with(self, event: bytes) -> None:
        """Ends a stream of events with an error event, which SDKs raise on."""
        self.body(event)
        self.end()

    def abandoned(self) -> None:
        """Notes that the client left before the answer was whole."""
        self.status = CLIENT_CLOSED_REQUEST

    def abort(self) -> None:
        """Aborts the connection, so that the client cannot take what it has for whole."""
        self._connection.abort()

    def _connection_field(self) -> bytes:
        if not self.keep_alive:
            return b"connection: close\r\n"
        return b"" if self._request.http11 else b"connection: keep-alive\r\n"


def _passed_on(headers: list[Field]) -> tuple[bytes | None, list[bytes]]:
    """Returns the content length, and the fields for the client, in pieces after an empty one for the status line."""
    length = None
    dropped = _DROPPED
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            dropped |= nominated(value)
    passed: list[bytes] = [b""]
    for name, value in headers:
        if name not in dropped:
            passed.append(b"%b: %b\r\n" % (name, value))
        elif name == b"content-length":
            length = value
    return length, passed
