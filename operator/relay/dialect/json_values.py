"""Single values of a JSON text that is known to be valid, decoded from where they stand, at a cost with a bound."""

import json
import re
from typing import Final

from relay.dialect.body_fields import Span

_QUOTE: Final = ord('"')
_MAX_ENCODED_BYTES: Final = 12
"""A character outside the basic plane, escaped: two surrogates of six bytes."""
_MAX_DIGITS: Final = 20
_MAX_INTEGER: Final = 2**64 - 1
_WHOLE_ESCAPES = re.compile(rb"(?:[^\\]++|\\[^u]|\\u[0-9a-fA-F]{4})*+")


def is_true(raw: bytes, span: Span | None) -> bool:
    """Returns whether the value there is `true`."""
    return span is not None and _is_word(raw, span, b"true")


def is_null(raw: bytes, span: Span) -> bool:
    """Returns whether the value there is `null`."""
    return _is_word(raw, span, b"null")


def _is_word(raw: bytes, span: Span, word: bytes) -> bool:
    start, end = span
    return end - start == len(word) and raw.startswith(word, start)


def integer_at(raw: bytes, span: Span | None) -> int | None:
    """Returns the value there if it is an integer from 0 to 2**64 - 1, written without fraction and exponent."""
    if span is None:
        return None
    start, end = span
    if end - start > _MAX_DIGITS:
        return None
    digits = raw[start:end]
    if not digits.isdigit():
        return None
    number = int(digits)
    return number if number <= _MAX_INTEGER else None


def string_at(raw: bytes, span: Span | None, max_characters: int) -> str | None:
    """Returns the string there, of a long one the first characters; None for another value.

    It may hold lone surrogates, which JSON allows (RFC 8259 section 8.2) and UTF-8 does not: only
    `encode("utf-8", "surrogatepass")` encodes every result.
    """
    if span is None or span[0] == span[1] or raw[span[0]] != _QUOTE:
        return None
    start = span[0] + 1
    end = span[1] - 1
    stop = min(end, start + max_characters)
    text = raw[start:stop]
    if text.isascii() and b"\\" not in text:
        return text.decode("ascii")
    stop = min(end, start + _MAX_ENCODED_BYTES * (max_characters + 1))
    text = raw[start:stop]
    if stop < end:
        text = _whole_escapes(text)
    decoded: str = json.loads('"' + text.decode("utf-8", "ignore") + '"')
    return decoded[:max_characters]


def _whole_escapes(text: bytes) -> bytes:
    """Returns the text without an escape that its end cuts through; a character cut through is left out by decoding."""
    whole = _WHOLE_ESCAPES.match(text)
    assert whole is not None
    return whole[0]
