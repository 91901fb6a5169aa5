"""Parts a stream of events into its events (WHATWG HTML, section 9.2), each of which holds one message."""

from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"
_MAX_DIGITS: Final = 9


class Event(NamedTuple):
    """What an event says, and the last id that the stream has named, empty without any. One that only names an id has no data."""

    data: bytes
    id: str = ""


class EventTooLarge(Exception):
    """An event is longer than one may be."""


class EventReader:
    """Collects what arrives until an event is whole. max_bytes bounds one event; with_ids tells of events that only name an id too.

    retry_milliseconds is how long the stream says to wait before it is opened again; -1 while it says nothing.
    """

    __slots__ = (
        "_buffer",
        "_data",
        "_ended_with_cr",
        "_id",
        "_max_bytes",
        "_size",
        "_started",
        "_told_id",
        "_with_ids",
        "retry_milliseconds",
    )

    def __init__(self, max_bytes: int, *, with_ids: bool = False) -> None:
        self._max_bytes = max_bytes
        self._with_ids = with_ids
        self._id = self._told_id = ""
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._ended_with_cr = False
        self._started = False
        self.retry_milliseconds = -1

    def feed(self, data: bytes) -> list[Event]:
        """Returns the events that are whole now; raises EventTooLarge. Comments and other fields are dropped."""
        if self._ended_with_cr and data.startswith(b"\n"):
            # the second half of a line end
            data = data[1:]
            self._ended_with_cr = False
        if not data:
            return []
        self._ended_with_cr = data.endswith(b"\r")
        self._size += len(data)
        self._buffer += data
        events: list[Event] = []
        if b"\n" in data or b"\r" in data:
            events = self._whole_lines()
        if self._size > self._max_bytes:
            raise EventTooLarge
        return events

    def _whole_lines(self) -> list[Event]:
        text = bytes(self._buffer)
        if not self._started:
            self._started = True
            text = text.removeprefix(_BOM)
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer = bytearray(rest)
        events = [event for event in map(self._line, lines) if event is not None]
        if b"" in lines:
            begun = lines[len(lines) - lines[::-1].index(b"") :]
            self._size = len(rest) + sum(len(line) + 1 for line in begun)
        return events

    def _line(self, line: bytes) -> Event | None:
        """Takes a line; returns the event that it ends."""
        if not line:
            return self._ended()
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"id" and b"\0" not in value:
            self._id = value.removeprefix(b" ").decode("latin-1")
        elif name == b"retry":
            self._take_retry(value.removeprefix(b" "))
        return None

    def _take_retry(self, value: bytes) -> None:
        if value.isdigit() and len(value) <= _MAX_DIGITS:
            self.retry_milliseconds = int(value)

    def _ended(self) -> Event | None:
        data, self._data = self._data, []
        # one without data is none: servers begin streams so, for their id
        is_news = self._with_ids and self._id != self._told_id
        if not any(data) and not is_news:
            return None
        self._told_id = self._id
        return Event(b"\n".join(data) if any(data) else b"", self._id)


def event(text: str, event_id: str = "") -> bytes:
    """Returns a message as an event. JSON has line ends only where it may have any blank."""
    return (
        id_line(event_id)
        + b"event: message\n"
        + b"".join(b"data: %b\n" % line for line in text.encode().splitlines())
        + b"\n"
    )


def mark(event_id: str) -> bytes:
    """Returns an event that says nothing but its id."""
    return id_line(event_id) + b"data: \n\n"


def retry_line(milliseconds: int) -> bytes:
    """Returns the line that says how long to wait before the stream is opened again."""
    return b"retry: %d\n" % milliseconds


def id_line(event_id: str) -> bytes:
    """Returns the line that names an event, nothing without an id."""
    return b"id: %b\n" % event_id.encode() if event_id else b""
