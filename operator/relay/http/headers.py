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

_IDENTIFIER = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ZERO_TRACE = b"0" * 32
_ZERO_SPAN = b"0" * 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def identifier(value: bytes | None) -> str | None:
    """Returns the value if it can serve as an id in logs and headers: 1 to 128 characters without spaces or quotes."""
    if value is None or _IDENTIFIER.fullmatch(value) is None:
        return None
    return value.decode()


def trace_context(value: bytes | None) -> tuple[str, str] | None:
    """Returns trace id and flags of a valid traceparent (W3C Trace Context, section 3.2), else None."""
    match = _TRACEPARENT.fullmatch(value) if value is not None else None
    if match is None or match[1] == b"ff" or match[2] == _ZERO_TRACE or match[3] == _ZERO_SPAN:
        return None
    return match[2].decode(), match[4].decode()


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
