"""Writes the records of one worker's attempts: into memory that belongs to a file, so that they outlive the process."""

import os
import time
from pathlib import Path
from typing import Any, Final

from relay.outbox.attempt_closing import Closing, write_closing
from relay.outbox.attempt_names import MAX_NAMES_BYTES, AttemptNames, label
from relay.outbox.record_format import (
    CLOSED,
    EXPECTED,
    FIRST_OFFSET,
    MAX_RECORD_BYTES,
    MAX_TEXT_BYTES,
    OPENED,
    OPENING_BYTES,
    record_bytes,
)
from relay.outbox.record_writing import Place
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
    OPENING_BYTES + MAX_TEXT_BYTES + EXPECTED.size
)
"""Bytes of an opened record with its names, all labels at their longest."""
SOON_FULL_SECONDS: Final = 2.0
"""A segment that follows one of this age is taken to be full as soon."""
ROLL_SECONDS: Final = 3600.0
"""A segment is ended at this age, so that no file holds what was delivered long ago."""


class AttemptWriter:
    """One per worker. most_segments bounds those of all writers of the directory; relay is the name of this pod.

    trouble says why the next segment cannot be made; the counts are since the start.
    """

    __slots__ = (
        "_born",
        "_directory",
        "_most_segments",
        "_names",
        "_next",
        "_number",
        "_place",
        "_relay",
        "_segment",
        "_size",
        "_tried",
        "_write_opened",
        "_write_reported",
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
        self._size = segment_bytes
        self._place = place = _no_place()
        # bound once, since each call needs them
        self._write_opened: Any = place.write_opened
        self._write_reported: Any = place.write_reported
        self._born = now
        self.opened = self.closed = self.dropped_opened = self.dropped_closed = 0
        # and in vain, since the last tick
        self._tried = False
        self.trouble = ""
        self._prepare()
        self._advance(now)

    def ensure_room(self, *, waiting: int = 0) -> bool:
        """Makes room for opening an attempt, whatever its names, where there is none; returns whether there is room.

        waiting is the number of records that are about to be written.
        """
        needed = (1 + waiting) * LARGEST_OPENING
        if self._next is not None or self._offset + needed <= self._openings_end:
            return True
        return not self._tried and self._prepare()

    @property
    def _offset(self) -> int:
        """Returns where the next record goes; the end where there is no segment."""
        return self._size if self._segment is None else self._place.offset

    @property
    def _openings_end(self) -> int:
        """Returns where the room for openings ends."""
        return self._size if self._next is not None else self._size - self._size // KEPT_FOR_CLOSES

    def names(self, fields: dict[str, str]) -> AttemptNames:
        """Makes the names of a kind of attempts; fields as in the record, but for the relay."""
        self._names += 1
        return AttemptNames(
            self._names,
            {"relay": self._relay, **{name: label(value) for name, value in fields.items()}},
        )

    def open_attempt(
        self,
        names: AttemptNames,
        *,
        attempt: int,
        stream: bool,
        call_id: str,
        request_id: str,
        expected: tuple[int, int],
    ) -> bytes:
        """Writes that an attempt is about to be sent; returns what its closing begins with.

        expected are the most tokens of input and of output that it is expected to use.
        """
        self.opened += 1
        if names.segment == self._number:
            opening: bytes | None = self._write_opened(
                names.number, None, attempt, stream, call_id, request_id, expected[0], expected[1]
            )
            if opening is not None:
                return opening
        place, record = _spare_place()
        opening = place.write_opened(
            names.number, None, attempt, stream, call_id, request_id, expected[0], expected[1]
        )
        assert opening is not None
        if not self._append(OPENED, names, record[: place.offset]):
            self.dropped_opened += 1
        return opening

    def close_attempt(self, names: AttemptNames, opening: bytes, closing: Closing) -> None:
        """Writes how an attempt ended."""
        self.closed += 1
        number = names.number
        if names.segment == self._number and write_closing(self._place, number, opening, closing):
            return
        place, record = _spare_place()
        write_closing(place, number, opening, closing)
        self._append_closed(names, record[: place.offset])

    def close_with_report(
        self,
        names: AttemptNames,
        opening: bytes,
        *,
        seconds: float,
        status: int,
        delivered: bool,
        report: bytes,
        upstream_request_id: str | None,
    ) -> None:
        """Writes that an attempt ended well, whose answer said how much it used in a report (relay.dialect.usage.billed_usage.labels_of)."""
        self.closed += 1
        number = names.number
        if names.segment == self._number and self._write_reported(
            number, opening, seconds, status, delivered, report, upstream_request_id
        ):
            return
        place, record = _spare_place()
        place.write_reported(
            number, opening, seconds, status, delivered, report, upstream_request_id
        )
        self._append_closed(names, record[: place.offset])

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
        self._go_on_at(_no_place())
        self._tried = True

    # -- segments --------------------------------------------------------------------------------------------------

    def _append_closed(self, names: AttemptNames, record: bytearray) -> None:
        if not self._append(CLOSED, names, record):
            self.dropped_closed += 1

    def _append(self, kind: int, names: AttemptNames, record: bytearray) -> bool:
        """Writes a record that had no room at once, with its names where they are not in the segment yet."""
        size = len(record)
        needed = size if names.segment == self._number else size + names.size
        most = self._openings_end if kind == OPENED else self._size
        if self._offset + needed > most and not self._make_room(size + names.size):
            return False
        if names.segment != self._number:
            self._write(names.record())
            names.segment = self._number
        self._write(record)
        return True

    def _write(self, record: bytes | bytearray) -> None:
        segment = self._segment
        assert segment is not None
        start = self._place.offset
        end = start + len(record)
        segment.map[start:end] = record
        self._place.offset = (end + 7) & ~7

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
        age = time.monotonic() - self._born
        try:
            self._next = make_segment(
                self._directory,
                name,
                size=self._size,
                most=self._most_segments,
                filled=self._segment is not None and age < SOON_FULL_SECONDS,
            )
        except NoRoom as error:
            self._tried = True
            self.trouble = str(error)
            return False
        self._tried = False
        self.trouble = ""
        self._place.openings_end = self._openings_end
        return True

    def _advance(self, now: float) -> None:
        """Goes on in the next segment, if there is one."""
        following = self._next
        if following is None:
            return
        former, self._segment, self._next = self._segment, following, None
        self._go_on_at(following.place)
        self._place.openings_end = self._openings_end
        self._number += 1
        self._born = now
        if former is not None:
            # after the next one has its lock: this writer is never without
            former.close()

    def _go_on_at(self, place: Place) -> None:
        self._place = place
        self._write_opened = place.write_opened
        self._write_reported = place.write_reported


def _spare_place() -> tuple[Place, bytearray]:
    """Returns a place for one record, and the memory that it is in."""
    record = bytearray(MAX_RECORD_BYTES)
    return Place(record, 0, MAX_RECORD_BYTES), record


def _no_place() -> Place:
    """Returns a place where nothing fits."""
    return Place(bytearray(), 0, 0)
