"""Request heads that a client repeats on one connection, so that only the first of them is parsed (ADR 7)."""

import re
from collections.abc import Iterable
from typing import Final

from relay.http.message import KnownHead, Request

MAX_MISSES: Final = 8
"""After this many misses in a row the connection stops caching request heads (each may carry a trace id)."""
MAX_LENGTH_DIGITS: Final = 10
MAX_VALUE_BYTES: Final = 128
"""A value that differs is as long at most; trace contexts have 55 bytes."""
MAX_HEAD_BYTES: Final = 2048
MAX_HEAD_FIELDS: Final = 32
"""A longer head is parsed each time: heads of the SDKs have 500 to 900 bytes, and thousands of connections may be idle."""
HEAD_COPIES: Final = 3
FIELD_BYTES: Final = 250
"""A cached head stands here as its bytes, as parsed fields, and as the head for the provider; and what a field costs."""
LENGTH: Final = b"content-length"
_ZERO: Final = 0x30
_NINE: Final = 0x39
_VALUE: Final = rb"[A-Za-z0-9._:@/+=~-]{1,128}"
_PLAIN: Final = bytes(re.match(_VALUE, bytes([byte])) is not None for byte in range(256))
"""1 for each byte that what differs may have: with any other it is the parser that decides."""


class HeadMemory:
    """What the cached heads of all connections have in common: the memory that they may take, and which fields may differ.

    Beside content-length those are the ones named in varying, in lower case. Each may stand once in a head.
    """

    __slots__ = ("_limit", "_varying_line", "used")

    def __init__(self, limit: int, varying: Iterable[bytes] = ()) -> None:
        self._limit = limit
        names = b"|".join(re.escape(name) for name in sorted({LENGTH, *varying}))
        self._varying_line = re.compile(
            rb"\r\n(" + names + rb"): ?(" + _VALUE + rb")(?=\r\n)", re.IGNORECASE
        )
        self.used = 0

    def varying_values(self, head: bytes) -> list[tuple[bytes, int, int]]:
        """Returns name, start and end of each value that may differ."""
        return [(line[1].lower(), *line.span(2)) for line in self._varying_line.finditer(head)]

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

    Clients repeat their heads: from call to call on one connection only the length of the body changes, and ids of the
    call. A read that holds the same bytes but for the values of those fields, which are plain, and exactly as much body as
    its length says, is the same request with other ids and another body, and nothing else about its head has to be parsed
    again. Any other read goes to the parser.
    """

    __slots__ = ("_head", "_memory", "_misses", "_parsed", "_size", "_values")

    def __init__(self, memory: HeadMemory) -> None:
        self._memory = memory
        self._size = 0
        self._head: KnownHead | None = None
        self._parsed: Request | None = None
        self._misses = 0
        # of the read that body_start looked at last
        self._values: list[bytes] = []

    def body_start(self, data: bytes) -> int:
        """Returns where the body begins if the data is the cached head and one whole body, else 0."""
        head = self._head
        if head is None or not data.startswith(head.beginning):
            return 0
        place = len(head.beginning)
        values = self._values = []
        body_bytes = -1
        for _, after in head.gaps:
            if len(values) == head.length_gap:
                end = _digits_end(data, place)
                body_bytes = _number(data, place, end)
            else:
                end = data.find(b"\r", place, place + MAX_VALUE_BYTES + 1)
            stop = end + len(after)
            if end <= place or data[end:stop] != after:
                return 0
            values.append(data[place:end])
            place = stop
        if body_bytes != len(data) - place:
            return 0
        return place if len(values) == 1 or _are_plain(values) else 0

    def request(self, body: bytes, received_at: float) -> Request:
        """Returns the cached head with this body as a request, after body_start found them in a read."""
        head = self._head
        assert head is not None
        self._misses = 0
        request = Request(received_at)
        request.method = b"POST"
        request.target = head.target
        # what may differ is an earlier call's in both, and its length in the fields too
        request.headers = head.headers
        request.fields = head.fields if len(head.gaps) == 1 else self._fields(head)
        self._values = []
        request.path = head.path
        request.query = head.query
        request.body = body
        request.body_bytes = request.reserved_bytes = len(body)
        request.complete = True
        request.known = head
        return request

    def _fields(self, head: KnownHead) -> dict[bytes, bytes]:
        fields = head.fields.copy()
        values = self._values
        for place, (name, _) in enumerate(head.gaps):
            fields[name] = values[place]
        return fields

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
        head = _known_head(request, data, self._memory) if request is not None else None
        if head is None or misses == MAX_MISSES:
            return
        size = HEAD_COPIES * head.size + FIELD_BYTES * len(head.headers)
        if self._memory.take(size):
            self._head, self._size = head, size

    def disable(self) -> None:
        """Stops caching on this connection."""
        self._misses = MAX_MISSES
        self.clear()

    def clear(self) -> None:
        """Forgets the cached head."""
        self._head = self._parsed = None
        self._values = []
        self._memory.give_back(self._size)
        self._size = 0


def _are_plain(values: list[bytes]) -> bool:
    """Returns whether the values have plain characters only."""
    for value in values:
        for place in range(len(value)):
            if not _PLAIN[value[place]]:
                return False
    return True


def _digits_end(data: bytes, start: int) -> int:
    """Returns the end of the digits that begin there, of at most MAX_LENGTH_DIGITS."""
    end = start
    last = min(start + MAX_LENGTH_DIGITS, len(data))
    while end < last and _ZERO <= data[end] <= _NINE:
        end += 1
    return end


def _number(data: bytes, start: int, end: int) -> int:
    """Returns the number that these digits are."""
    number = 0
    for place in range(start, end):
        number = 10 * number + data[place] - _ZERO
    return number


def _known_head(request: Request, data: bytes, memory: HeadMemory) -> KnownHead | None:
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
    values = memory.varying_values(data[:end])
    if [name for name, _, _ in values].count(LENGTH) != 1:
        return None
    return KnownHead(request, data[:end], values)
