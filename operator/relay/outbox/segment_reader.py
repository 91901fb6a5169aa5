"""Reads a segment while it is written, and whatever a killed process or a disk has left of it."""

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any, Final

from relay.outbox.record_format import (
    FIRST_OFFSET,
    HEADER_BYTES,
    MAGIC,
    MARK,
    MARK_OFFSET,
    NAMES,
    NO_NAMES,
    Found,
    record_at,
    record_bytes,
)
from relay.outbox.segment_files import is_written

WINDOW_BYTES: Final = 64 * 1024
"""Read at a time. No record is as long."""


class SegmentReader:
    """One segment. skipped_bytes counts those in which no record could be found.

    is_finished says that all of it was read, and outstanding how many of its records are to be delivered, which is for whoever
    reads it to count.
    """

    __slots__ = (
        "_descriptor",
        "_doubted",
        "_is_at_tail",
        "_map",
        "_names",
        "_offset",
        "_window",
        "_window_start",
        "is_finished",
        "outstanding",
        "path",
        "size",
        "skipped_bytes",
    )

    def __init__(self, path: Path) -> None:
        """Opens it; raises OSError or ValueError if there is nothing to read."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map: Any = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            os.close(self._descriptor)
            raise
        self.size = len(self._map)
        self._offset = self._window_start = FIRST_OFFSET
        self._window = b""
        self._doubted = -1
        self._is_at_tail = False
        self._names: dict[int, bytes] = {NO_NAMES: b""}
        self.skipped_bytes = 0
        self.outstanding = 0
        self.is_finished = False
        if self._map[:FIRST_OFFSET] != MAGIC:
            self.skipped_bytes += FIRST_OFFSET

    @property
    def unread_bytes(self) -> int:
        """Returns the bytes of records that were not read yet; the end of a segment is empty while it is written."""
        if self.is_finished or self._is_at_tail:
            return 0
        end = self._offset + HEADER_BYTES
        return self.size - self._offset if any(self._map[self._offset : end]) else 0

    def next(self, *, is_written: bool) -> Found | None:
        """Returns the next record but for names, None where none is complete yet; is_written says that more may come."""
        while True:
            found = self._record(self._offset)
            if found is None:
                if not self._skip(is_written=is_written):
                    self._is_at_tail = True
                    return None
                continue
            self._is_at_tail = False
            self._offset += record_bytes(len(found.body))
            if found.kind == NAMES:
                self._names[found.names] = found.body
            elif found.names in self._names:
                return found
            else:
                # its names were lost, so nobody can tell whose it is
                self.skipped_bytes += record_bytes(len(found.body))

    def names(self, number: int) -> bytes:
        """Returns the body of the names that go by this number; empty where there are none."""
        return self._names.get(number, b"")

    def is_written(self) -> bool:
        """Returns whether a process still writes to it."""
        return is_written(self._descriptor)

    def sync(self) -> None:
        """Has the system write to the disk what is only in memory."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fdatasync(self._descriptor)

    def finish(self) -> None:
        """Notes that all of it was read and nothing more comes: what waits for the ledger keeps no more than its file's name."""
        self.is_finished = True
        self.sync()
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor >= 0:
            self._map.close()
            os.close(self._descriptor)
            self._descriptor = -1
            self._window = b""

    def remove(self) -> None:
        """Removes the file: all of it is delivered."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()

    def _record(self, offset: int) -> Found | None:
        """Returns the record there: of the bytes that were read before, or else of what is there by now."""
        found = record_at(self._window, offset - self._window_start)
        if found is None:
            self._window = self._map[offset : offset + WINDOW_BYTES]
            self._window_start = offset
            found = record_at(self._window, 0)
        return found

    def _skip(self, *, is_written: bool) -> bool:
        """Goes on at the next record after what is none; returns False if there is no further one.

        While the segment is written that has to be seen twice: memory may show a later record first. What is far away is then left
        for later, since the rest of a segment is empty, and it is looked at twice a second.
        """
        start = self._offset + 1
        following = self._next_record(start, start + WINDOW_BYTES if is_written else self.size)
        if is_written and (following < 0 or self._doubted != self._offset):
            self._doubted = self._offset
            return False
        if following < 0:
            rest = self._map[self._offset :].rstrip(b"\0")
            self.skipped_bytes += len(rest)
            self._offset = self.size
            return False
        self.skipped_bytes += following - self._offset
        self._offset = following
        return True

    def _next_record(self, offset: int, end: int) -> int:
        # a copy, since mmap's own find compares byte by byte
        rest: bytes = self._map[offset:end]
        place = rest.find(MARK, MARK_OFFSET)
        while place >= 0:
            start = offset + place - MARK_OFFSET
            if start % 8 == 0 and record_at(rest, start - offset) is not None:
                return start
            place = rest.find(MARK, place + 1)
        return -1
