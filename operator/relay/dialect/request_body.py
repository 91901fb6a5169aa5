"""A call's body: reads what the relay needs and makes two edits, spliced so that every other byte stays the same."""

import json
import re
from typing import Any, Final

import orjson

from relay.dialect.refusals import Refusal

MAX_SECOND_LOOK_BYTES: Final = 1024 * 1024
FORCED_USAGE: Final = b'"stream_options":{"include_usage":true},'
_MODEL_KEY_END: Final = b'odel"'
_MODEL_FIELD = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")')
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE_CHARACTER = re.compile(r"[\ud800-\udfff]")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]')

Span = tuple[int, int]


class CallBody:
    """A parsed body. document is the decoded JSON, raw its bytes, model_span the position of the model's value."""

    __slots__ = ("document", "model", "model_span", "raw", "stream", "wants_usage")

    def __init__(self, raw: bytes, document: dict[str, Any], model: str, model_span: Span) -> None:
        self.raw = raw
        self.model_span = model_span
        self.document = document
        self.model = model
        self.stream = document.get("stream") is True
        options = document.get("stream_options")
        self.wants_usage = isinstance(options, dict) and options.get("include_usage") is True

    def output_tokens_asked(self) -> int | None:
        """Returns the caller's own bound on the answer, over all choices; None if it sets none."""
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
            bound = self.document.get(name)
            if isinstance(bound, int) and bound > 0:
                choices = self.document.get("n")
                return bound * choices if isinstance(choices, int) and choices > 1 else bound
        return None


def read_body(raw: bytes) -> CallBody | Refusal:
    """Returns the parsed body, or the refusal if it cannot be used."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        document = _with_lone_surrogates(raw)
    if type(document) is not dict:
        return Refusal.invalid_json
    model = document.get("model")
    if type(model) is not str or not model:
        return Refusal.missing_model
    if not model.isascii() and _SURROGATE_CHARACTER.search(model) is not None:
        return Refusal.invalid_model  # a lone surrogate, which no answer could name
    span = _model_span(raw, model)
    if span is None:
        return Refusal.ambiguous_model
    return CallBody(raw, document, model, span)


def _with_lone_surrogates(raw: bytes) -> object:
    """Decodes JSON with lone surrogates, as JavaScript writes a truncated emoji; None if it is no JSON.

    RFC 8259 section 8.2 allows them, orjson does not. The standard library is slow: only small bodies are decoded with it.
    """
    if len(raw) > MAX_SECOND_LOOK_BYTES or _SURROGATE.search(raw) is None:
        return None
    try:
        document: object = json.loads(raw)
    except ValueError:
        return None
    return document


def upstream_body(
    body: CallBody, *, model: str, model_json: bytes, force_usage: bool
) -> list[bytes | memoryview]:
    """Returns the body for the provider, in pieces, with another model and with usage reports if force_usage is set.

    model_json is the model as JSON. Every other byte stays the same.
    """
    raw = body.raw
    edits: list[tuple[Span, bytes]] = []
    if model != body.model:
        edits.append((body.model_span, model_json))
    if force_usage:
        edits.append(_usage_edit(body))
    if not edits:
        return [raw]
    if len(edits) > 1:
        edits.sort()
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    start = 0
    for (first, last), replacement in edits:
        pieces += (view[start:first], replacement)
        start = last
    pieces.append(view[start:])
    return pieces


def _usage_edit(body: CallBody) -> tuple[Span, bytes]:
    if "stream_options" not in body.document:
        start = body.raw.index(b"{") + 1
        return (start, start), FORCED_USAGE
    options = body.document["stream_options"]
    kept = options if isinstance(options, dict) else {}
    # the last of several counts, as it did when the body was decoded
    span = top_level_values(body.raw, "stream_options")[-1]
    return span, orjson.dumps({**kept, "include_usage": True})


def _model_span(raw: bytes, model: str) -> Span | None:
    """Returns the position of the model's value in a body that has one; None if the key occurs more than once.

    Providers differ in which of two equal keys counts, so a body that names two models is not accepted for either.
    Within JSON strings quotes are escaped, so the seven bytes `"model"` are a whole string wherever they occur. If they
    occur once, and no key is spelled with escaped letters, they are the key that was decoded. `model` is its value.
    """
    # most bodies hold no escape at all: searching one byte is enough to know
    escaped = b"\\" in raw and b"\\u00" in raw and _ESCAPED_LETTER.search(raw) is not None
    # CPython searches up to five bytes four times as fast; other keys with this ending only cost the slower search
    end = raw.find(_MODEL_KEY_END) + len(_MODEL_KEY_END)
    if not escaped and raw.find(_MODEL_KEY_END, end) < 0:
        compact = f'"model":"{model}"'.encode()
        if raw.startswith(compact, end - 7):
            return end + 1, end - 7 + len(compact)
        field = _MODEL_FIELD.match(raw, end - 7)
        if field is not None:
            return field.span(1)
    spans = top_level_values(raw, "model")
    return spans[0] if len(spans) == 1 else None


def top_level_values(raw: bytes, key: str) -> list[Span]:
    """Returns the positions of this key's values in the outermost object of valid JSON, however the key is spelled."""
    spans: list[Span] = []
    depth = 0
    string: Span = (0, 0)
    value_start: int | None = None
    for token in _TOKEN.finditer(raw):
        kind = token[0][:1]
        if kind == b'"':
            string = token.span()
        elif kind in b"{[":
            depth += 1
        elif kind == b":":
            if depth == 1 and json.loads(raw[string[0] : string[1]]) == key:
                value_start = token.end()
        else:
            depth -= kind != b","
            if value_start is not None and depth == (kind == b","):
                spans.append(_trimmed(raw, value_start, token.start()))
                value_start = None
    return spans


def _trimmed(raw: bytes, start: int, end: int) -> Span:
    """Returns the span without the blanks around it."""
    text = raw[start:end]
    return start + len(text) - len(text.lstrip(b" \t\r\n")), start + len(text.rstrip(b" \t\r\n"))
