"""A call's body: what the relay reads of it, and the two edits it makes, spliced so that every other byte stays."""

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
    """A parsed body. document is the decoded JSON, raw the bytes it came as, model_span where the model's value stands."""

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
        """The caller's own bound on the answer, over all choices; None when it sets none."""
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
            bound = self.document.get(name)
            if isinstance(bound, int) and bound > 0:
                choices = self.document.get("n")
                return bound * choices if isinstance(choices, int) and choices > 1 else bound
        return None


def read_body(raw: bytes) -> CallBody | Refusal:
    """The body, or why it cannot be used."""
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
    """Half a surrogate pair, as JavaScript writes a cut emoji, is JSON (RFC 8259 section 8.2), if not for orjson.

    None for what is no JSON at all. The standard library is slow, so that only small bodies get this second look.
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
    """The body for the provider, in pieces: it names `model`, and a stream reports its usage if force_usage is set.

    model_json is the model as JSON. Every other byte stays as it came.
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
    # of several the last counts, as it did when the body was decoded
    span = top_level_values(body.raw, "stream_options")[-1]
    return span, orjson.dumps({**kept, "include_usage": True})


def _model_span(raw: bytes, model: str) -> Span | None:
    """Where the model's value stands in a body that has one; None when it is named more than once.

    Providers differ in which of two equal keys counts, so a body that names two models must not pass for either.
    Within JSON strings quotes are escaped, so the seven bytes `"model"` are a whole string wherever they stand. If they
    stand once, and no key is spelled with escaped letters, they are the key that was decoded. `model` is its value.
    """
    # most bodies hold no escape at all, which one look for a single byte tells
    escaped = b"\\" in raw and b"\\u00" in raw and _ESCAPED_LETTER.search(raw) is not None
    # up to five bytes CPython searches four times as fast; what else ends like the key only costs the closer look
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
    """Where the values of this key stand in the outermost object of a valid JSON text, however the key is spelled."""
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
    """The span without the blanks around it."""
    text = raw[start:end]
    return start + len(text) - len(text.lstrip(b" \t\r\n")), start + len(text.rstrip(b" \t\r\n"))
