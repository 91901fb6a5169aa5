"""Logs exceptions that no code expected: where each was raised, and never what it was about."""

import time
from types import TracebackType
from typing import Final

from relay.accounting.logs import Log

SECONDS_BETWEEN_LINES: Final = 10.0
MAX_PLACES: Final = 200
"""Places are lines of this program and its libraries; the bound only guards against surprises."""


class ExceptionLog:
    """Writes at most one line per kind of exception and place in ten seconds, with the number left out since.

    An exception's text may hold what a caller sent, so only its type and its place are written.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._written_at: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def note(self, error: BaseException) -> None:
        """Logs one exception, unless its kind was logged a moment ago."""
        kind = (type(error).__name__, place_of(error.__traceback__))
        now = time.monotonic()
        if now - self._written_at.get(kind, -SECONDS_BETWEEN_LINES) < SECONDS_BETWEEN_LINES:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        if len(self._written_at) < MAX_PLACES:
            self._written_at[kind] = now
        left_out = self._left_out.pop(kind, 0)
        self._log.event(
            "error", "internal_error", type=kind[0], place=kind[1], left_out_before=left_out
        )


def place_of(trace: TracebackType | None) -> str:
    """Returns module and line of the innermost frame, and of the innermost one of this program."""
    ours = innermost = ""
    while trace is not None:
        frame = trace.tb_frame
        innermost = f"{frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        if innermost.startswith("relay"):
            ours = innermost
        trace = trace.tb_next
    return innermost if ours in ("", innermost) else f"{ours} in {innermost}"
