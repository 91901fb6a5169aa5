"""Tells an answer from what only looks like one: documents without a choice, output or embedding, events without content."""

import json
import math
import re
from typing import Any, Final

import orjson

from relay.dialect.endpoints import Endpoint

_CHAT: Final = Endpoint.CHAT
_EMBEDDINGS: Final = Endpoint.EMBEDDINGS
_RESPONSES: Final = Endpoint.RESPONSES
_UNFINISHED: Final = ("queued", "in_progress", "incomplete", "cancelled")
"""States in which a stored response may have no output: it comes later, or was cut by a limit of the caller's."""
_GENERATED: Final = frozenset(
    {"content", "refusal", "tool_calls", "function_call", "audio", "images", "text"}
)
_LABELS: Final = frozenset({"type", "id", "call_id", "role", "status"})
"""Fields of a part that name it; the model did not write them."""
_THOUGHT: Final = ("reasoning", "thinking")
"""Names that providers give to what a model thinks begin with one of these: reasoning_content, thinking_blocks."""
ATTACHMENT_CHARACTERS: Final = 4096
ATTACHMENT_BYTES: Final = 6000
"""What a generated image or recording counts as in an estimate: its tokens have nothing to do with the bytes of its base64."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=_-]*+")
MAX_DIGITS: Final = 400
"""An integer of more digits has no value that a float could have, and takes quadratic time to read."""
MAX_DEPTH: Final = 64
"""Real content is nested a few levels deep. What stands deeper is not looked at: each level is a call in a call."""


def decoded(data: bytes) -> object:
    """Decodes JSON as leniently as the clients do; None if it is none.

    Python's own decoder reads NaN and half of an emoji's surrogate pair, which providers written in Python send. A number of
    thousands of digits, which it refuses, is none that anything here could be.
    """
    try:
        document: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            document = json.loads(data, parse_int=_integer)
        except (ValueError, RecursionError):
            return None
    return document


def _integer(digits: str) -> object:
    # one return for each type: compiled, an integer would become a float on its way out
    if len(digits) > MAX_DIGITS:
        return math.inf
    return int(digits)


def has_answer(document: dict[str, Any], endpoint: Endpoint) -> bool:
    """Returns whether a unary answer holds what was asked for."""
    if endpoint is _RESPONSES:
        return bool(document.get("output")) or document.get("status") in _UNFINISHED
    if endpoint is _EMBEDDINGS:
        return _all_have(document.get("data"), "embedding")
    if endpoint is _CHAT:
        return _all_have(document.get("choices"), "message")
    return _all_have(document.get("choices"), "text", may_be_empty=True)


def _all_have(items: object, name: str, *, may_be_empty: bool = False) -> bool:
    if not isinstance(items, list) or not items:
        return False
    for item in items:
        value = item.get(name) if isinstance(item, dict) else None
        if value is None or not (value or may_be_empty):
            return False
    return True


def generates(event: dict[str, Any]) -> bool:
    """Returns whether an event of a stream carries content, reasoning or a tool call."""
    kind = event.get("type")
    if isinstance(kind, str) and kind.startswith("response."):
        return _response_generates(kind, event)
    choices = event.get("choices")
    if not isinstance(choices, list):
        return False
    return any(isinstance(choice, dict) and _choice_generates(choice) for choice in choices)


def _choice_generates(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    parts = delta if isinstance(delta, dict) else choice
    return any(
        _filled(value)
        for name, value in parts.items()
        if name in _GENERATED or name.startswith(_THOUGHT)
    )


def _response_generates(kind: str, event: dict[str, Any]) -> bool:
    """Returns the same for an event of the Responses API, whose type names what it carries."""
    if kind.endswith(".delta"):
        return _filled(event.get("delta"))
    if kind == "response.output_item.added":
        item = event.get("item")
        named = item.get("type") if isinstance(item, dict) else None
        return isinstance(named, str) and "call" in named
    # response.output_text.done, response.web_search_call.searching
    return kind.endswith(".done") or "_call." in kind


def generated_bytes(answer: dict[str, Any]) -> int:
    """Returns the bytes of content, reasoning and tool calls in an event of a stream or in a whole answer."""
    if isinstance(answer.get("output"), list):
        return _text_bytes(answer["output"])
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return _text_bytes(answer.get("delta"))
    return sum(_choice_bytes(choice) for choice in choices if isinstance(choice, dict))


def _choice_bytes(choice: dict[str, Any]) -> int:
    parts = choice.get("delta") or choice.get("message")
    return sum(
        _text_bytes(value)
        for name, value in (parts if isinstance(parts, dict) else choice).items()
        if name in _GENERATED or name.startswith(_THOUGHT)
    )


def _text_bytes(value: object, depth: int = 0) -> int:
    if isinstance(value, str):
        if len(value) >= ATTACHMENT_CHARACTERS and _is_base64(value):
            return ATTACHMENT_BYTES
        return len(value.encode("utf-8", "surrogatepass"))
    if depth == MAX_DEPTH:
        return 0
    if isinstance(value, list):
        return sum(_text_bytes(item, depth + 1) for item in value)
    if isinstance(value, dict):
        fields = (item for name, item in value.items() if name not in _LABELS)
        return sum(_text_bytes(item, depth + 1) for item in fields)
    return 0


def _is_base64(value: str) -> bool:
    """Returns whether a long string is an image or a recording: prose has blanks, and none of it is of these letters alone."""
    middle = len(value) // 2
    return _BASE64.fullmatch(value, middle, middle + ATTACHMENT_CHARACTERS // 4) is not None


def _filled(value: object, depth: int = 0) -> bool:
    """Returns whether any text stands in the value; the kind of a part is none."""
    if isinstance(value, str):
        return value != ""
    if depth == MAX_DEPTH:
        return False
    if isinstance(value, list):
        return any(_filled(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return any(_filled(item, depth + 1) for name, item in value.items() if name != "type")
    return False
