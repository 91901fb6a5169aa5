"""Single values of a JSON text that is known to be valid, read where they stand, at a cost with a bound."""

from typing import Final

from relay.dialect.body_fields import Span

_MAX_DIGITS: Final = 20
_MAX_INTEGER: Final = 2**64 - 1
_ZERO: Final = 0x30


def is_true(raw: bytes, span: Span | None) -> bool:
    """Returns whether the value there is `true`."""
    return span is not None and _is_word(raw, span, b"true")


def is_false(raw: bytes, span: Span) -> bool:
    """Returns whether the value there is `false`."""
    return _is_word(raw, span, b"false")


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
    if not 0 < end - start <= _MAX_DIGITS:
        return None
    number = 0
    for place in range(start, end):
        digit = raw[place] - _ZERO
        if not 0 <= digit <= 9:
            return None
        number = 10 * number + digit
    return number if number <= _MAX_INTEGER else None
