"""Counts the searches of the web in a response that is too large to be held, as its bytes pass."""

import re
from typing import Any, Final

from relay.dialect.answers.answer_content import decoded
from relay.dialect.usage.openai_usage import is_search

_TOKEN: Final = re.compile(
    rb'"((?:[^"\\]++|\\.)*+)(?:(")(?:[ \t\r\n]*+(:))?|\\?\Z)'
    rb'|\{(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+\}|[{}\[\]]',
    re.DOTALL,
)
"""A string, with a colon behind it if it names a field, where the last may be cut; an object with no other value in it than plain ones; or
a bracket."""
_WITHIN_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NOTHING_MORE: Final = re.compile(rb"[ \t\r\n]*+\Z")
_MOST_HELD: Final = 1024
"""Of a string that a piece of the body cuts through: no name or value that counts is as long."""
_FIELDS: Final = (b"type", b"status")
_MOST_OPEN: Final = 5
"""Brackets that are told apart: one more than any place that is looked for has."""
_DOCUMENT: Final = b"{"
_LIST: Final = b"{["
_ITEM: Final = b"{[{"
_ACTION: Final = b"{[{{"


class SearchCount:
    """Takes the body's bytes in pieces of any size and holds next to none of them. count is that of the items of its `output`
    which `is_search` says are billed.
    """

    __slots__ = (
        "_action",
        "_cuts_string",
        "_depth",
        "_field",
        "_is_action",
        "_is_output",
        "_item",
        "_opened",
        "_rest",
        "count",
    )

    def __init__(self) -> None:
        self.count = 0
        self._rest = b""
        self._cuts_string = self._is_output = self._is_action = False
        self._opened = self._field = b""
        self._depth = 0
        self._item: dict[str, Any] = {}
        self._action: dict[str, Any] = {}

    def add(self, data: bytes) -> None:
        """Takes the next bytes."""
        text, self._rest = self._rest + data, b""
        start = self._after_string(text) if self._cuts_string else 0
        for token in _TOKEN.finditer(text, start):
            name, is_closed, is_field = token[1], token[2] is not None, token[3] is not None
            if name is None:
                self._take_brackets(token[0])
            elif is_field:
                self._field = name
            elif is_closed and _NOTHING_MORE.match(text, token.end()) is None:
                self._take_value(name)
            else:
                self._hold(
                    text[token.start() :], is_closed=is_closed, is_escaped=token.end(1) < len(text)
                )
                return

    def _after_string(self, text: bytes) -> int:
        """Returns where the text goes on behind the string that it begins in."""
        within = _WITHIN_STRING.match(text)
        end = len(text) if within is None else within.end()
        if text[end : end + 1] == b'"':
            self._cuts_string = False
            return end + 1
        # a backslash whose character has not come
        self._rest = text[end:]
        return len(text)

    def _hold(self, rest: bytes, *, is_closed: bool, is_escaped: bool) -> None:
        """Keeps a string that ends the piece until more has come: all of it, or for a long one that it is there."""
        if len(rest) <= _MOST_HELD:
            self._rest = rest
        elif is_closed:
            self._rest = b'""'
        else:
            self._field = b""
            self._cuts_string = True
            self._rest = b"\\" if is_escaped else b""

    def _take_brackets(self, bracket: bytes) -> None:
        place, field = self._opened[: self._depth], self._field
        self._field = b""
        if len(bracket) > 1:
            self._take_object(place, bracket, field)
        elif bracket in b"{[":
            self._opened = (place + bracket)[:_MOST_OPEN]
            self._depth += 1
            self._open(place, bracket, field)
        else:
            self._depth = max(self._depth - 1, 0)
            if place == _ITEM and self._is_output:
                self.count += is_search(self._item)

    def _take_object(self, place: bytes, text: bytes, field: bytes) -> None:
        """Takes an object that is in the piece as a whole: most are parts of what the model said."""
        if not self._is_output:
            return
        if place == _LIST:
            self.count += is_search(decoded(text))
        elif place == _ITEM and field == b"action":
            self._item["action"] = decoded(text)

    def _open(self, place: bytes, bracket: bytes, field: bytes) -> None:
        if place == _DOCUMENT:
            self._is_output = field == b"output" and bracket == b"["
            # of fields that stand twice the last counts, as for who decodes it
            self.count = 0 if self._is_output else self.count
        elif place == _LIST:
            self._item = {}
        elif place == _ITEM:
            self._is_action = field == b"action" and bracket == b"{"
            if self._is_action:
                self._item["action"] = self._action = {}

    def _take_value(self, value: bytes) -> None:
        place, field = self._opened[: self._depth], self._field
        if field not in _FIELDS or not self._is_output:
            return
        if place == _ITEM:
            self._item[field.decode()] = value.decode("utf-8", "replace")
        elif place == _ACTION and self._is_action:
            self._action[field.decode()] = value.decode("utf-8", "replace")
