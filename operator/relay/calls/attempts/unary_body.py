"""The body of an answer that is no stream, kept to be read when it is whole."""

from typing import Any, Final

from relay.dialect.answers.excerpt import Excerpt

MAX_KEPT_BYTES: Final = 1024 * 1024
"""Of a larger answer only its ends are kept, and the usage in it."""


class UnaryBody:
    """The pieces of a body, or an excerpt when they are too much. Most bodies are one piece, which costs no list."""

    __slots__ = ("_excerpt", "_first", "_most_bytes", "_rest", "size")

    def __init__(self, most_bytes: int = MAX_KEPT_BYTES) -> None:
        self._first: bytes | None = None
        self._rest: list[bytes] | None = None
        self._most_bytes = most_bytes
        self._excerpt: Excerpt | None = None
        self.size = 0

    def keep(self, data: bytes) -> None:
        """Adds a piece of the body."""
        self.size += len(data)
        if self._excerpt is not None:
            self._excerpt.add(data)
        elif self.size > self._most_bytes:
            self._give_up(data)
        elif self._first is None:
            self._first = data
        elif self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    def _give_up(self, data: bytes) -> None:
        excerpt = self._excerpt = Excerpt(self.kept or b"")
        excerpt.add(data)
        self._first = self._rest = None

    @property
    def begins_as_object(self) -> bool:
        """True if a body that was not kept began like a JSON object."""
        return self._excerpt is not None and self._excerpt.head.lstrip().startswith(b"{")

    def usage(self) -> dict[str, Any] | None:
        """Returns the usage object of a body that was not kept."""
        return None if self._excerpt is None else self._excerpt.usage()

    @property
    def head(self) -> bytes:
        """Returns the first bytes of the body, as many as were kept in one piece."""
        if self._excerpt is not None:
            return self._excerpt.head
        return self._first if self._first is not None else b""

    @property
    def tail(self) -> bytes:
        """Returns the last bytes of the body, as many as were kept in one piece."""
        if self._excerpt is not None:
            return self._excerpt.tail
        return self._rest[-1] if self._rest else self.head

    @property
    def kept(self) -> bytes | None:
        """Returns the body, None where there is none or it was too much."""
        first, rest = self._first, self._rest
        return first if first is None or rest is None else b"".join((first, *rest))
