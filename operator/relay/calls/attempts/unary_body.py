"""The body of an answer that is no stream, kept to be read when it is whole."""

from typing import Final

MAX_KEPT_BYTES: Final = 1024 * 1024
"""A larger answer is passed on without being read; its tokens are then estimated."""


class UnaryBody:
    """The pieces of a body, or nothing when they are too much. Most bodies are one piece, which costs no list.

    begins_as_object says of a body that was not kept that it began like a JSON object.
    """

    __slots__ = ("_first", "_most_bytes", "_rest", "begins_as_object", "size")

    def __init__(self, most_bytes: int = MAX_KEPT_BYTES) -> None:
        self._first: bytes | None = None
        self._rest: list[bytes] | None = None
        self._most_bytes = most_bytes
        self.begins_as_object = False
        self.size = 0

    def keep(self, data: bytes) -> None:
        """Adds a piece of the body."""
        self.size += len(data)
        if self.size > self._most_bytes:
            self._drop(data)
        elif self._first is None:
            self._first = data
        elif self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    def _drop(self, data: bytes) -> None:
        beginning = self._first if self._first is not None else data
        if self.size - len(data) <= self._most_bytes:
            self.begins_as_object = beginning.lstrip().startswith(b"{")
        self._first = self._rest = None

    @property
    def kept(self) -> bytes | None:
        """Returns the body, None where there is none or it was too much."""
        first, rest = self._first, self._rest
        return first if first is None or rest is None else b"".join((first, *rest))
