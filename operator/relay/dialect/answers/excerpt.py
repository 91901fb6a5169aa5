"""What is kept of a document too large to be held: its ends, and the usage in it.

Embeddings by the hundred are megabytes, and so is the last event of a stream of the Responses API, which repeats the whole
answer with its instructions and tools.
"""

import re
from typing import Any, Final

import orjson

EXCERPT_BYTES: Final = 16 * 1024
"""Kept of either end. Types and ids stand in front; reasons to stop at the end, before a few short fields."""
_USAGE_BYTES: Final = 4096
_CLOSING_BRACES: Final = 8
"""A usage object holds a handful of objects at most."""
_USAGE = re.compile(rb'"usage"[ \t\r\n]*+:[ \t\r\n]*+\{[^{}]{0,256}?tokens')
"""A tool may have a parameter of this name; within a string the quotes would be escaped."""


class Excerpt:
    """Takes the document's bytes as they pass. head and tail are its ends, which overlap in a short one."""

    __slots__ = ("_usage", "head", "tail")

    def __init__(self, beginning: bytes) -> None:
        self.head = b""
        self.tail = b""
        self._usage = b""
        self.add(beginning)

    def add(self, data: bytes) -> None:
        """Takes the next bytes."""
        missing = EXCERPT_BYTES - len(self.head)
        if missing > 0:
            self.head += data[:missing]
        joined = self.tail + data
        found = -1
        if b'"usage"' in joined:
            for match in _USAGE.finditer(joined):
                found = match.start()
        if found >= 0:
            self._usage = joined[found : found + _USAGE_BYTES]
        elif self._usage and len(self._usage) < _USAGE_BYTES:
            self._usage += data[:_USAGE_BYTES]
        self.tail = joined[-EXCERPT_BYTES:]

    def usage(self) -> dict[str, Any] | None:
        """Returns the last usage object in the document."""
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
