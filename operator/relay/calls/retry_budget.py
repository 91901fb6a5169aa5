"""Bounds the further attempts of a relay, so that a failing provider does not get more load."""


class RetryBudget:
    """A bucket: every call deposits `ratio`, every further attempt takes one; never above `burst`."""

    __slots__ = ("_burst", "_ratio", "_tokens")

    def __init__(self, *, ratio: float, burst: int) -> None:
        self._ratio = ratio
        self._burst = float(burst)
        self._tokens = self._burst

    def deposit(self) -> None:
        """Adds the part of one call."""
        self._tokens = min(self._burst, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Takes one further attempt from the budget; returns False if there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
