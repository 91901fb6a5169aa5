"""Logs exceptions that no code expected: where each was raised, and never what it was about."""

from relay.accounting.logs import Log
from relay_contract.log_lines.library_log import place_of


class ExceptionLog:
    """Writes a line per kind of exception and place, of those that come again how many.

    An exception's text may hold what a caller sent, so only its type and its place are written.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def note(self, error: BaseException) -> None:
        """Logs one exception."""
        self._log.repeated(
            "error",
            "internal_error",
            by=("type", "place"),
            type=type(error).__name__,
            place=place_of(error.__traceback__),
        )
