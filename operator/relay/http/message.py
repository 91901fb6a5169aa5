"""HTTP/1.1 messages towards clients: requests as they arrive, and the parts of an answer."""

from http import HTTPStatus
from typing import Final

from relay.http.headers import Field
from relay.http.problem import Problem

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
PIECE_BYTES: Final = 16 * 1024
"""Pieces of a body below this are copied together: each object costs some 50 bytes, and a chunk may hold one byte."""


def status_line(status: int) -> bytes:
    """Returns the status line, also for a status without a registered phrase."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def chunk(data: bytes) -> bytes:
    """Returns the data as one chunk (RFC 9112 section 7.1). It must not be empty: an empty chunk ends the message."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class BodyPieces:
    """The pieces of a body that takes several reads. Small ones are copied together, so that a byte costs a byte."""

    __slots__ = ("_joined", "_pieces")

    def __init__(self, first: bytes) -> None:
        self._pieces: list[bytes] = []
        self._joined = bytearray()
        self.add(first)

    def add(self, piece: bytes) -> None:
        """Adds what came next."""
        if len(piece) >= PIECE_BYTES:
            self._close()
            self._pieces.append(piece)
            return
        self._joined += piece
        if len(self._joined) >= PIECE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._joined:
            self._pieces.append(bytes(self._joined))
            self._joined = bytearray()

    def whole(self) -> bytes:
        """Returns everything that came; nothing is kept."""
        self._close()
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class Request:
    """A client's request while it arrives.

    problem is set as soon as the head or body proves unusable; the body is read and dropped while discard is set. body is
    all of it once it is complete, and reserved_bytes the memory that is reserved for it.
    """

    __slots__ = (
        "_pieces",
        "body",
        "body_bytes",
        "complete",
        "discard",
        "fields",
        "headers",
        "http11",
        "keep_alive",
        "known",
        "method",
        "path",
        "problem",
        "query",
        "received_at",
        "reserved_bytes",
        "target",
    )

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.target = b""
        self.headers: list[Field] = []
        self.fields: dict[bytes, bytes] = {}
        self.body = b""
        self._pieces: BodyPieces | None = None
        self.body_bytes = 0
        self.reserved_bytes = 0
        self.complete = False
        self.discard = False
        self.http11 = True
        self.keep_alive = True
        self.method = b""
        self.path = b""
        self.query = b""
        self.problem: Problem | None = None
        self.known: KnownHead | None = None

    def head_complete(
        self, *, method: bytes, version: str, keep_alive: bool, single: frozenset[bytes]
    ) -> None:
        """Takes over the parsed head and sets problem if RFC 9110 or 9112 forbid it.

        single names the fields that may occur once only.
        """
        self.method = method
        self.keep_alive = keep_alive
        fields = self.fields = dict(self.headers)
        if len(fields) != len(self.headers) and b"connection" in fields:
            # each line nominates (RFC 9110 section 7.6.1)
            lines = [value for name, value in self.headers if name == b"connection"]
            fields[b"connection"] = b", ".join(lines)
        self.http11 = version == "1.1"
        self.problem = self._head_problem(version, single)
        if self.problem is None:
            self._split_target()

    def add_body(self, piece: bytes) -> None:
        """Adds the next piece of the body."""
        if self._pieces is not None:
            self._pieces.add(piece)
        elif self.body:
            self._pieces = BodyPieces(self.body)
            self._pieces.add(piece)
            self.body = b""
        else:
            self.body = piece

    def body_complete(self) -> None:
        """Notes that the request has arrived whole."""
        self.complete = True
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            self.body = pieces.whole()

    def discard_body(self) -> int:
        """Frees the body, what still comes of it is to be dropped; returns the bytes that were reserved for it."""
        self.discard = True
        self.body = b""
        self._pieces = None
        reserved, self.reserved_bytes = self.reserved_bytes, 0
        return reserved

    def _head_problem(self, version: str, single: frozenset[bytes]) -> Problem | None:
        fields = self.fields
        if version not in ("1.1", "1.0"):
            return Problem.VERSION_NOT_SUPPORTED
        if len(fields) != len(self.headers) and self._repeats_one_of(single):
            return Problem.BAD_REQUEST
        # RFC 9112 section 3.2: a 1.1 request without Host is to be refused
        if self.http11 and b"host" not in fields:
            return Problem.BAD_REQUEST
        coding = fields.get(b"transfer-encoding")
        # RFC 9112 section 6.1: chunked alone is understood, and never in HTTP/1.0
        if coding is not None and (not self.http11 or coding.strip().lower() != b"chunked"):
            return Problem.BAD_REQUEST
        return None

    def _repeats_one_of(self, single: frozenset[bytes]) -> bool:
        names = [name for name, _ in self.headers if name in single]
        return len(names) != len(set(names))

    def _split_target(self) -> None:
        target = self.target
        if not target.startswith(b"/"):
            target = self._origin_form(target)
        self.path, _, self.query = target.partition(b"?")

    def _origin_form(self, target: bytes) -> bytes:
        # RFC 9112 section 3.2.2: absolute-form must be taken from any client
        scheme, separator, rest = target.partition(b"://")
        if separator and scheme.lower() in (b"http", b"https"):
            _, slash, path = rest.partition(b"/")
            return slash + path if slash else b"/"
        if target == b"*":
            return target
        self.problem = Problem.BAD_REQUEST
        return b""

    @property
    def expects_continue(self) -> bool:
        """Returns whether the client waits for 100 before it sends the body (RFC 9110 section 10.1.1)."""
        return self.http11 and self.fields.get(b"expect", b"").lower() == b"100-continue"


class KnownHead:
    """A head that the parser has accepted before on the same connection.

    beginning are its bytes up to the first value that may differ; gaps are the names of those fields, each with the bytes that
    stand between its value and the next. length_gap is the place of content-length among them, size that of the head. notes
    is for the request's handler, which keeps there what it made of the rest; the connection does not read it.
    """

    __slots__ = (
        "beginning",
        "fields",
        "gaps",
        "headers",
        "length_gap",
        "notes",
        "path",
        "query",
        "size",
        "target",
    )

    def __init__(self, request: Request, head: bytes, values: list[tuple[bytes, int, int]]) -> None:
        ends = [start for _, start, _ in values[1:]] + [len(head)]
        self.beginning = head[: values[0][1]]
        self.gaps = [
            (name, head[end:following])
            for (name, _, end), following in zip(values, ends, strict=True)
        ]
        self.length_gap = [name for name, _ in self.gaps].index(b"content-length")
        self.size = len(head)
        self.target = request.target
        self.headers = request.headers
        self.fields = request.fields
        self.path = request.path
        self.query = request.query
        self.notes: object = None
