"""Takes over what libraries log: one bounded line, without the text, in place of tracebacks that callers could make them write."""

import logging
from collections.abc import Callable
from types import TracebackType

Repeated = Callable[..., None]
"""Writes or counts a line: its level, its event, the names of the fields that make its kind as `by`, and its fields."""


class LibraryLog(logging.Handler):
    """Writes a line per level, logger, type of exception and place in a library, and how many came again.

    The text and the exception's own may hold what somebody sent, so neither is written.
    """

    def __init__(self, repeated: Repeated) -> None:
        super().__init__(logging.WARNING)
        self._repeated = repeated

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, unless its kind was written a moment ago."""
        error = record.exc_info[1] if record.exc_info else None
        place = f"{record.module}:{record.lineno}"
        if error is not None:
            place = place_of(error.__traceback__) or place
        self._repeated(
            "error" if record.levelno >= logging.ERROR else "warning",
            "library_message",
            by=("logger", "type", "place"),
            logger=record.name,
            type="" if error is None else type(error).__name__,
            place=place,
        )


def take_over_library_logs(repeated: Repeated) -> None:
    """Sends warnings and errors of libraries in this process to the log, and nowhere else."""
    root = logging.getLogger()
    root.handlers = [LibraryLog(repeated)]


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
