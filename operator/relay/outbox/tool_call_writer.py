"""Writes the records of one worker's tool calls into files of their own, so that they take no room from those of attempts.

A call has its line of the contract twice: as unknown before it may leave, and as it ended. Tools are called hundreds of times a second, not
tens of thousands, and most tenants have none: a segment is made when it is needed.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from relay.outbox.attempt_names import label
from relay.outbox.record_format import (
    FIRST_OFFSET,
    NO_NAMES,
    TOOL_CALL_ENDED,
    TOOL_CALL_OPENED,
    record_bytes,
    sealed,
    tool_call_body,
)
from relay.outbox.segment_files import NoRoom, WritableSegment, make_segment, segment_name

DIRECTORY: Final = "tool-calls"
"""Inside the outbox, where nobody looks for segments of attempts."""
TOOL_SEGMENT_BYTES: Final = 256 * 1024
MOST_TOOL_SEGMENTS: Final = 32
"""Of all workers: 8 MiB, some 6,000 calls."""
KEPT_FOR_ENDS: Final = 8
"""The part of the last segment, an eighth, for the ends of calls when none is opened any more."""
ROLL_SECONDS: Final = 3600.0


class ToolCallWriter:
    """Some per worker, which differ in their suffix; relay is the name of its pod. Times are monotonic seconds. most_segments bounds those of
    all writers of the directory. trouble says why there is no room; dropped counts ends that had none."""

    __slots__ = (
        "_born",
        "_directory",
        "_most_segments",
        "_number",
        "_offset",
        "_segment",
        "_size",
        "_tried",
        "_under_way",
        "_writer",
        "dropped",
        "relay",
        "trouble",
    )

    def __init__(
        self,
        directory: Path,
        *,
        relay: str,
        most_segments: int = MOST_TOOL_SEGMENTS,
        segment_bytes: int = TOOL_SEGMENT_BYTES,
        suffix: str = "",
    ) -> None:
        self._directory = directory / DIRECTORY
        self.relay = label(relay)
        self._most_segments = most_segments
        self._writer = f"{time.time_ns():020d}-{os.getpid()}{suffix}"
        self._number = 0
        self._segment: WritableSegment | None = None
        self._size = segment_bytes
        self._offset = segment_bytes
        self._born = 0.0
        self._under_way = 0
        # and in vain, since the last tick
        self._tried = False
        self.dropped = 0
        self.trouble = ""

    def opened(self, call: str, called_at: int, line: bytes) -> None:
        """Writes that a call may be sent to its server; call is the id of its record, called_at in microseconds since 1970."""
        self._under_way += 1
        self._append(TOOL_CALL_OPENED, call, called_at, line)

    def ended(self, call: str, called_at: int, line: bytes, *, was_opened: bool) -> None:
        """Writes how a call ended."""
        if was_opened:
            self._under_way -= 1
        if not self._append(TOOL_CALL_ENDED, call, called_at, line):
            self.dropped += 1

    def tick(self, now: float) -> None:
        """Looks for room again, and ends an old segment that nothing is under way in; call it every second."""
        self._tried = False
        old = self._segment is not None and now - self._born > ROLL_SECONDS
        if old and not self._under_way and self._offset > FIRST_OFFSET:
            self.end()

    def end(self) -> None:
        """Lets go of the segment."""
        if self._segment is not None:
            self._segment.close()
        self._segment = None
        self._offset = self._size

    def _append(self, kind: int, call: str, called_at: int, line: bytes) -> bool:
        body = tool_call_body(call, called_at, line)
        record, size = sealed(kind, NO_NAMES, body), record_bytes(len(body))
        kept = self._size // KEPT_FOR_ENDS if kind == TOOL_CALL_OPENED else 0
        if self._offset + size > self._size - kept and not self._advance():
            return False
        segment = self._segment
        if segment is None:
            return False
        start = self._offset
        segment.map[start : start + len(record)] = record
        self._offset = start + size
        return True

    def _advance(self) -> bool:
        """Goes on in another segment; returns False if there can be none, until a tick has let it be tried again."""
        if self._tried:
            return False
        name = segment_name(self._writer, self._number + 1)
        try:
            with contextlib.suppress(OSError):
                self._directory.mkdir(exist_ok=True)
            following = make_segment(
                self._directory, name, size=self._size, most=self._most_segments
            )
        except NoRoom as error:
            self._tried = True
            self.trouble = str(error)
            return False
        # after the next one has its lock: this writer is never without while a call is under way
        self.end()
        self._segment = following
        self._offset = FIRST_OFFSET
        self._number += 1
        self._born = time.monotonic()
        self.trouble = ""
        return True
