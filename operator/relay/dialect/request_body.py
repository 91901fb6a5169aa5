"""A call's body: reads what the relay needs and makes four edits, spliced so that every other byte stays the same.

What a provider refuses is taken out before, in one more pass over the bytes.
"""

import json
import re
from typing import Final

from relay.dialect import body_fields
from relay.dialect.body_fields import Span, Spans
from relay.dialect.body_scan import scan, string_at, without
from relay.dialect.endpoints import EMBEDDINGS, RESPONSES, Endpoint
from relay.dialect.json_values import integer_at, is_false, is_null, is_true
from relay.dialect.refusals import Refusal
from relay.dialect.response_ids import ResponseId

MAX_MODEL_CHARACTERS: Final = 256
"""No model's name is that long (relay_contract.document); a longer one is cut, and unknown as it would be whole."""
MAX_RESPONSE_ID_CHARACTERS: Final = 1024
USAGE_FIELD: Final = b'"include_usage":true'
USAGE_OPTIONS: Final = b"{" + USAGE_FIELD + b"}"
FORCED_USAGE: Final = b'"stream_options":' + USAGE_OPTIONS + b","
_SURROGATE_CHARACTER = re.compile(r"[\ud800-\udfff]")
_COMMA = re.compile(rb"[ \t\n\r]*+,")
_DIGITS: Final = b"0123456789"
_EMPTY_LIST = re.compile(rb"\[[ \t\n\r]*+\]")
_EMPTY_OBJECT = re.compile(rb"\{[ \t\n\r]*+\}")


_CHAT: Final = Endpoint.CHAT
_PARAGRAPH: Final = b"\\n\\n"
"""Two line feeds inside a JSON string."""
COPIED_BYTES: Final = 16 * 1024
"""Of a body up to this, edited or sent, one copy is cheaper than further buffers for the kernel to gather."""
MOST_CHOICES: Final = 128
"""More than this no provider gives in one answer."""
_BOUNDS: Final = {
    Endpoint.CHAT: (body_fields.MAX_COMPLETION_TOKENS, body_fields.MAX_TOKENS),
    Endpoint.COMPLETIONS: (body_fields.MAX_TOKENS,),
    Endpoint.RESPONSES: (body_fields.MAX_OUTPUT_TOKENS,),
}
"""The fields that bound an answer; a provider ignores those of the other endpoints."""
_CHOICES: Final = {
    Endpoint.CHAT: (body_fields.N,),
    Endpoint.COMPLETIONS: (body_fields.N, body_fields.BEST_OF),
}


class OutputBound:
    """What a caller asks of an answer: at most so many tokens in all, None without a bound, for so many choices."""

    __slots__ = ("choices", "tokens")

    def __init__(self, *, tokens: int | None, choices: int) -> None:
        self.tokens = tokens
        self.choices = choices


