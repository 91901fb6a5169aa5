"""Writes the records of one worker's attempts: into memory that belongs to a file, so that they outlive the process."""

import os
import time
from pathlib import Path
from typing import Any, Final

from relay.outbox import record_writing
from relay.outbox.attempt_closing import Closing, write_closing
from relay.outbox.attempt_names import MAX_NAMES_BYTES, AttemptNames, label
from relay.outbox.record_format import (
    CLOSED,
    FIRST_OFFSET,
    MAX_TEXT_BYTES,
    OPENED,
    OPENING_BYTES,
    record_bytes,
    sealed,
)
from relay.outbox.segment_files import (
    SEGMENT_BYTES,
    NoRoom,
    WritableSegment,
    make_segment,
    segment_name,
)

KEPT_FOR_CLOSES: Final = 8
"""The part of the last segment, an eighth, for closing what is under way when no attempt is opened any more."""
LARGEST_OPENING: Final = record_bytes(MAX_NAMES_BYTES) + record_bytes(
    OPENING_BYTES + MAX_TEXT_BYTES
)
"""Bytes of an opened record with its names, all labels at their longest."""
ROLL_SECONDS: Final = 3600.0
"""A segment is ended at this age, so that no file holds what was delivered long ago."""
_NO_SEGMENT: Final = bytearray()
# looked up once, since each attempt needs them
_time_ns: Final = time.time_ns
_write_opened: Final = record_writing.write_opened


class AttemptWriter:
    """One per worker. most_segments bounds those of all writers of the directory; relay is the name of this pod.

    trouble says why the next segment cannot be made; the counts are since the start.
    """

    __slots__ = (
        "_born",
        "_directory",
        "_map",
        "_most_segments",
        "_names",
        "_next",
        "_number",
        "_offset",
        "_relay",
        "_segment",
        "_size",
        "_tried",
        "_writer",
        "closed",
        "dropped_closed",
        "dropped_opened",
        "opened",
        "trouble",
    )

    def __init__(
        self,
        directory: Path,
        *,
        relay: str,
        most_segments: int,
        now: float,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._directory = directory
        self._relay = label(relay)
        self._most_segments = most_segments
        self._writer = f"{time.time_ns():020d}-{os.getpid()}"
        self._number = 0
        self._names = 0
        self._segment: WritableSegment | None = None
        self._next: WritableSegment | None = None
        self._map: Any = _NO_SEGMENT
        self._size = segment_bytes
        # as if in a segment without room
        self._offset = segment_bytes
        self._born = now
        self.opened = self.closed = self.dropped_opened = self.dropped_closed = 0
        # and in vain, since the last tick
        self._tried = False
        self.trouble = ""
        self._prepare()
        self._advance(now)

    def ensure_room(self) -> bool:
        """Makes room for opening an attempt, whatever its names, where there is none; returns whether there is room."""
        if self._next is not None or self._offset + LARGEST_OPENING <= self._opening_end:
            return True
        return not self._tried and self._prepare()

    @property
    def _opening_end(self) -> int:
        return self._size - self._size // KEPT_FOR_CLOSES

    def names(self, fields: dict[str, str]) -> AttemptNames:
        """Makes the names of a kind of attempts; fields as in the record, but for the relay."""
        self._names += 1
        return AttemptNames(
            self._names,
            {"relay": self._relay, **{name: label(value) for name, value in fields.items()}},
        )

    def open_attempt(
        self, names: AttemptNames, *, attempt: int, stream: bool, call_id: str, request_id: str
    ) -> bytes:
        """Writes that an attempt is about to be sent; returns what its closing begins with."""
        self.opened += 1
        end = self._end_of_room(OPENED, names)
        opening = _write_opened(
            self._map,
            self._offset,
            end,
            names.number,
            _time_ns() // 1000,
            attempt,
            stream,
            call_id,
            request_id,
        )
        if not self._wrote(opening, end) and not self._append(OPENED, names, opening):
            self.dropped_opened += 1
        return opening

    def close_attempt(self, names: AttemptNames, opening: bytes, closing: Closing) -> None:
        """Writes how an attempt ended."""
        self.closed += 1
        end = self._end_of_room(CLOSED, names)
        body = write_closing(
            self._map, self._offset, end, names=names.number, opening=opening, closing=closing
        )
        if not self._wrote(body, end) and not self._append(CLOSED, names, body):
            self.dropped_closed += 1

    def tick(self, now: float) -> None:
        """Makes room before it is needed; call it every second."""
        if self._next is None and self._offset > self._size // 2:
            self._prepare()
        old = now - self._born > ROLL_SECONDS and self._offset > FIRST_OFFSET
        if old and (self._next is not None or self._prepare()):
            self._advance(now)
        if self._segment is None:
            self._advance(now)

    def end(self) -> None:
        """Lets go of the segments; nothing may be written any more."""
        for segment in (self._segment, self._next):
            if segment is not None:
                segment.close()
        self._segment = self._next = None
        self._map = _NO_SEGMENT
        self._offset = self._size
        self._tried = True

    # -- segments --------------------------------------------------------------------------------------------------

    def _end_of_room(self, kind: int, names: AttemptNames) -> int:
        """Returns where the room for a record ends; 0 where its names have to come first, or the next segment."""
        if names.segment != self._number or self._segment is None:
            return 0
        return self._opening_end if kind == OPENED and self._next is None else self._size

    def _wrote(self, body: bytes, end: int) -> bool:
        """Goes on behind a record; returns False for one that had no room before `end`, so that it was not written."""
        following = self._offset + record_bytes(len(body))
        if following > end:
            return False
        self._offset = following
        return True

    def _append(self, kind: int, names: AttemptNames, body: bytes) -> bool:
        """Writes a record that had no room at once, with its names where they are not in the segment yet."""
        size = record_bytes(len(body))
        needed = size if names.segment == self._number else size + names.size
        most = self._size
        if kind == OPENED and self._next is None:
            most = self._opening_end
        if self._offset + needed > most and not self._make_room(size + names.size):
            return False
        if names.segment != self._number:
            self._write(names.record())
            names.segment = self._number
        self._write(sealed(kind, names.number, body))
        return True

    def _write(self, record: bytes) -> None:
        start = self._offset
        end = start + len(record)
        self._map[start:end] = record
        self._offset = (end + 7) & ~7

    def _make_room(self, needed: int) -> bool:
        """Finds room for a record with its names, in this segment or the next; returns False if there is none."""
        if self._next is None and (self._tried or not self._prepare()):
            return False
        if self._offset + needed > self._size:
            self._advance(time.monotonic())
        return True

    def _prepare(self) -> bool:
        """Makes the next segment; returns False if it cannot, until a tick has tried again."""
        name = segment_name(self._writer, self._number + 1)
        try:
            self._next = make_segment(
                self._directory, name, size=self._size, most=self._most_segments
            )
        except NoRoom as error:
            self._tried = True
            self.trouble = str(error)
            return False
        self._tried = False
        self.trouble = ""
        return True

    def _advance(self, now: float) -> None:
        """Goes on in the next segment, if there is one."""
        following = self._next
        if following is None:
            return
        former, self._segment, self._next = self._segment, following, None
        self._map = following.map
        self._offset = FIRST_OFFSET
        self._number += 1
        self._born = now
        if former is not None:
            # after the next one has its lock: this writer is never without
            former.close()
