"""Header fields with a meaning in this API. Names are lower case."""

import re
from typing import Final

STEERING: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"traceparent",
        b"x-request-id",
        b"x-tenant-id",
        b"x-request-priority",
        b"x-task-type",
        b"x-session-id",
    }
)
"""A request that repeats one of these is refused: it would be open which of the two counts."""

PER_CALL: Final = frozenset({b"traceparent", b"x-request-id", b"x-session-id"})
"""Fields of these that a client may send with another value on each call of a connection; no provider gets them as they came."""

WITHHELD_FROM_PROVIDER: Final = frozenset(
    {
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
        # where the caller runs in the cluster
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""Fields of a request that do not reach the provider, besides hop-by-hop fields."""

HIDDEN_TOOLS: Final = b"x-relay-hidden-tools"
"""Names the tools of a call that its model was not offered, because the tenant may not use them."""

WITHHELD_FROM_CLIENT: Final = frozenset(
    {
        # written anew for the client
        HIDDEN_TOOLS,
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
)
"""Fields of an answer that do not reach the client, besides hop-by-hop fields."""

_CHARSET: Final = re.compile(rb"charset([*0-9]*)[ \t]*=[ \t]*\"?([^\";, \t]*)", re.IGNORECASE)
_OF_UTF_8: Final = frozenset({b"", b"utf-8", b"utf8", b"us-ascii", b"ascii"})


JSON_TYPE: Final = b"application/json"
_FORMS: Final = (b"application/x-www-form-urlencoded", b"multipart/")


def names_form(content_type: bytes) -> bool:
    """Returns whether the field says that the body is a form; some servers then look for `&model=` in what is JSON as well.

    curl and urllib say so of whatever they send, unless told otherwise.
    """
    lower = content_type.lower()
    return any(name in lower for name in _FORMS)


def names_other_charset(content_type: bytes) -> bool:
    """Returns whether the field names a charset in which a provider could read another call than the relay does.

    JSON is UTF-8 (RFC 8259 section 8.1), and yet some servers obey the parameter: to a reader of UTF-7, `m+AG8-del` is `model`.
    """
    if b"=" not in content_type:
        return False
    return any(
        found[1] != b"" or found[2].lower() not in _OF_UTF_8
        for found in _CHARSET.finditer(content_type)
    )
