"""Takes over what libraries log: one bounded line, without the text, in place of tracebacks that callers could make them write."""

import logging
import time
from typing import Final, Literal

from relay.accounting.exception_log import place_of
from relay.accounting.logs import Log

SECONDS_BETWEEN_LINES: Final = 10.0
MAX_KINDS: Final = 200
"""Kinds are places in libraries; beyond the bound the others of a level share one."""
_Kind = tuple[Literal["warning", "error"], str, str, str]


class LibraryLog(logging.Handler):
    """Writes at most one line per level, logger, type of exception and place in ten seconds, with the number left out since.

    The text and the exception's own may hold what somebody sent, so neither is written.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._written_at: dict[_Kind, float] = {}
        self._left_out: dict[_Kind, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, unless its kind was written a moment ago."""
        kind = self._kind(record)
        now = time.monotonic()
        if now - self._written_at.get(kind, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._written_at[kind] = now
        level, logger, raised, place = kind
        self._log.event(
            level,
            "library_message",
            logger=logger,
            type=raised,
            place=place,
            left_out_before=self._left_out.pop(kind, 0),
        )

    def _kind(self, record: logging.LogRecord) -> _Kind:
        error = record.exc_info[1] if record.exc_info else None
        level: Literal["warning", "error"] = (
            "error" if record.levelno >= logging.ERROR else "warning"
        )
        place = f"{record.module}:{record.lineno}"
        kind = (level, record.name, "", place)
        if error is not None:
            place = place_of(error.__traceback__) or place
            kind = (level, record.name, type(error).__name__, place)
        if kind in self._written_at or len(self._written_at) < MAX_KINDS:
            return kind
        return (level, "other", "", "")


def take_over_library_logs(log: Log) -> None:
    """Sends warnings and errors of libraries in this process to the log, and nowhere else."""
    root = logging.getLogger()
    root.handlers = [LibraryLog(log)]
