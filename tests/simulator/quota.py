"""The provider's own request quota: a token bucket that answers how long to stay away."""


class Quota:
    """Starts full. Refills at requests_per_minute, holds at most burst calls. Times in seconds, monotonic."""

    def __init__(self, *, requests_per_minute: int, burst: int | None, now: float) -> None:
        self.limit = requests_per_minute
        self._rate = requests_per_minute / 60
        self._capacity = float(burst if burst is not None else max(1, requests_per_minute // 60))
        self._level = self._capacity
        self._updated = now

    def take(self, now: float) -> float:
        """0 and one call fewer left, or the seconds until one is left."""
        self._refill(now)
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self._rate

    def remaining(self, now: float) -> int:
        """Calls that would pass at once."""
        self._refill(now)
        return int(self._level)

    def reset_seconds(self, now: float) -> float:
        """Seconds until the bucket is full again."""
        self._refill(now)
        return (self._capacity - self._level) / self._rate

    def _refill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now
