"""One HTTP/1.1 message on each side: the request as it arrives, heads as they leave."""

import re
from http import HTTPStatus
from typing import Final

from relay.dialect.refusals import Refusal
from relay.http.headers import SINGLE, Field

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def status_line(status: int) -> bytes:
    """The status line, also for a status without a registered phrase."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def chunk(data: bytes) -> bytes:
    """The data as one chunk (RFC 9112 section 7.1); data is not empty, an empty chunk would end the message."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Request:
    """A client's request while it arrives.

    problem is set once the head or body is known to be unusable; a discarded body is read and thrown away.
    """

    __slots__ = (
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
        "target",
    )

    def __init__(self, received_at: float) -> None:
        self.received_at = received_at
        self.target = b""
        self.headers: list[Field] = []
        self.fields: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.complete = False
        self.discard = False
        self.http11 = True
        self.keep_alive = True
        self.method = b""
        self.path = b""
        self.query = b""
        self.problem: Refusal | None = None
        self.known: KnownHead | None = None

    def head_complete(self, *, method: bytes, version: str, keep_alive: bool) -> None:
        """The head is parsed; problem says what RFC 9110 or 9112 makes us refuse."""
        self.method = method
        self.keep_alive = keep_alive
        self.fields = dict(self.headers)
        self.http11 = version == "1.1"
        self.problem = self._head_problem(version)
        if self.problem is None:
            self._split_target()

    def _head_problem(self, version: str) -> Refusal | None:
        fields = self.fields
        if version not in ("1.1", "1.0"):
            return Refusal.version_not_supported
        if len(fields) != len(self.headers) and self._repeats_single():
            return Refusal.bad_request
        # RFC 9112 section 3.2: a 1.1 request without ConnectionHost is to be refused
        if self.http11 and b"host" not in fields:
            return Refusal.bad_request
        coding = fields.get(b"transfer-encoding")
        # RFC 9112 section 6.1: chunked alone is understood, and never in HTTP/1.0
        if coding is not None and (not self.http11 or coding.strip().lower() != b"chunked"):
            return Refusal.bad_request
        return None

    def _repeats_single(self) -> bool:
        names = [name for name, _ in self.headers if name in SINGLE]
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
        self.problem = Refusal.bad_request
        return b""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 before it sends the body (RFC 9110 section 10.1.1)."""
        return self.http11 and self.fields.get(b"expect", b"").lower() == b"100-continue"


MAX_LENGTH_DIGITS: Final = 10
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]+)\r\n", re.IGNORECASE)


class KnownHead:
    """A head the parser has accepted before on the same connection, but for the digits of its content-length.

    Clients repeat their heads: from call to call on one connection only the length of the body changes. A read that holds
    the same bytes, other digits in that one place, and exactly as much body as they say, is the same request with another
    body, and nothing about its head has to be found out again. Any other read goes to the parser.

    notes is what the exchange made of the head, kept for the next one; the connection does not look at it.
    """

    __slots__ = ("_after", "_before", "fields", "headers", "notes", "path", "query", "target")

    def __init__(self, request: Request, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self.target = request.target
        self.headers = request.headers
        self.fields = request.fields
        self.path = request.path
        self.query = request.query
        self.notes: object = None

    def body_start(self, data: bytes) -> int:
        """Where the body begins if the data is this head and one whole body, else 0."""
        first = len(self._before)
        if not data.startswith(self._before):
            return 0
        last = data.find(b"\r", first, first + MAX_LENGTH_DIGITS + 1)
        if last <= first or not data.startswith(self._after, last):
            return 0
        digits, start = data[first:last], last + len(self._after)
        return start if digits.isdigit() and int(digits) == len(data) - start else 0

    def request(self, body: bytes, received_at: float) -> Request:
        """The request that came as this head and the body. Of its fields content-length is another call's."""
        request = Request(received_at)
        request.method = b"POST"
        request.target = self.target
        request.headers = self.headers
        request.fields = self.fields
        request.path = self.path
        request.query = self.query
        request.body.append(body)
        request.body_bytes = len(body)
        request.complete = True
        request.known = self
        return request


def known_head(request: Request, data: bytes) -> KnownHead | None:
    """The head of a request that came whole and alone in the data, if it is one that can be known again."""
    fields = request.fields
    end = data.find(b"\r\n\r\n") + 4
    if (
        request.method != b"POST"
        or request.problem is not None
        or not (request.complete and request.http11 and request.keep_alive)
        or b"transfer-encoding" in fields
        or b"expect" in fields
        or not 0 < request.body_bytes == len(data) - end
    ):
        return None
    lengths = list(_CONTENT_LENGTH.finditer(data, 0, end))
    if len(lengths) != 1:
        return None
    first, last = lengths[0].span(1)
    return KnownHead(request, data[:first], data[last:end])
