"""Header fields that HTTP itself gives a meaning, and the rules for values. Names are lower case throughout."""

import re
from typing import Final

Field = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""RFC 9110 section 7.6.1, and fields that older clients send in their place."""

SINGLE: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
"""Fields that steer HTTP itself: a request with two of them is refused, it would be open which one counts."""

_MAX_IDENTIFIER_BYTES: Final = 128
_IDENTIFYING: Final = bytes(
    re.match(rb"[A-Za-z0-9._:@/+=~-]", bytes([byte])) is not None for byte in range(256)
)
"""1 for each byte that an id may have."""
_TRACEPARENT_BYTES: Final = 55
_DASHES: Final = (2, 35, 52)
"""Places of the dashes in a traceparent, between version, trace id, parent id and flags."""
_DASH: Final = ord("-")
_HEX_DIGITS: Final = bytes(byte in b"0123456789abcdef" for byte in range(256))
"""1 for each byte that is a digit of an id."""
_ZERO_TRACE = b"0" * 32
_ZERO_SPAN = b"0" * 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def identifier(value: bytes | None) -> str | None:
    """Returns the value if it can serve as an id in logs and headers: 1 to 128 characters without spaces or quotes."""
    if value is None or not 0 < len(value) <= _MAX_IDENTIFIER_BYTES:
        return None
    for place in range(len(value)):
        if not _IDENTIFYING[value[place]]:
            return None
    return value.decode("ascii")


def trace_context(value: bytes | None) -> tuple[str, str] | None:
    """Returns trace id and flags of a valid traceparent (W3C Trace Context, section 3.2), else None."""
    if value is None or len(value) != _TRACEPARENT_BYTES:
        return None
    digits = 0
    for place in range(_TRACEPARENT_BYTES):
        digits += _HEX_DIGITS[value[place]]
    if digits != _TRACEPARENT_BYTES - len(_DASHES):
        return None
    for place in _DASHES:
        if value[place] != _DASH:
            return None
    trace = value[3:35]
    if value[:2] == b"ff" or trace == _ZERO_TRACE or value[36:52] == _ZERO_SPAN:
        return None
    return trace.decode("ascii"), value[53:].decode("ascii")


def field_name(name: str) -> bytes:
    """Returns the name in lower case; raises ValueError if it is no token (RFC 9110 section 5.1)."""
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a header name")
    return name.lower().encode()


def field_value(value: str) -> bytes:
    """Returns the value without surrounding blanks; raises ValueError if it could end its line (RFC 9110 section 5.5)."""
    if _VALUE.fullmatch(value) is None:
        raise ValueError("a header value holds a control character or is not Latin-1")
    return value.strip(" \t").encode("latin-1")


def nominated(connection: bytes) -> frozenset[bytes]:
    """Returns the field names that a Connection header declares hop-by-hop."""
    return frozenset(token.strip().lower() for token in connection.split(b","))
