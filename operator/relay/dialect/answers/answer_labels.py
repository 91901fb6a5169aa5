"""Finds what a document says of the model and the tier that answered, without decoding it.

Where nobody has seen where they stand: within a string the quotes would be escaped, so a name that is found is a field's. Providers put the model in front of the
answer and the tier behind it.
"""

import re
from typing import Final

import orjson

_SEARCHED_BYTES: Final = 4096
_LONGEST_BYTES: Final = 4096
_QUOTE: Final = 0x22
_ESCAPE: Final = 0x5C
_MODEL: Final = re.compile(
    rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]++|\\.){1,512}+")', re.DOTALL
)
_TIER: Final = re.compile(
    rb'"service_tier"[ \t\r\n]*+:[ \t\r\n]*+("(?:[^"\\]++|\\.){1,64}+")', re.DOTALL
)


def model_in(beginning: bytes) -> str | None:
    """Returns the first model that a document names in its first bytes."""
    return _text(_MODEL.search(beginning, 0, _SEARCHED_BYTES))


def service_tier_in(end: bytes) -> str | None:
    """Returns the tier that a document names in its last bytes."""
    start = max(0, len(end) - _SEARCHED_BYTES)
    return _text(_TIER.search(end, start)) if end.find(b"_tier", start) >= 0 else None


def word_at(document: bytes, start: int, end: int) -> str | bytes | None:
    """Returns the string that is spelled there in a valid document, in UTF-8 where it needs no decoding; None for another value,
    an empty string and one that is no name by its length."""
    if not 0 < end - start <= _LONGEST_BYTES:
        return None
    if document[start] == _QUOTE:
        spelled = document[start + 1 : end - 1]
        # a number: to look for bytes, Python 3.11 raises and drops an exception first
        if _ESCAPE not in spelled:
            return spelled or None
    return _word(document[start:end])


def _text(match: re.Match[bytes] | None) -> str | None:
    return None if match is None else _word(match[1])


def _word(spelled: bytes) -> str | None:
    try:
        value = orjson.loads(spelled)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, str) and value else None