class CallBody:
    """A body that names a model. raw are its bytes, spans the positions of its fields; nothing else is kept decoded."""

    __slots__ = ("model", "model_span", "raw", "spans", "stream", "wants_usage")

    def __init__(self, raw: bytes, spans: Spans, model: str, model_span: Span) -> None:
        self.raw = raw
        self.spans = spans
        self.model = model
        self.model_span = model_span
        self.stream = is_true(raw, spans[body_fields.STREAM])
        self.wants_usage = is_true(raw, spans[body_fields.INCLUDE_USAGE])

    @property
    def may_ask_for_stream(self) -> bool:
        """True if a provider may read the body as one that asks for a stream: some take 1 or "true" for true."""
        raw, span = self.raw, self.spans[body_fields.STREAM]
        return self.stream or not (span is None or is_false(raw, span) or is_null(raw, span))

    @property
    def asks_many_choices(self) -> bool:
        """True if the caller says how many choices it wants, which may be more than one."""
        return self.spans[body_fields.N] is not None

    @property
    def has_several_prompts(self) -> bool:
        """True if the body holds a list of prompts, each of which has choices of its own in the answer (/v1/completions)."""
        return _has_several_items(self.raw, self.spans[body_fields.PROMPT])

    def output_bound(self, endpoint: Endpoint) -> OutputBound:
        """Returns what the caller asks of an answer of this endpoint."""
        if endpoint is EMBEDDINGS:
            return OutputBound(tokens=0, choices=1)
        raw, spans = self.raw, self.spans
        if spans[body_fields.EARLIER_BOUND] is not None:
            # which of two equal keys a provider reads is not known
            return OutputBound(tokens=None, choices=1)
        tokens = _largest(raw, spans, _BOUNDS[endpoint])
        choices = 1
        if endpoint is not RESPONSES:
            asked = _largest(raw, spans, _CHOICES[endpoint])
            if asked is None or self.has_several_prompts:
                # each of them may be as long as the bound
                tokens = 0
            else:
                choices = min(max(asked, 1), MOST_CHOICES)
        return OutputBound(tokens=tokens * choices if tokens else None, choices=choices)

    @property
    def continues_response(self) -> bool:
        """True if the body has the field previous_response_id, whatever its value."""
        return self.spans[body_fields.PREVIOUS_RESPONSE_ID] is not None

    @property
    def names_conversation(self) -> bool:
        """True if the body names a conversation that is stored at a provider; only calls of the Responses API do."""
        raw, spans = self.raw, self.spans
        span = spans[body_fields.CONVERSATION]
        return span is not None and spans[body_fields.MESSAGES] is None and not is_null(raw, span)

    def previous_response_id(self) -> ResponseId | None:
        """Returns the id of the response that the call continues."""
        span = self.spans[body_fields.PREVIOUS_RESPONSE_ID]
        given = string_at(self.raw, span, MAX_RESPONSE_ID_CHARACTERS)
        return ResponseId(given) if given else None


def body_without(body: CallBody, paths: tuple[bytes, ...]) -> CallBody:
    """Returns the body without the parameters at these paths; itself where it has none of them.

    A path may lead into objects: `reasoning.summary`, `tools.function.strict`. It does not lead to the model.
    """
    left = without(body.raw, paths)
    if left is body.raw:
        return body
    thinned = read_body(left)
    assert isinstance(thinned, CallBody)
    return thinned


def read_body(raw: bytes) -> CallBody | Refusal:
    """Returns the body, or the refusal if it cannot be used.

    Providers differ in which of two equal keys counts, so a body that names two models is not accepted for either.
    """
    spans = scan(raw)
    if spans is None:
        return Refusal.invalid_json
    span = spans[body_fields.MODEL]
    model = string_at(raw, span, MAX_MODEL_CHARACTERS)
    if span is None or not model:
        return Refusal.missing_model
    if not model.isascii() and _SURROGATE_CHARACTER.search(model) is not None:
        return Refusal.invalid_model  # a lone surrogate, which no answer could name
    if spans[body_fields.EARLIER_MODEL] is not None:
        return Refusal.ambiguous_model
    return CallBody(raw, spans, model, span)


def upstream_body(
    body: CallBody,
    *,
    endpoint: Endpoint,
    model: str,
    model_json: bytes,
    force_usage: bool,
    context: bytes = b"",
) -> list[bytes | memoryview]:
    """Returns the body for the provider, in pieces, with another model, with usage reports if force_usage is set,
    with the provider's own id of the response that it continues, and with the context before what the call says.

    model_json is the model as JSON, context a JSON string, or empty. Every other byte stays the same.
    """
    raw = body.raw
    edits: list[tuple[Span, bytes]] = []
    if model != body.model:
        edits.append((body.model_span, model_json))
    if force_usage:
        edits.append(_usage_edit(body))
    if body.continues_response:
        edits += _response_id_edit(body)
    if context:
        edits += _context_edit(body, endpoint, context)
    if not edits:
        return [raw]
    if len(edits) > 1:
        edits.sort()
    return _copied(raw, edits) if len(raw) <= COPIED_BYTES else _in_views(raw, edits)


