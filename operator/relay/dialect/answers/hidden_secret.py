"""Keeps the relay's own credentials from callers: some servers repeat what they were shown."""

import json
from typing import Final

LEAST_SECRET_BYTES: Final = 8
"""A shorter credential may be any word."""
HIDDEN: Final = b"[hidden]"
_ESCAPED: Final = (("<>&", r"\u%04x"), ("<>&='", r"\u%04x"), ("\"<>&'+`", r"\u%04X"))
"""Signs that the encoders of Go, Gson and .NET write by their number, for pages that JSON may stand in."""


def without_secret(secret: bytes, body: bytes) -> bytes:
    """Returns the body without the credential, as it is and in each spelling that encoders of JSON give it."""
    if len(secret) < LEAST_SECRET_BYTES:
        return body
    for spelling in _spellings(secret):
        if spelling in body:
            body = body.replace(spelling, HIDDEN)
    return body


def _spellings(secret: bytes) -> set[bytes]:
    plain = secret.decode("latin-1")
    escaped = json.dumps(plain, ensure_ascii=False)[1:-1]
    texts = {plain, escaped, escaped.replace("/", r"\/")}
    for signs, digits in _ESCAPED:
        text = escaped
        for sign in signs:
            text = text.replace(r"\"" if sign == '"' else sign, digits % ord(sign))
        texts.add(text)
    return {text.encode("latin-1") for text in texts}
