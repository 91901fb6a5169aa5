"""Log lines of the ledger as JSON on standard output; what callers or an outage can cause again and again is counted."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

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

    def tick(self) -> None:
        """Writes what was counted of repeated lines; call it about once a second."""
        self._repeated.tick(time.monotonic())


def _write_line(event: str, **fields: Any) -> None:
    line = {"ts": round(time.time(), 6), "event": event, **fields}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
