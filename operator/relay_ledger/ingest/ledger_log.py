"""Log lines of the ledger as JSON on standard output; what callers or an outage can cause again and again is counted."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from relay_contract.log_lines.library_log import place_of
from relay_contract.log_lines.repeated_lines import RepeatedLines

Write = Callable[..., None]
"""Writes a log line: an event and its fields."""


class LedgerLog:
    """Fields are ids, numbers and what databases say: never tokens, and no line of a record."""

    def __init__(self, write: Write | None = None) -> None:
        self._write = _write_line if write is None else write
        self._repeated = RepeatedLines(lambda _, event, told: self._write(event, **told))

    def event(self, event: str, **fields: Any) -> None:
        """Writes a line."""
        self._write(event, **fields)

    def repeated(
        self, event: str, *, by: tuple[str, ...] = (), burst: int = 1, **fields: Any
    ) -> None:
        """Writes a line that may come again and again: the first ones at once, then how many there were, by the fields named."""
        self._repeated.note(time.monotonic(), "", event, fields, by=by, burst=burst)

    def of_library(self, level: str, event: str, *, by: tuple[str, ...], **fields: Any) -> None:
        """Writes a line of a library."""
        self.repeated(event, by=by, level=level, **fields)

    def database_away(self, error: Exception) -> None:
        """Tells that the database does not answer, and later for how long it did not."""
        self.repeated("database_away", detail=str(error).split("\n")[0])

    def failed(self, error: Exception) -> None:
        """Tells that work which nobody asked for failed, by its place: the text may hold what is nobody's business."""
        place = place_of(error.__traceback__)
        self.repeated("failed", by=("type", "place"), type=type(error).__name__, place=place)

    def tick(self) -> None:
        """Writes what was counted of repeated lines; call it about once a second."""
        self._repeated.tick(time.monotonic())


def _write_line(event: str, **fields: Any) -> None:
    line = {"ts": round(time.time(), 6), "event": event, **fields}
    text = json.dumps(line, ensure_ascii=False)
    # what is told of must not end the work that it is told of
    sys.stdout.write(text.encode(errors="backslashreplace").decode() + "\n")
    sys.stdout.flush()
