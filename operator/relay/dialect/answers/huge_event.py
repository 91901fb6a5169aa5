"""An event too large to be held: it passes unread but for an excerpt."""

import re
from collections.abc import Sequence
from typing import Final

from relay.dialect.answers.excerpt import Excerpt

_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\r\r")
_NAMED_ERROR: Final = re.compile(rb"(?:^|\r)event:[ ]?error[ \t]*+[\r\n]", re.MULTILINE)
_DATA: Final = re.compile(rb"(?:^|\r)data:", re.MULTILINE)
_TOKEN: Final = re.compile(
    rb'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)(?:[ \t\r\n]*+(:))?|[{}\[\]]', re.DOTALL
)
"""A bracket, or a string, with a colon behind it if it names a field. The last string may be cut."""
_SAYS_NOTHING: Final = re.compile(
    rb'[ \t\r\n]*+(?:\Z|[^{\["t1-9]|""|\[[ \t\r\n]*+\]|\{(?:[ \t\r\n,]*+"[^"\\]*+"[ \t\r\n]*+:'
    rb'[ \t\r\n]*+(?:null|false|0|""|\{\}|\[\]))*+[ \t\r\n]*+\})'
)
"""Some fill in the error of every event, with nothing in it."""
_IS_ERROR: Final = re.compile(rb'[ \t\r\n]*+"error"')
_DOCUMENT: Final = (b"{", b"[{")
"""Brackets that stand open at the fields of an event; Gemini has its document in a list."""
_LABELS: Final = {
    b"{": (b"type", b"object"),
    b"[{": (b"type", b"object"),
    b"{[{": (b"finish_reason",),
    b"[{[{": (b"finish_reason",),
}
"""Fields that may say `error`, at the top and in a choice, by the brackets that stand open there."""
_MOST_OPEN: Final = 5
"""Brackets that are told apart: one more than any place that is looked for has."""


class HugeEvent(Excerpt):
    """Takes the event's bytes as they pass; ends and usage are valid when all have passed."""

    __slots__ = ()

    def end_in(self, data: bytes) -> int:
        """Returns where in the next bytes the event ends, with its blank line; 0 where it does not."""
        overlap = self.tail[-2:]
        blank = _BLANK_LINE.search(overlap + data)
        return 0 if blank is None else blank.end() - len(overlap)

    @property
    def excerpt(self) -> bytes:
        """Returns both ends of the event."""
        return self.head + self.tail

    @property
    def reports_error(self) -> bool:
        """True if its beginning shows what `read_error` takes for an error: one of the event itself, or of a choice.

        What stands deeper is content: a field in the schema of a tool, the end of a call that the model made.
        """
        head = self.head
        return b"error" in head and (_NAMED_ERROR.search(head) is not None or _has_error(head))


def _has_error(head: bytes) -> bool:
    """Walks through the fields of an event that may be cut anywhere."""
    data = _DATA.search(head)
    opened, depth, field = b"", 0, b""
    for token in _TOKEN.finditer(head, data.end() if data is not None else len(head)):
        bracket, name, place = token[0], token[1], opened[:depth]
        if name is None and bracket in b"{[":
            opened = (place + bracket)[:_MOST_OPEN]
            depth += 1
        elif name is None:
            depth = max(depth - 1, 0)
        elif token[2] is not None:
            if place in _DOCUMENT:
                field = name
            labels = _LABELS.get(place) if place in _DOCUMENT or field == b"choices" else None
            if labels is not None and _says_error(head, name, labels, token.end()):
                return True
    return False


def _says_error(head: bytes, name: bytes, labels: Sequence[bytes], value: int) -> bool:
    """Returns whether a field, whose value begins at this offset, reports an error."""
    if name == b"error":
        return _SAYS_NOTHING.match(head, value) is None
    return name in labels and _IS_ERROR.match(head, value) is not None
