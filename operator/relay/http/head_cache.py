"""Request heads that a client repeats on one connection, so that only the first of them is parsed (ADR 7)."""

import re
from typing import Final

from relay.http.message import KnownHead, Request

MAX_MISSES: Final = 8
"""After this many misses in a row the connection stops caching request heads (each may carry a trace id)."""
MAX_LENGTH_DIGITS: Final = 10
MAX_HEAD_BYTES: Final = 2048
MAX_HEAD_FIELDS: Final = 32
"""A longer head is parsed each time: heads of the SDKs have 500 to 900 bytes, and thousands of connections may be idle."""
HEAD_COPIES: Final = 3
FIELD_BYTES: Final = 250
"""A cached head stands here as its bytes, as parsed fields, and as the head for the provider; and what a field costs."""
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?([0-9]+)\r\n", re.IGNORECASE)


class HeadMemory:
    """The memory that the cached heads of all connections may take."""

    __slots__ = ("_limit", "used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Takes that many bytes; returns whether there were as many."""
        if self.used + size > self._limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Gives back what was taken."""
        self.used -= size


class HeadCache:
    """The last request head of one connection.

    Clients repeat their heads: from call to call on one connection only the length of the body changes. A read that
    holds the same bytes, other digits in that one place, and exactly as much body as they say, is the same request with
    another body, and nothing about its head has to be parsed again. Any other read goes to the parser.
    """

    __slots__ = ("_head", "_memory", "_misses", "_parsed", "_size")

    def __init__(self, memory: HeadMemory) -> None:
        self._memory = memory
        self._size = 0
        self._head: KnownHead | None = None
        self._parsed: Request | None = None
        self._misses = 0

    def body_start(self, data: bytes) -> int:
        """Returns where the body begins if the data is the cached head and one whole body, else 0."""
        head = self._head
        if head is None:
            return 0
        first = len(head.before)
        if not data.startswith(head.before):
            return 0
        last = data.find(b"\r", first, first + MAX_LENGTH_DIGITS + 1)
        if last <= first or not data.startswith(head.after, last):
            return 0
        digits, start = data[first:last], last + len(head.after)
        return start if digits.isdigit() and int(digits) == len(data) - start else 0

    def request(self, body: bytes, received_at: float) -> Request:
        """Returns the cached head with this body as a request, after body_start found them in a read."""
        head = self._head
        assert head is not None
        self._misses = 0
        request = Request(received_at)
        request.method = b"POST"
        request.target = head.target
        request.headers = head.headers
        # their content-length is an earlier call's
        request.fields = head.fields
        request.path = head.path
        request.query = head.query
        request.body = body
        request.body_bytes = request.reserved_bytes = len(body)
        request.complete = True
        request.known = head
        return request

    def parsed(self, request: Request) -> None:
        """Notes the last request that the parser completed."""
        if self._misses < MAX_MISSES:
            self._parsed = request

    def remember(self, data: bytes) -> None:
        """Caches the head of the last parsed request if it is all that this read brought."""
        if self._misses == MAX_MISSES:
            return
        request, misses = self._parsed, self._misses + 1
        self.clear()
        self._misses = misses
        head = _known_head(request, data) if request is not None else None
        if head is None or misses == MAX_MISSES:
            return
        size = HEAD_COPIES * (len(head.before) + len(head.after)) + FIELD_BYTES * len(head.headers)
        if self._memory.take(size):
            self._head, self._size = head, size

    def disable(self) -> None:
        """Stops caching on this connection."""
        self._misses = MAX_MISSES
        self.clear()

    def clear(self) -> None:
        """Forgets the cached head."""
        self._head = self._parsed = None
        self._memory.give_back(self._size)
        self._size = 0


def _known_head(request: Request, data: bytes) -> KnownHead | None:
    """Returns the head of a request that came whole and alone in the data, if it can be recognised again."""
    fields = request.fields
    end = data.find(b"\r\n\r\n") + 4
    if (
        end > MAX_HEAD_BYTES
        or len(request.headers) > MAX_HEAD_FIELDS
        or request.method != b"POST"
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
