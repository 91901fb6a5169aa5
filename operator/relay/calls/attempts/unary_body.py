"""The body of an answer that is no stream, kept to be read when it is whole."""

from typing import Any, Final

import orjson

MAX_KEPT_BYTES: Final = 1024 * 1024
"""A larger answer is passed on without being read; its tokens are then estimated."""


class UnaryBody:
    """The pieces of a body, or nothing when they are too much. Most bodies are one piece, which costs no list."""

    __slots__ = ("_first", "_rest", "_size")

    def __init__(self) -> None:
        self._first: bytes | None = None
        self._rest: list[bytes] | None = None
        self._size = 0

    def keep(self, data: bytes) -> None:
        """Adds a piece of the body."""
        self._size += len(data)
        if self._size > MAX_KEPT_BYTES:
            self._first = self._rest = None
        elif self._first is None:
            self._first = data
        elif self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    @property
    def kept(self) -> bool:
        """True if there is a body and all of it was kept."""
        return self._first is not None

    def document(self) -> dict[str, Any] | None:
        """Decodes the body, if it was kept and is a JSON object."""
        first = self._first
        if first is None:
            return None
        try:
            document = orjson.loads(first if self._rest is None else b"".join((first, *self._rest)))
        except orjson.JSONDecodeError:
            return None
        return document if type(document) is dict else None
