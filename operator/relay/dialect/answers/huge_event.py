"""An event too large to be held: it passes unread but for an excerpt."""

import re

from relay.dialect.answers.excerpt import Excerpt

_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\r\r")


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
