"""Reads the texts of a valid request body in Python, for a relay without the compiled functions: the same results, slower."""

import json
import re
from typing import Final

from relay.dialect.body_fields import PlainAnswer, Reports, Span

_QUOTE: Final = ord('"')
_MAX_ENCODED_BYTES: Final = 12
"""A character outside the basic plane, escaped: two surrogates of six bytes."""
_WHOLE_ESCAPES = re.compile(rb"(?:[^\\]++|\\[^u]|\\u[0-9a-fA-F]{4}|(?!))*+")
"""The last alternative never matches; relay.dialect.body_scan_pure says what it is for."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/=_-]{48}")


def string_at(raw: bytes, span: Span | None, most_characters: int) -> str | None:
    """Returns the string there, of a long one the first characters; None for another value.

    It may hold lone surrogates, which JSON allows (RFC 8259 section 8.2) and UTF-8 does not: only
    `encode("utf-8", "surrogatepass")` encodes every result.
    """
    if span is None or span[0] == span[1] or raw[span[0]] != _QUOTE:
        return None
    start = span[0] + 1
    end = span[1] - 1
    stop = min(end, start + most_characters)
    text = raw[start:stop]
    if text.isascii() and b"\\" not in text:
        return text.decode("ascii")
    stop = min(end, start + _MAX_ENCODED_BYTES * (most_characters + 1))
    text = raw[start:stop]
    if stop < end:
        text = _whole_escapes(text)
    decoded: str = json.loads('"' + text.decode("utf-8", "ignore") + '"')
    return decoded[:most_characters]


def text_at(raw: bytes, span: Span | None, most_characters: int) -> tuple[bytes, int] | None:
    """Returns the same in UTF-8, and the number of its characters."""
    text = string_at(raw, span, most_characters)
    return None if text is None else (text.encode("utf-8", "surrogatepass"), len(text))


def base64_at(raw: bytes, place: int, stride: int) -> int:
    """Returns the first of the places `place`, `place + stride`, ... where 48 characters of base64 stand; -1 without one."""
    for sample in range(place, len(raw), stride):
        if _BASE64.match(raw, sample) is not None:
            return sample
    return -1


def reports_in_answer(raw: bytes, items: bytes, member: bytes) -> Reports | None:
    """Returns None, so that every answer is decoded: nothing that Python could do here would take less time."""
    return None


def plain_answer(raw: bytes) -> PlainAnswer | None:
    """Returns None in the same way."""
    return None


def _whole_escapes(text: bytes) -> bytes:
    """Returns the text without an escape that its end cuts through; a character cut through is left out by decoding."""
    whole = _WHOLE_ESCAPES.match(text)
    assert whole is not None
    return whole[0]
