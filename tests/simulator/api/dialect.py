"""Different ways to write the same events: line ends, blanks, comments, packets that split events."""

from collections.abc import Iterator
from enum import StrEnum

COMMENT = b": keep-alive\n\n"


class Dialect(StrEnum):
    """A way to write events; all of them are event streams by the standard (WHATWG HTML, 9.2.5 and 9.2.6)."""

    PLAIN = "plain"
    CRLF = "crlf"
    """Lines end in CR LF."""
    COMPACT = "compact"
    """No blank after the colon."""
    COMMENTS = "comments"
    """A comment precedes every event."""
    MULTILINE = "multiline"
    """The data of an event is on two lines, split after its first comma; readers join them with a newline."""


def spoken(events: Iterator[bytes], dialect: Dialect) -> Iterator[bytes]:
    """Returns the same events in another dialect."""
    match dialect:
        case Dialect.PLAIN:
            return events
        case Dialect.CRLF:
            return (event.replace(b"\n", b"\r\n") for event in events)
        case Dialect.COMPACT:
            return (event.replace(b": ", b":", 1) for event in events)
        case Dialect.COMMENTS:
            return (COMMENT + event for event in events)
        case Dialect.MULTILINE:
            return (event.replace(b",", b",\ndata: ", 1) for event in events)


def fragments(events: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Splits the bytes into pieces of that size, wherever an event begins or ends."""
    rest = b""
    for event in events:
        rest += event
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest
