"""The identity of a conversation in the calls of the OpenAI API."""

import json
from typing import Any, Final

import orjson
import xxhash

from relay.dialect import body_fields
from relay.dialect.body_fields import Span
from relay.dialect.body_scan import text_at
from relay.dialect.json_values import is_null
from relay.dialect.request_body import CallBody

TEXT_CHARACTERS: Final = 4096
"""Part of each of the first messages that is decoded; what is longer is told apart by a digest of its bytes."""
DECODED_BYTES: Final = 16 * 1024
"""Contents that are no strings are compared decoded up to this size in all, and by a digest of their bytes beyond it."""


def session_key(body: CallBody, header: bytes | None) -> bytes | None:
    """Returns the key of the conversation that a call's body belongs to; None where nothing tells one from another.

    That is the header X-Session-ID, else the opening: system and first user message, or instructions and first input. A
    prompt_cache_key is mixed in, and alone is no key: a whole application may have one (OpenAI, prompt caching guide).
    """
    if header:
        return b"h" + header
    opening = _opening(body)
    if opening is None:
        return None
    cache_key = text_at(body.raw, body.spans[body_fields.PROMPT_CACHE_KEY], TEXT_CHARACTERS)
    if cache_key is None or not cache_key[0]:
        return opening
    return b"k" + cache_key[0] + b"\0" + opening


def _opening(body: CallBody) -> bytes | None:
    raw, spans = body.raw, body.spans
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
    if first is None or _is_nothing(raw, first):
        return None
    return b"i" + _texts(raw, [spans[body_fields.INSTRUCTIONS] or (0, 0), first])


def _is_nothing(raw: bytes, span: Span | None) -> bool:
    return span is None or span[0] == span[1] or is_null(raw, span)


def _texts(raw: bytes, spans: list[Span]) -> bytes:
    structures = sum([end - start for start, end in spans if raw[start] != ord('"')])
    decode = structures <= DECODED_BYTES
    return b"\0".join([_text(raw, span, decode=decode) for span in spans])


def _text(raw: bytes, span: Span, *, decode: bool) -> bytes:
    """Returns the value as bytes that do not depend on its spelling, unless it is long."""
    string = text_at(raw, span, TEXT_CHARACTERS)
    if string is not None:
        start, characters = string
        return start if characters < TEXT_CHARACTERS else start + _digest(raw, span)
    if _is_nothing(raw, span):
        return b"None"
    if not decode:
        return _digest(raw, span)
    text = repr(_structure(raw[span[0] : span[1]]))
    whole = len(text) <= TEXT_CHARACTERS
    start = text[:TEXT_CHARACTERS].encode()
    return start if whole else start + _digest(raw, span)


def _digest(raw: bytes, span: Span) -> bytes:
    """Returns a digest of the whole value: long ones of one application often begin alike."""
    return xxhash.xxh3_64_digest(memoryview(raw)[span[0] : span[1]])


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
