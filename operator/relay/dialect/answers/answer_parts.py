"""Reads what an answer consists of, its texts and its tool calls, from a whole document or from a stream that has ended."""

import json
from typing import Any, Final

from relay.dialect.answers.answer_content import decoded
from relay.dialect.answers.event_stream import payloads
from relay.dialect.endpoints import Endpoint

_RESPONSES: Final = Endpoint.RESPONSES
_OTHER_PARTS: Final = ("refusal", "audio", "images")
ToolCall = tuple[str, str]
"""A tool's name and its arguments as JSON, as the model wrote it; of those that came as an object their names alone."""
ToolShape = tuple[str, tuple[str, ...]]
"""A tool's name and the names of its arguments, in order."""


class AnswerParts:
    """Texts, one per choice, and tool calls in the order of the answer. has_more: a refusal, a sound or an image too."""

    __slots__ = ("has_more", "texts", "tool_calls")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tool_calls: list[ToolCall] = []
        self.has_more = False

    @property
    def empty(self) -> bool:
        """True if there is nothing in the answer that a caller could use."""
        return not (self.has_more or self.tool_calls or any(text.strip() for text in self.texts))

    def texts_are_json(self) -> bool:
        """Returns whether each text is JSON; those that are empty do not count."""
        return all(
            decoded(text.encode(errors="replace")) is not None for text in self.texts if text
        )

    def tools(self) -> tuple[ToolShape, ...] | None:
        """Returns what was called with which arguments, in any order; None if the arguments of one are no JSON object."""
        shapes: list[ToolShape] = []
        for name, arguments in self.tool_calls:
            # without arguments some models write nothing
            values = decoded(arguments.encode(errors="replace")) if arguments.strip() else {}
            if not isinstance(values, dict):
                return None
            shapes.append((name, tuple(sorted(values))))
        return tuple(sorted(shapes))


def parts_of_document(document: dict[str, Any], endpoint: Endpoint) -> AnswerParts:
    """Reads a whole answer."""
    parts = AnswerParts()
    if endpoint is _RESPONSES:
        _add_items(parts, document.get("output"))
        return parts
    for choice in _objects(document.get("choices")):
        message = choice.get("message")
        if not isinstance(message, dict):
            parts.texts.append(_text(choice.get("text")))
            continue
        parts.texts.append(_text(message.get("content")))
        parts.has_more = parts.has_more or any(message.get(name) for name in _OTHER_PARTS)
        for call in _objects(message.get("tool_calls")):
            _add_call(parts, call.get("function"))
        _add_call(parts, message.get("function_call"))
    return parts


def parts_of_stream(events: bytes, endpoint: Endpoint) -> AnswerParts:
    """Reads all events of a stream."""
    return _of_response_events(events) if endpoint is _RESPONSES else _of_chunks(events)


def _of_response_events(events: bytes) -> AnswerParts:
    """Reads the items of a response as they are done; the last event may repeat them, and need not."""
    parts = AnswerParts()
    items = [
        payload.get("item")
        for payload in payloads(events)
        if payload.get("type") == "response.output_item.done"
    ]
    _add_items(parts, items)
    return parts


def _of_chunks(events: bytes) -> AnswerParts:
    parts = AnswerParts()
    texts: dict[int, list[str]] = {}
    calls: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    for payload in payloads(events):
        for choice in _objects(payload.get("choices")):
            index = _index(choice)
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                texts.setdefault(index, []).append(_text(choice.get("text")))
                continue
            texts.setdefault(index, []).append(_text(delta.get("content")))
            parts.has_more = parts.has_more or any(delta.get(name) for name in _OTHER_PARTS)
            _add_pieces(calls, index, delta)
    parts.texts = ["".join(pieces) for pieces in texts.values()]
    parts.tool_calls = [("".join(names), "".join(written)) for names, written in calls.values()]
    return parts


def _add_pieces(
    calls: dict[tuple[int, int], tuple[list[str], list[str]]], choice: int, delta: dict[str, Any]
) -> None:
    """Adds the pieces of tool calls in a chunk: the name comes whole, with the first of them."""
    found = [(_index(call), call.get("function")) for call in _objects(delta.get("tool_calls"))]
    found.append((-1, delta.get("function_call")))
    for index, function in found:
        if not isinstance(function, dict):
            continue
        names, written = calls.setdefault((choice, index), ([], []))
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name and not names:
            names.append(name)
        if isinstance(arguments, str):
            written.append(arguments)


def _add_items(parts: AnswerParts, items: object) -> None:
    """Adds the items of a response."""
    text = ""
    for item in _objects(items):
        kind = item.get("type")
        if kind == "message":
            text += _text(item.get("content"))
        elif kind == "function_call":
            _add_call(parts, item)
        elif kind != "reasoning":
            # a call of a tool of the provider's own, or a picture
            parts.has_more = True
    parts.texts.append(text)


def _add_call(parts: AnswerParts, function: object) -> None:
    if not isinstance(function, dict):
        return
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        # some providers send them as the object that they are; only its names are compared, and values may be nested too deeply
        arguments = json.dumps(dict.fromkeys(arguments) if isinstance(arguments, dict) else None)
    parts.tool_calls.append((_text(function.get("name")), arguments))


def _text(value: object) -> str:
    """Returns a text, or those of a list of parts."""
    if isinstance(value, str):
        return value
    return "".join(
        text
        for part in _objects(value)
        if isinstance(text := part.get("text", part.get("refusal")), str)
    )


def _index(value: dict[str, Any]) -> int:
    index = value.get("index", 0)
    return index if isinstance(index, int) else 0


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
