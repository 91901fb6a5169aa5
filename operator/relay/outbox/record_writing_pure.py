"""Writes the records of an attempt into a segment, as _record_writing.c does where that is built.

Raises ValueError for a number that the record has no room for.
"""

import struct
import time
from typing import Any, Final

from relay.dialect.usage.billed_usage import PACKED, labels_of
from relay.outbox.record_format import (
    CACHE_REPORTED,
    CLOSED,
    CLOSING,
    DELIVERED,
    EXPECTED,
    MAX_TEXT_BYTES,
    OPENED,
    OPENING,
    OUTCOMES,
    SOURCES,
    record_bytes,
    sealed,
)

_NUMBERS: Final = 4
"""Of a closing, in front of its flags, counts and texts."""
_OK: Final = OUTCOMES.index("ok")
_BY_PROVIDER: Final = SOURCES.index("provider")
_MOST_SECONDS: Final = 9e12
"""Of an attempt: its microseconds fit in 63 bits."""


class Place:
    """Keeps where the next record of a segment goes.

    segment is memory that can be written; the room for closings ends at `end`, that for openings at openings_end. A record that
    does not fit is not written. names is the number of the attempt's names.
    """

    def __init__(self, segment: Any, offset: int, end: int, /) -> None:
        if end > len(segment):
            raise ValueError("the end is not inside the segment")
        self._segment: Any = segment
        self._end = self.openings_end = end
        self.offset = offset

    def write_opened(self, names: int, /, *opened: Any) -> bytes | None:
        """Writes that an attempt is about to be sent (_opened_body); returns what its closing begins with, None where it does not fit."""
        opening, expected = _opened_body(*opened)
        end = min(self._end, self.openings_end)
        return opening if self._write(end, OPENED, names, opening + expected) else None

    def write_closed(self, names: int, /, *closed: Any) -> bool:
        """Writes how an attempt ended (_closed_body); returns whether it fits."""
        return self._write(self._end, CLOSED, names, _closed_body(*closed))

    def write_reported(self, names: int, /, *reported: Any) -> bool:
        """Writes that an attempt ended well and reported all (_reported_body); returns whether it fits."""
        return self._write(self._end, CLOSED, names, _reported_body(*reported))

    def release(self) -> None:
        """Lets go of the segment: nothing fits any more."""
        self._segment = None
        self._end = 0

    def _write(self, end: int, kind: int, names: int, body: bytes) -> bool:
        following = self.offset + record_bytes(len(body))
        if following > end:
            return False
        record = sealed(kind, names, body)
        self._segment[self.offset : self.offset + len(record)] = record
        self.offset = following
        return True


def _opened_body(
    dispatched_at: int | None,
    attempt: int,
    stream: bool,
    call_id: str,
    request_id: str,
    expected_input: int,
    expected_output: int,
    /,
) -> tuple[bytes, bytes]:
    """Returns the body of the record opened in two parts: what both records have in common, and the tokens that are expected.

    dispatched_at is in microseconds since 1970, None for now.
    """
    if dispatched_at is None:
        dispatched_at = time.time_ns() // 1000
    name = request_id.encode()[:MAX_TEXT_BYTES]
    opening = _packed(OPENING, dispatched_at, attempt, stream, len(name), call_id.encode())
    return opening + name, _packed(EXPECTED, expected_input, expected_output)


def _closed_body(opening: bytes, /, *ended: Any) -> bytes:
    """Returns the body of the record closed: opening is what write_opened returned, ended are the numbers, counts (BilledUsage.packed, or a
    report, whose labels stand for the first texts) and texts in the order in which they stand in the record, with the lengths of the texts left out."""
    flags, counts = ended[_NUMBERS : _NUMBERS + 2]
    labels = labels_of(counts) or ()
    *counted, cache_reported = PACKED.unpack(counts[: PACKED.size])
    if cache_reported:
        flags |= CACHE_REPORTED
    texts = [_text(one) for one in (*labels, *ended[_NUMBERS + 2 + len(labels) :])]
    closing = _packed(CLOSING, *ended[:_NUMBERS], flags, *map(len, texts), *counted)
    return opening + closing + b"".join(texts)


def _reported_body(
    opening: bytes,
    seconds: float,
    status: int,
    delivered: bool,
    report: bytes,
    upstream_request_id: str | bytes | None,
    /,
) -> bytes:
    """Returns the body of the record closed: seconds are those that the attempt took, report is what its answer said (labels_of)."""
    if not 0 <= seconds < _MOST_SECONDS:
        raise ValueError(f"{seconds} are not the seconds of an attempt")
    if labels_of(report) is None:
        raise ValueError("counts alone are no report")
    numbers = (int(seconds * 1_000_000), status, _OK, _BY_PROVIDER)
    flags = DELIVERED if delivered else 0
    return _closed_body(opening, *numbers, flags, report, None, None, None, upstream_request_id)


def _packed(layout: struct.Struct, *values: Any) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"not in a record: {error}") from error


def _text(value: str | bytes | None) -> bytes:
    # a provider may write half of a surrogate pair
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value or b""
    return data[:MAX_TEXT_BYTES]
