"""The body of an answer that is no stream, kept to be read when it is whole."""

from typing import Any, Final

from relay.dialect.answers.excerpt import Excerpt
from relay.dialect.answers.search_count import SearchCount

MAX_KEPT_BYTES: Final = 1024 * 1024
"""Of a larger answer only its ends are kept, the usage in it, and how many searches of the web it tells of."""


class UnaryBody:
    """The pieces of a body, or an excerpt when they are too much. Most bodies are one piece, which costs no list.

    With may_search the body is a response, whose searches of the web are billed: they are counted in what is not kept.
    """

    __slots__ = ("_excerpt", "_first", "_may_search", "_most_bytes", "_rest", "_searches", "size")

    def __init__(self, most_bytes: int = MAX_KEPT_BYTES, *, may_search: bool = False) -> None:
        self._may_search = may_search
        self._searches: SearchCount | None = None
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
            if self._searches is not None:
                self._searches.add(data)
        elif self.size > self._most_bytes:
            self._give_up(data)
        elif self._first is None:
            self._first = data
        elif self._rest is None:
            self._rest = [data]
        else:
            self._rest.append(data)

    def keep_at_most(self, size: int) -> None:
        """Keeps no more than that from now on."""
        self._most_bytes = size
        if self._excerpt is None and self.size > size:
            self._give_up(b"")

    def _give_up(self, data: bytes) -> None:
        kept = self.kept or b""
        excerpt = self._excerpt = Excerpt(kept)
        excerpt.add(data)
        if self._may_search:
            searches = self._searches = SearchCount()
            searches.add(kept)
            searches.add(data)
        self._first = self._rest = None

    @property
    def begins_as_object(self) -> bool:
        """True if a body that was not kept began like a JSON object."""
        return self._excerpt is not None and self._excerpt.head.lstrip().startswith(b"{")

    def usage(self) -> dict[str, Any] | None:
        """Returns the usage object of a body that was not kept."""
        return None if self._excerpt is None else self._excerpt.usage()

    @property
    def searches(self) -> int:
        """Returns how many searches of the web that are billed a body tells of so far that was not kept."""
        return 0 if self._searches is None else self._searches.count

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
