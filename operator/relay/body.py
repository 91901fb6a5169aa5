"""A call's body: what the relay reads of it, and the two edits it makes, spliced so that every other byte stays."""

import re
from typing import Any, Final

import orjson

from relay.errors import Refusal

FORCED_USAGE: Final = b'"stream_options":{"include_usage":true},'
_MODEL_KEY: Final = b'"model"'
_MODEL_FIELD = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


class CallBody:
    """A parsed body. document is the decoded JSON; raw the bytes it came as."""

    __slots__ = ("document", "model", "raw", "stream", "wants_usage")

    def __init__(self, raw: bytes, document: dict[str, Any], model: str) -> None:
        self.raw = raw
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
        return Refusal.invalid_json
    if type(document) is not dict:
        return Refusal.invalid_json
    model = document.get("model")
    if type(model) is not str or not model:
        return Refusal.missing_model
    return CallBody(raw, document, model)


def upstream_body(body: CallBody, *, model: str, force_usage: bool) -> list[bytes]:
    """The body for the provider, in pieces: it names `model`, and a stream reports its usage if force_usage is set."""
    raw, start = body.raw, 0
    renamed = model != body.model
    if not renamed and not force_usage:
        return [raw]
    if force_usage and body.document.get("stream_options") is not None:
        return [_rebuilt(body, model=model, force_usage=True)]
    pieces: list[bytes] = []
    if force_usage:
        if "stream_options" in body.document:
            return [_rebuilt(body, model=model, force_usage=True)]
        start = raw.index(b"{") + 1
        pieces += (raw[:start], FORCED_USAGE)
    if renamed:
        span = _model_span(body)
        if span is None:
            return [_rebuilt(body, model=model, force_usage=force_usage)]
        pieces += (raw[start : span[0]], orjson.dumps(model))
        start = span[1]
    pieces.append(raw[start:])
    return pieces


def _model_span(body: CallBody) -> tuple[int, int] | None:
    """Where the model's value stands in the raw body; None unless that is beyond doubt.

    Within JSON strings quotes are escaped, so the seven bytes `"model"` are a whole string wherever they stand. If they
    stand once, and no key is spelled with escaped letters, they are the key that was decoded, or a value or nested key
    beside which no key `model` could have been decoded.
    """
    raw = body.raw
    if raw.count(_MODEL_KEY) != 1 or (b"\\u00" in raw and _ESCAPED_LETTER.search(raw)):
        return None
    field = _MODEL_FIELD.match(raw, raw.index(_MODEL_KEY))
    return field.span(1) if field is not None else None


def _rebuilt(body: CallBody, *, model: str, force_usage: bool) -> bytes:
    document = {**body.document, "model": model}
    if force_usage:
        options = document.get("stream_options")
        kept = options if isinstance(options, dict) else {}
        document["stream_options"] = {**kept, "include_usage": True}
    return orjson.dumps(document)
