"""The identity of a conversation in the calls of the OpenAI API."""

import json
from typing import Any, Final

import orjson

from relay.dialect import body_fields
from relay.dialect.body_fields import Span
from relay.dialect.json_values import is_null, string_at
from relay.dialect.request_body import CallBody

TEXT_CHARACTERS: Final = 4096
"""Part of each of the first messages that is hashed; hashing a 100 KB prompt would cost more than the call."""
DECODED_BYTES: Final = 16 * 1024
"""Contents that are no strings are compared decoded up to this size in all, and by their first bytes beyond it."""


def session_key(body: CallBody, header: bytes | None) -> bytes | None:
    """Returns the key of the conversation that a call's body belongs to.

    That is prompt_cache_key, else the header X-Session-ID, else the system and the first user message; None when there
    is none of them.
    """
    raw, spans = body.raw, body.spans
    cache_key = string_at(raw, spans[body_fields.PROMPT_CACHE_KEY], TEXT_CHARACTERS)
    if cache_key:
        return b"k" + cache_key.encode("utf-8", "surrogatepass")
    if header:
        return b"h" + header
    messages = spans[body_fields.MESSAGES]
    if messages is None or raw[messages[0]] != ord("["):
        return _first_input(body)
    openings = [span for span in spans[body_fields.FIRST_OPENING :] if span is not None]
    return b"m" + _texts(raw, openings) if openings else None


def _first_input(body: CallBody) -> bytes | None:
    """Returns instructions and the first item of the input, for /v1/responses and /v1/completions."""
    raw, spans = body.raw, body.spans
    first = spans[body_fields.INPUT]
    if first is None:
        first = spans[body_fields.PROMPT]
    instructions = spans[body_fields.INSTRUCTIONS]
    if _is_nothing(raw, first) and _is_nothing(raw, instructions):
        return None
    return b"i" + _texts(raw, [instructions or (0, 0), first or (0, 0)])


def _is_nothing(raw: bytes, span: Span | None) -> bool:
    return span is None or span[0] == span[1] or is_null(raw, span)


def _texts(raw: bytes, spans: list[Span]) -> bytes:
    structures = sum([end - start for start, end in spans if raw[start] != ord('"')])
    decode = structures <= DECODED_BYTES
    return b"\0".join([_text(raw, span, decode=decode) for span in spans])


def _text(raw: bytes, span: Span, *, decode: bool) -> bytes:
    text = string_at(raw, span, TEXT_CHARACTERS)
    if text is not None:
        return text.encode("utf-8", "surrogatepass")
    if _is_nothing(raw, span):
        return b"None"
    start, end = span
    if not decode:
        stop = min(end, start + TEXT_CHARACTERS)
        return raw[start:stop]
    return repr(_structure(raw[start:end]))[:TEXT_CHARACTERS].encode()


def _structure(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _structure_with_lone_surrogates(text)


def _structure_with_lone_surrogates(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # an integer with thousands of digits beside them
        return text
