"""The provider's own request quota: a token bucket that returns how long to wait."""


class Quota:
    """A bucket of at most burst calls that starts full and refills at requests_per_minute. Times in monotonic seconds."""

    def __init__(self, *, requests_per_minute: int, burst: int | None, now: float) -> None:
        self.limit = requests_per_minute
        self._rate = requests_per_minute / 60
        self._capacity = float(burst if burst is not None else max(1, requests_per_minute // 60))
        self._level = self._capacity
        self._updated = now

    def take(self, now: float) -> float:
        """Takes a call and returns 0, or returns the seconds until one is left."""
        self._refill(now)
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._rate

    def remaining(self, now: float) -> int:
        """Returns how many calls would pass at once."""
        self._refill(now)
        return int(self._level)

    def reset_seconds(self, now: float) -> float:
        """Returns the seconds until the bucket is full again."""
        self._refill(now)
        return (self._capacity - self._level) / self._rate

    def _refill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now
