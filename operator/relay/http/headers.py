"""Field names the relay treats specially, and the rules for values that cross it. Names are lower case throughout."""

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
"""RFC 9110 section 7.6.1, and what older clients send in its place."""

REQUEST_DROPPED: Final = HOP_BY_HOP | {
    # written anew for the provider
    b"host",
    b"content-length",
    b"accept-encoding",
    b"expect",
    b"traceparent",
    b"x-request-id",
    # the caller's identity and what it says to the relay alone
    b"authorization",
    b"api-key",
    b"x-api-key",
    b"cookie",
    b"x-tenant-id",
    b"x-request-priority",
    b"x-task-type",
    b"x-session-id",
    # the provider account is the platform's, so are its organisation and project
    b"openai-organization",
    b"openai-project",
    # where the caller sits in the cluster is nobody's business outside
    b"forwarded",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
}

RESPONSE_DROPPED: Final = HOP_BY_HOP | {
    # written anew for the client
    b"content-length",
    b"x-request-id",
    b"retry-after",
    b"retry-after-ms",
    b"x-should-retry",
    b"x-ratelimit-limit-requests",
    b"x-ratelimit-remaining-requests",
    b"x-ratelimit-reset-requests",
    b"x-ratelimit-limit-tokens",
    b"x-ratelimit-remaining-tokens",
    b"x-ratelimit-reset-tokens",
    # the provider's session with the platform, not with the tenant
    b"set-cookie",
    b"alt-svc",
    b"server",
    b"strict-transport-security",
    b"openai-organization",
    b"openai-project",
}

SINGLE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"content-encoding",
        b"expect",
        b"traceparent",
        b"x-request-id",
        b"x-tenant-id",
        b"x-request-priority",
        b"x-task-type",
        b"x-session-id",
    }
)
"""Fields that steer the relay: two of them would leave it open which one counts."""

_IDENTIFIER = re.compile(rb"[A-Za-z0-9._:@/+=~-]{1,128}")
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ZERO_TRACE = b"0" * 32
_ZERO_SPAN = b"0" * 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def identifier(value: bytes | None) -> str | None:
    """The value, if it may stand in logs and headers as an id: 1 to 128 characters without spaces or quotes."""
    if value is None or _IDENTIFIER.fullmatch(value) is None:
        return None
    return value.decode()


def trace_context(value: bytes | None) -> tuple[str, str] | None:
    """Trace id and flags of a valid traceparent (W3C Trace Context, section 3.2), else None."""
    match = _TRACEPARENT.fullmatch(value) if value is not None else None
    if match is None or match[1] == b"ff" or match[2] == _ZERO_TRACE or match[3] == _ZERO_SPAN:
        return None
    return match[2].decode(), match[4].decode()


def field_name(name: str) -> bytes:
    """The name in lower case; raises ValueError when it is no token (RFC 9110 section 5.1)."""
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a header name")
    return name.lower().encode()


def field_value(value: str) -> bytes:
    """The value without surrounding blanks; raises ValueError when it could end its line (RFC 9110 section 5.5)."""
    if _VALUE.fullmatch(value) is None:
        raise ValueError("a header value holds a control character or is not Latin-1")
    return value.strip(" \t").encode("latin-1")


def nominated(connection: bytes) -> frozenset[bytes]:
    """The field names a Connection header declares hop-by-hop."""
    return frozenset(token.strip().lower() for token in connection.split(b","))
