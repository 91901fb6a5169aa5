"""Holds back of an answer what calls a tool that is not granted, whatever the pieces in which it comes."""

import re
from typing import Any, Final

import orjson

from relay.tools.chat.called_tools import CalledTools
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.reading.json_text import Bounds, UnreadableJson, text_of, value_in

MAX_HELD_BYTES: Final = 4 * 1024 * 1024
"""An event that is longer is not passed on, nor an answer in one document."""
ANSWER_BOUNDS: Final = Bounds(size=MAX_HELD_BYTES, depth=128, brackets=128 * 1024)

_MARKS: Final = (
    *(b"tool", b"_call", b"mcp", b"output_item", b'"output"', b"partial_json"),
    *(b"nctionCall", b"nction-call", b"xecutable"),
)
"""One of them stands in whatever calls a tool, in chat completions, the Responses API, Anthropic's or Gemini's."""
_ESCAPED_LETTER: Final = re.compile(rb"\\u00(?:5[fF]|[67])")
"""Letters that no encoder escapes, and that could spell a mark otherwise."""
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_MOST_BEFORE: Final = 3
"""Bytes of a blank line that may have come before its last one."""
_BOM: Final = b"\xef\xbb\xbf"


class AnswerGuard:
    """Lets pass what it is given until something is called that is not granted; from then on nothing. refuses says so.

    is_unreadable says that it was for a document that is no JSON, or is too large, in which nobody can tell.
    """

    __slots__ = ("_called", "_end", "_held", "_size", "is_unreadable", "refuses")

    def __init__(self, policy: ChatPolicy) -> None:
        self._called = CalledTools(policy)
        self._held: list[bytes] = []
        self._end = b""
        self._size = 0
        self.is_unreadable = False
        self.refuses = False

    @property
    def denied(self) -> str:
        """Returns the name of the call for which the answer is refused; empty where nobody can tell."""
        return self._called.denied

    def events(self, data: bytes) -> bytes:
        """Takes a piece of a stream of events; returns the whole events that may pass."""
        if self.refuses:
            return b""
        if not self._held and data.endswith(b"\n\n") and not _may_call(data):
            return data
        # what is held has no blank line, but may end with the beginning of one
        begun = len(self._end)
        end = _end_of_events(self._end + data) - begun
        if end <= 0:
            self._hold(data)
            return b""
        events = b"".join((*self._held, data[:end])) if self._held else data[:end]
        self._held = []
        self._end = b""
        self._size = 0
        if end < len(data):
            self._hold(data[end:])
        return self._permitted(events)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        self._end = (self._end + data)[-_MOST_BEFORE:]
        self._bound()

    def _bound(self) -> None:
        if self._size > MAX_HELD_BYTES:
            self.give_up()

    def give_up(self) -> None:
        """Refuses what nobody can read for calls of tools."""
        self.is_unreadable = self.refuses = True
        self._held = []

    def rest(self) -> bytes:
        """Ends a stream of events; returns what was held of it, which some clients read as an event."""
        rest = self._taken()
        return self._permitted(rest) if rest else b""

    def keep(self, data: bytes) -> None:
        """Takes a piece of an answer in one document."""
        self._size += len(data)
        if not self.refuses:
            self._held.append(data)
            self._bound()

    def document(self) -> bytes:
        """Ends an answer in one document; returns it if it may pass."""
        body = self._taken()
        # clients find out by its zeros that a text is in UTF-16 or UTF-32
        if not self.refuses and (b"\0" in body or (_is_json(body) and _may_call(body))):
            payloads = _objects_in(body)
            self.is_unreadable = payloads is None
            self.refuses = payloads is None or not all(map(self._called.permits, payloads))
        return b"" if self.refuses else body

    def _taken(self) -> bytes:
        held, self._held = self._held, []
        return b"" if self.refuses else b"".join(held)

    def _permitted(self, events: bytes) -> bytes:
        """Returns the events up to the first that may not pass."""
        if not _may_call(events):
            return events
        place = 0
        while place < len(events):
            blank = _BLANK_LINE.search(events, place)
            end = len(events) if blank is None else blank.end()
            event = events[place:end]
            may_call = len(event) == len(events) or _may_call(event)
            if may_call and not self._permits(event):
                self.refuses = True
                return events[:place]
            place = end
        return events

    def _permits(self, event: bytes) -> bool:
        name, lines = b"", []
        for line in event.removeprefix(_BOM).splitlines():
            field, _, value = line.partition(b":")
            if field == b"data":
                lines.append(value.strip())
            elif field == b"event":
                name = value.strip()
        data = b"\n".join(lines)
        if not _is_json(data):
            # no client takes it for anything
            return True
        payload = _value_in(data)
        return isinstance(payload, dict) and self._called.permits(payload, name.decode("latin-1"))


def _is_json(data: bytes) -> bool:
    """Returns whether a client may read objects in this: nothing else calls a tool, a page in HTML least of all."""
    return data.lstrip().removeprefix(_BOM).lstrip().startswith((b"{", b"["))


def _may_call(text: bytes) -> bool:
    """Returns whether something in the text may call a tool; most events only bring words."""
    for mark in _MARKS:
        if mark in text:
            return True
    return b"\\u00" in text and _ESCAPED_LETTER.search(text) is not None


def _end_of_events(data: bytes) -> int:
    """Returns the end of the last blank line."""
    if data.endswith(b"\n\n"):
        return len(data)
    end = 0
    for blank in _BLANK_LINE.finditer(data):
        end = blank.end()
    return end


def _objects_in(data: bytes) -> list[dict[str, Any]] | None:
    """Decodes an object, or those of an array, as which Gemini writes a stream; None for what cannot be read."""
    value = _value_in(data)
    found: list[dict[str, Any]] = []
    left: list[Any] = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            found.append(one)
        elif isinstance(one, list):
            left += reversed(one)
    return None if value is None else found


def _value_in(data: bytes) -> Any:
    """Decodes a value in which no key stands twice; None for anything else.

    What is written again byte by byte has each key once; most providers write it so, and the strict decoder takes five times as long.
    """
    if len(data) > ANSWER_BOUNDS.size:
        return None
    try:
        value = orjson.loads(data)
        if orjson.dumps(value) == data:
            return value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    try:
        # providers written in Python send NaN, and clients read it
        return value_in(text_of(data, ANSWER_BOUNDS), with_nan=True)
    except UnreadableJson:
        return None
