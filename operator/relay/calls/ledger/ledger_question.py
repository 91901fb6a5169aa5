"""A question to the ledger and its answer."""

from typing import Final

OK: Final = 200
NO_ANSWER: Final = 0


class LedgerQuestion:
    """A request to the ledger; target is a path and a query, seconds the most that it may take."""

    __slots__ = ("body", "method", "seconds", "target")

    def __init__(self, *, method: str, target: str, body: bytes, seconds: float) -> None:
        self.method = method
        self.target = target
        self.body = body
        self.seconds = seconds


class LedgerAnswer:
    """What came back. status is 0 where nothing did; retry_after is in seconds."""

    __slots__ = ("body", "retry_after", "status")

    def __init__(self, status: int, body: bytes = b"", retry_after: float | None = None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after
