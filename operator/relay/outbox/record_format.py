"""The records in a segment: a header with length and checksum, then the body, each at a multiple of eight bytes.

names    JSON of what attempts of one kind have in common; the other records of the segment refer to it by number.
opened   dispatch time, number of the attempt, call, caller's request id; then the most that the attempt is expected to use.
closed   the same bytes without what was expected, then how it ended: complete in itself but for the names.

Tool calls have segments of their own, of two records without names: opened and ended, each of the time of the call, the id of its record
and its line, which is ready to be delivered.

A record counts if its checksum is right. One that a killed process left half written is none, and neither is what a disk made of
it; whoever reads goes on at the next mark. All numbers are little-endian.
"""

import struct
import zlib
from typing import Final

from relay_contract.billing.attempt_event import AttemptOutcome, Doubt, UsageSource

MAGIC: Final = b"RLYOUT01"
"""Begins every segment; another format has another."""
FIRST_OFFSET: Final = len(MAGIC)
MARK: Final = b"\xa5\x5aR"
MARK_OFFSET: Final = 13
HEADER: Final = struct.Struct("<IIIB3s")
"""Bytes of the body, its checksum, number of its names, kind, mark."""
HEADER_BYTES: Final = 16

NAMES: Final = 1
OPENED: Final = 2
CLOSED: Final = 3
TOOL_CALL_OPENED: Final = 4
TOOL_CALL_ENDED: Final = 5
NO_NAMES: Final = 0
"""The number of the names of a record that needs none."""

OPENING: Final = struct.Struct("<QH?B32s")
"""Dispatch in microseconds since 1970, number of the attempt, whether it is a stream, bytes of the request id, id of the call."""
OPENING_BYTES: Final = 44
EXPECTED: Final = struct.Struct("<II")
"""Tokens of input and of output; a record opened of a former version ends without them."""
CALL_ID_DIGITS: Final = 32
CLOSING: Final = struct.Struct("<QHBBBBBBB9IHH")
"""Microseconds that it took, status, outcome, source, doubt, then bytes of four texts; buckets, units. Flags stand with the doubt. The buckets of
an attempt of unknown use are the most that was expected of it.
"""
CLOSING_BYTES: Final = 57
ABANDONED: Final = 32
DELIVERED: Final = 64
CACHE_REPORTED: Final = 128
_DOUBT_BITS: Final = 31
MAX_TEXT_BYTES: Final = 255
_TEXTS: Final = 5

OUTCOMES: Final[tuple[AttemptOutcome, ...]] = (
    "ok",
    "client_error",
    "throttled",
    "failed",
    "unreachable",
    "timeout",
    "truncated",
    "invalid",
    "cancelled",
    "no_key",
)
SOURCES: Final[tuple[UsageSource, ...]] = ("provider", "partial", "estimated", "none", "unknown")
DOUBTS: Final[tuple[Doubt | None, ...]] = (
    None,
    "negative",
    "total",
    "parts",
    "range",
    "shape",
    "models",
)
# looked up once, since each record needs them
_crc32: Final = zlib.crc32
_pack_header: Final = HEADER.pack
_unpack_header: Final = HEADER.unpack_from


def record_bytes(body_bytes: int) -> int:
    """Returns what a record with such a body takes in a segment."""
    return (HEADER_BYTES + body_bytes + 7) & ~7


MAX_RECORD_BYTES: Final = record_bytes(OPENING_BYTES + CLOSING_BYTES + _TEXTS * MAX_TEXT_BYTES)
"""Of an attempt's record, all texts at their longest."""


def sealed(kind: int, names: int, body: bytes) -> bytes:
    """Puts the header in front of a body."""
    return _pack_header(len(body), _crc32(body, names * 4 + kind), names, kind, MARK) + body


class Found:
    """A record that was read. names is the number of its names."""

    __slots__ = ("body", "kind", "names")

    def __init__(self, kind: int, names: int, body: bytes) -> None:
        self.kind = kind
        self.names = names
        self.body = body


def record_at(data: bytes, offset: int) -> Found | None:
    """Returns the record that begins there, None if none does, or not a whole one."""
    start = offset + HEADER_BYTES
    if start > len(data):
        return None
    length, checksum, names, kind, mark = _unpack_header(data, offset)
    end = start + length
    if mark != MARK or end > len(data):
        return None
    body = data[start:end]
    if _crc32(body, (names * 4 + kind) & 0xFFFFFFFF) != checksum:
        return None
    return Found(kind, names, body)


def dispatched_at(found: Found) -> int:
    """Returns when the attempt or tool call of a record was sent, in microseconds since 1970."""
    return int.from_bytes(found.body[:8], "little")


def doubt_of(flags: int) -> Doubt | None:
    """Returns the doubt that stands in the flags of a closed record."""
    return DOUBTS[flags & _DOUBT_BITS]


_TIME_BYTES: Final = 8
_CALL_BYTES: Final = 32


def tool_call_body(call: str, called_at: int, line: bytes) -> bytes:
    """Returns the body of a tool call's record; call is the id of the record in the ledger, of 32 digits."""
    return called_at.to_bytes(_TIME_BYTES, "little") + call.encode("ascii") + line


def tool_call_of(found: Found) -> tuple[bytes, bytes]:
    """Returns the id of a tool call, and its line."""
    line_start = _TIME_BYTES + _CALL_BYTES
    return found.body[_TIME_BYTES:line_start], found.body[line_start:]
