"""Reads the segments of all writers of an outbox, living and dead, and says what is to be delivered of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from relay.outbox.event_lines import EventLines, UnreadableRecord, opening_in
from relay.outbox.record_format import OPENED, Found, dispatched_at, record_bytes
from relay.outbox.segment_files import segments, writer_of
from relay.outbox.segment_reader import SegmentReader

OPEN_SECONDS: Final = 5.0
"""An attempt that has been under way for longer is delivered as opened; of most others the record closed says it all."""
MOST_OPEN: Final = 20_000
"""Attempts that are remembered as under way; beyond it the first of them are delivered as opened."""


class Parcel:
    """A line to deliver, when its attempt was sent in microseconds since 1970, and the segment that holds it."""

    __slots__ = ("dispatched_at", "line", "segment")

    def __init__(self, line: bytes, dispatched_at: int, segment: SegmentReader) -> None:
        self.line = line
        self.dispatched_at = dispatched_at
        self.segment = segment

    def delivered(self) -> None:
        """Notes that the ledger has it: a segment goes once it has all."""
        self.segment.outstanding -= 1


class OpenRecord:
    """An attempt or tool call of which only the beginning was read. is_taken: that was returned as a line."""

    __slots__ = ("found", "is_taken", "read_at", "segment")

    def __init__(self, found: Found, segment: SegmentReader, read_at: float) -> None:
        self.found = found
        self.segment = segment
        self.read_at = read_at
        self.is_taken = False


class Writer:
    """The segments of one writer that are still there, the oldest first, and what is under way of it."""

    __slots__ = ("has_ended", "known", "opened", "segments", "tail_reached")

    def __init__(self) -> None:
        self.segments: list[SegmentReader] = []
        self.known: set[str] = set()
        self.opened: dict[bytes, OpenRecord] = {}
        # nothing more was written when it was looked at last; and nobody was there to write
        self.tail_reached = self.has_ended = False


class OutboxReader:
    """One per outbox directory. Times are monotonic seconds.

    The counts are of what was read since the start: opened is closed, under_way and left_open, whose process ended before they
    did. An attempt whose beginning is not there any more was opened all the same. skipped_bytes are those in which no record
    could be found.
    """

    __slots__ = (
        "_directory",
        "_lines",
        "_skipped",
        "_writers",
        "closed",
        "left_open",
        "opened",
        "problems",
    )

    def __init__(self, directory: Path, tenant_uid: str) -> None:
        self._directory = directory
        self._lines = EventLines(tenant_uid)
        self._writers: dict[str, Writer] = {}
        self._skipped = 0
        self.opened = self.closed = self.left_open = 0
        self.problems: list[str] = []

    def read(self, now: float, *, most: int) -> list[Parcel]:
        """Returns about so many lines that were not returned yet, and removes segments that are delivered; raises OSError."""
        self._look()
        parcels: list[Parcel] = []
        for writer in list(self._writers.values()):
            self._read_writer(writer, parcels, now, most)
            if writer.tail_reached:
                self._take_overdue(writer, parcels, now)
            self._remove_delivered(writer)
        # the beginnings of attempts may be delivered already, and what became of them not be known yet
        self._writers = {
            name: one for name, one in self._writers.items() if one.segments or one.opened
        }
        return parcels

    def sync(self) -> None:
        """Has the system write to the disk what is only in memory."""
        for segment in self._segments():
            segment.sync()

    def close(self) -> None:
        """Lets go of all files."""
        for segment in self._segments():
            segment.close()
        self._writers = {}

    @property
    def skipped_bytes(self) -> int:
        """Returns the bytes in which no record could be found."""
        return self._skipped + sum(segment.skipped_bytes for segment in self._segments())

    @property
    def kept_bytes(self) -> int:
        """Returns the bytes of all segments."""
        return sum(segment.size for segment in self._segments())

    @property
    def unread_bytes(self) -> int:
        """Returns the bytes of records that were not read yet."""
        return sum(segment.unread_bytes for segment in self._segments())

    @property
    def under_way(self) -> int:
        """Returns the attempts that were opened, not closed, and whose process lives."""
        return sum(len(writer.opened) for writer in self._writers.values())

    def _segments(self) -> Iterator[SegmentReader]:
        for writer in self._writers.values():
            yield from writer.segments

    def _look(self) -> None:
        """Opens the segments that are new."""
        names = segments(self._directory)
        for name in names:
            writer = self._writers.setdefault(writer_of(name), Writer())
            if name in writer.known:
                continue
            writer.known.add(name)
            try:
                writer.segments.append(SegmentReader(self._directory / name))
            except (OSError, ValueError) as error:
                self.problems.append(f"{name}: {error}")

    def _read_writer(self, writer: Writer, parcels: list[Parcel], now: float, most: int) -> None:
        """Reads on where the writer's records go on: in a segment only once nothing more can come into the one before it."""
        writer.tail_reached = False
        for segment in writer.segments:
            if segment.is_finished:
                continue
            is_written = segment.is_written()
            while True:
                if len(parcels) >= most:
                    return
                found = segment.next(is_written=is_written)
                if found is None:
                    break
                self._take(writer, segment, found, parcels, now)
            if is_written:
                writer.tail_reached, writer.has_ended = True, False
                return
            segment.finish()
        # the writer may just have gone on in a segment that the next look shows
        writer.tail_reached = writer.has_ended
        writer.has_ended = True

    def _take(
        self,
        writer: Writer,
        segment: SegmentReader,
        found: Found,
        parcels: list[Parcel],
        now: float,
    ) -> None:
        try:
            opening = opening_in(found)
            if found.kind == OPENED:
                self._note_opened(writer, opening, OpenRecord(found, segment, now), parcels)
                return
            parcels.append(self._parcel(found, segment))
        except UnreadableRecord as error:
            self._give_up(found, segment, error)
            return
        segment.outstanding += 1
        self.closed += 1
        known = writer.opened.pop(opening, None)
        if known is None:
            self.opened += 1
        elif not known.is_taken:
            known.segment.outstanding -= 1

    def _note_opened(
        self, writer: Writer, opening: bytes, attempt: OpenRecord, parcels: list[Parcel]
    ) -> None:
        attempt.segment.outstanding += 1
        self.opened += 1
        writer.opened[opening] = attempt
        if len(writer.opened) > MOST_OPEN:
            self._take_opened(writer.opened.pop(next(iter(writer.opened))), parcels)
            self.left_open += 1

    def _take_overdue(self, writer: Writer, parcels: list[Parcel], now: float) -> None:
        """Takes attempts as opened that are under way for long, or that nobody can close any more."""
        for attempt in writer.opened.values():
            if not writer.has_ended and now - attempt.read_at < OPEN_SECONDS:
                break
            self._take_opened(attempt, parcels)
        if writer.has_ended:
            self.left_open += len(writer.opened)
            writer.opened = {}

    def _take_opened(self, attempt: OpenRecord, parcels: list[Parcel]) -> None:
        if attempt.is_taken:
            return
        attempt.is_taken = True
        try:
            parcels.append(self._parcel(attempt.found, attempt.segment))
        except UnreadableRecord as error:
            attempt.segment.outstanding -= 1
            self._give_up(attempt.found, attempt.segment, error)

    def _give_up(self, found: Found, segment: SegmentReader, error: UnreadableRecord) -> None:
        self._skipped += record_bytes(len(found.body))
        self.problems.append(f"{segment.path.name}: {error}")

    def _parcel(self, found: Found, segment: SegmentReader) -> Parcel:
        line = self._lines.line(found, segment.names(found.names))
        return Parcel(line, dispatched_at(found), segment)

    def _remove_delivered(self, writer: Writer) -> None:
        left: list[SegmentReader] = []
        for segment in writer.segments:
            if segment.is_finished and not segment.outstanding:
                self._forget(segment)
            else:
                left.append(segment)
        writer.segments = left

    def _forget(self, segment: SegmentReader) -> None:
        self._skipped += segment.skipped_bytes
        segment.remove()
