"""Finds what a document says of the model and the tier that answered, without decoding it.

Within a string the quotes would be escaped, so a name that is found is a field's. Providers put the model in front of the
answer and the tier behind it.
"""

import re
from typing import Final

import orjson

_SEARCHED_BYTES: Final = 4096
_MODEL: Final = re.compile(
    rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]++|\\.){1,512}+")', re.DOTALL
)
_TIER: Final = re.compile(
    rb'"service_tier"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]++|\\.){1,64}+")', re.DOTALL
)


def model_in(beginning: bytes) -> str | None:
    """Returns the first model that a document names in its first bytes."""
    text = _plain_text(beginning, b'"model"', 0, _SEARCHED_BYTES)
    return text or _text(_MODEL.search(beginning, 0, _SEARCHED_BYTES))


def service_tier_in(end: bytes) -> str | None:
    """Returns the tier that a document names in its last bytes."""
    if b"_tier" not in end:
        return None
    start = max(0, len(end) - _SEARCHED_BYTES)
    text = _plain_text(end, b'"service_tier"', start, len(end))
    return text or _text(_TIER.search(end, start))


def _plain_text(document: bytes, name: bytes, start: int, end: int) -> str | None:
    """Returns the text without escapes that nearly every answer has behind the first of these names; None for the rest.

    Every call pays for it, and it takes a fraction of what the expressions above do.
    """
    place = document.find(name, start, end)
    if place < 0:
        return None
    colon = place + len(name)
    if document.startswith(b':"', colon):
        first = colon + 2
    elif document.startswith(b': "', colon):
        first = colon + 3
    else:
        return None
    last = document.find(b'"', first, end)
    text = document[first:last]
    if last < 0 or b"\\" in text or not text.isascii():
        return None
    found = text.decode()
    return found if found.isprintable() else None


def _text(match: re.Match[bytes] | None) -> str | None:
    if match is None:
        return None
    try:
        value = orjson.loads(match[1])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, str) and value else None
