"""Writes the records of an attempt into a segment, as _record_writing.c does where that is built.

segment is memory that can be written, offset where the record goes, and end where the room for it ends: a record that does not fit is
not written. names is the number of the attempt's names. Both return the body of the record, written or not, and raise ValueError for a
number that the record has no room for.
"""

import struct
from typing import Any, Final

from relay.outbox.record_format import (
    CLOSED,
    CLOSING,
    MAX_TEXT_BYTES,
    OPENED,
    OPENING,
    record_bytes,
    sealed,
)

_COUNTS: Final = 5
_UNITS: Final = 13
_TEXTS: Final = 15
"""Places of a closing's numbers and texts: of the tokens by bucket, of what is billed by the piece, and of the texts."""


def write_opened(
    segment: Any,
    offset: int,
    end: int,
    names: int,
    dispatched_at: int,
    attempt: int,
    stream: bool,
    call_id: str,
    request_id: str,
    /,
) -> bytes:
    """Writes that an attempt is about to be sent; dispatched_at in microseconds since 1970."""
    name = request_id.encode()[:MAX_TEXT_BYTES]
    body = _packed(OPENING, dispatched_at, attempt, stream, len(name), call_id.encode()) + name
    _write(segment, offset, end, OPENED, names, body)
    return body


def write_closed(
    segment: Any, offset: int, end: int, names: int, opening: bytes, /, *ended: Any
) -> bytes:
    """Writes how an attempt ended: opening is what write_opened returned, ended are the numbers and texts in the order in which they
    stand in the record, with the lengths of the texts left out."""
    texts = [_text(one) for one in ended[_TEXTS:]]
    lengths = map(len, texts)
    # between tokens and units there is room for another bucket
    numbers = (*ended[:_COUNTS], *lengths, *ended[_COUNTS:_UNITS], 0, *ended[_UNITS:_TEXTS])
    body = opening + _packed(CLOSING, *numbers) + b"".join(texts)
    _write(segment, offset, end, CLOSED, names, body)
    return body


def _packed(layout: struct.Struct, *values: Any) -> bytes:
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ValueError(f"not in a record: {error}") from error


def _text(value: str | bytes | None) -> bytes:
    # a provider may write half of a surrogate pair
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value or b""
    return data[:MAX_TEXT_BYTES]


def _write(segment: Any, offset: int, end: int, kind: int, names: int, body: bytes) -> None:
    if end > len(segment):
        raise ValueError("the end is not inside the segment")
    if offset + record_bytes(len(body)) <= end:
        record = sealed(kind, names, body)
        segment[offset : offset + len(record)] = record
