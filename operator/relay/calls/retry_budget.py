"""How many further attempts the relay may make, so that a failing provider is not met with more load."""


class RetryBudget:
    """A bucket: every call deposits `ratio`, every further attempt takes one; never above `burst`."""

    __slots__ = ("_burst", "_ratio", "_tokens")

    def __init__(self, *, ratio: float, burst: int) -> None:
        self._ratio = ratio
        self._burst = float(burst)
        self._tokens = self._burst

    def deposit(self) -> None:
        """A call arrived."""
        self._tokens = min(self._burst, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Whether one more attempt may be made; it is paid for then."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
