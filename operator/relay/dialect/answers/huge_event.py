"""An event too large to be held: it passes unread but for its ends and for the usage in it.

The last event of the Responses API repeats the whole answer with its instructions and tools, and may be megabytes.
"""

import re
from typing import Any, Final

import orjson

EXCERPT_BYTES: Final = 16 * 1024
"""Kept of either end. Types and ids stand in front; usage and reasons to stop at the end, before a few short fields."""
_USAGE_BYTES: Final = 4096
_CLOSING_BRACES: Final = 8
"""A usage object holds a handful of objects at most."""
_USAGE = re.compile(rb'"usage"[ \t]*:[ \t]*\{')
_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\r\r")


class HugeEvent:
    """Takes the event's bytes as they pass; excerpt and usage are valid when all have passed."""

    __slots__ = ("_head", "_tail", "_usage")

    def __init__(self, beginning: bytes) -> None:
        self._head = beginning[:EXCERPT_BYTES]
        self._tail = b""
        self._usage = b""
        self.add(beginning)

    def end_in(self, data: bytes) -> int:
        """Returns where in the next bytes the event ends, with its blank line; 0 where it does not."""
        overlap = self._tail[-2:]
        blank = _BLANK_LINE.search(overlap + data)
        return 0 if blank is None else blank.end() - len(overlap)

    def add(self, data: bytes) -> None:
        """Takes the next bytes of the event."""
        joined = self._tail + data
        found = -1
        if b'"usage"' in joined:
            for match in _USAGE.finditer(joined):
                found = match.start()
        if found >= 0:
            self._usage = joined[found : found + _USAGE_BYTES]
        elif self._usage and len(self._usage) < _USAGE_BYTES:
            self._usage += data[:_USAGE_BYTES]
        self._tail = joined[-EXCERPT_BYTES:]

    @property
    def excerpt(self) -> bytes:
        """Returns both ends of the event."""
        return self._head + self._tail

    def usage(self) -> dict[str, Any] | None:
        """Returns the last usage object in the event."""
        start = self._usage.find(b"{")
        end = start
        for _ in range(_CLOSING_BRACES):
            end = self._usage.find(b"}", end + 1)
            if start < 0 or end < 0:
                return None
            try:
                usage = orjson.loads(self._usage[start : end + 1])
            except orjson.JSONDecodeError:
                continue
            return usage if isinstance(usage, dict) else None
        return None