def _copied(raw: bytes, edits: list[tuple[Span, bytes]]) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    start = 0
    for (first, last), replacement in edits:
        pieces.append(raw[start:first])
        pieces.append(replacement)
        start = last
    pieces.append(raw[start:])
    return pieces


def _in_views(raw: bytes, edits: list[tuple[Span, bytes]]) -> list[bytes | memoryview]:
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    start = 0
    for (first, last), replacement in edits:
        pieces += (view[start:first], replacement)
        start = last
    pieces.append(view[start:])
    return pieces


def _response_id_edit(body: CallBody) -> list[tuple[Span, bytes]]:
    """Returns the edit that takes the mark off the id of the response that the call continues."""
    span, previous = body.spans[body_fields.PREVIOUS_RESPONSE_ID], body.previous_response_id()
    if span is None or previous is None or not previous.mark:
        return []
    return [(span, json.dumps(previous.own).encode())]


def _usage_edit(body: CallBody) -> tuple[Span, bytes]:
    """Returns the edit that asks for usage. Of several options the last counts."""
    raw, spans = body.raw, body.spans
    options = spans[body_fields.STREAM_OPTIONS]
    if options is None:
        start = raw.index(b"{") + 1
        return (start, start), FORCED_USAGE
    include_usage = spans[body_fields.INCLUDE_USAGE]
    if include_usage is not None:
        return include_usage, b"true"
    start, end = options
    if raw[start] != ord("{") or _EMPTY_OBJECT.match(raw, start) is not None:
        return options, USAGE_OPTIONS
    return (end - 1, end - 1), b"," + USAGE_FIELD


def _context_edit(body: CallBody, endpoint: Endpoint, told: bytes) -> list[tuple[Span, bytes]]:
    """Returns the edit that tells a model something before what the call says itself: a system message, or text before instructions.

    told is a JSON string. A body that no provider takes stays what it is: one without a message, or with instructions that are no text.
    """
    if endpoint is _CHAT:
        return _before_messages(body.raw, body.spans[body_fields.MESSAGES], told)
    if endpoint is RESPONSES:
        return _before_instructions(body.raw, body.spans[body_fields.INSTRUCTIONS], told)
    return []


def _before_messages(raw: bytes, span: Span | None, told: bytes) -> list[tuple[Span, bytes]]:
    if span is None or raw[span[0]] != ord("[") or _EMPTY_LIST.match(raw, span[0]) is not None:
        return []
    start = span[0] + 1
    return [((start, start), b'{"role":"system","content":' + told + b"},")]


def _before_instructions(raw: bytes, span: Span | None, told: bytes) -> list[tuple[Span, bytes]]:
    if span is None:
        start = raw.index(b"{") + 1
        return [((start, start), b'"instructions":' + told + b",")]
    if is_null(raw, span):
        return [(span, told)]
    start = span[0] + 1
    return [((start, start), told[1:-1] + _PARAGRAPH)] if raw[span[0]] == ord('"') else []


def _largest(raw: bytes, spans: Spans, fields: tuple[int, ...]) -> int | None:
    """Returns the largest number of these fields, 0 without any, None if one cannot be read.

    Of two bounds a provider may know either, so the smaller one bounds nothing. -1 is how some spell `unlimited`.
    """
    largest = 0
    for field in fields:
        span = spans[field]
        if span is None or is_null(raw, span):
            continue
        number = integer_at(raw, span)
        if number is None:
            return None
        largest = max(largest, number)
    return largest


def _has_several_items(raw: bytes, first: Span | None) -> bool:
    """Returns whether the value that begins so is a list of several prompts, and not one prompt in tokens."""
    if first is None:
        return False
    start, end = first
    # between the key's colon and the first item of a list there is its bracket and nothing else
    if raw.find(b"[", raw.rfind(b":", 0, start), start) < 0:
        return False
    return raw[start] not in _DIGITS and _COMMA.match(raw, end) is not None
