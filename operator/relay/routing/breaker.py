"""The per-route breaker: a canary that fails hard loses its traffic to stable within milliseconds."""

from enum import Enum
from typing import Final

from relay_contract.document import Breaker as BreakerConfig

SLICES: Final = 10
"""The window slides in tenths: a failure counts for 0.9 to 1.0 of the window."""


class BreakerState(Enum):
    """closed: traffic passes. open: none does. half_open: one probe is under way."""

    closed = "closed"
    open = "open"
    half_open = "half_open"


MOVES: Final = frozenset(
    {
        (BreakerState.closed, BreakerState.open),
        (BreakerState.open, BreakerState.half_open),
        (BreakerState.half_open, BreakerState.closed),
        (BreakerState.half_open, BreakerState.open),
    }
)
"""Every legal move; `CanaryBreaker` makes no other."""


class CanaryBreaker:
    """State of one route's canary in one process. Times are monotonic seconds, given by the caller."""

    __slots__ = ("_config", "_failed", "_finished", "_open_until", "_slice", "state", "trips")

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._finished = [0] * SLICES
        self._failed = [0] * SLICES
        self._slice = 0
        self._open_until = 0.0
        self.state = BreakerState.closed
        self.trips = 0

    def reconfigure(self, config: BreakerConfig) -> None:
        """Applies new figures; what was counted stays."""
        self._config = config

    def try_pass(self, now: float) -> bool:
        """Lets a call through to the canary, or returns False; the first one after the open time is the probe."""
        if self.blocks(now):
            return False
        if self.state is BreakerState.open and self._config.enabled:
            self._move(BreakerState.half_open)
        return True

    def blocks(self, now: float) -> bool:
        """Returns whether `try_pass` would return False now."""
        if self.state is BreakerState.closed or not self._config.enabled:
            return False
        return self.state is BreakerState.half_open or now < self._open_until

    def finished(self, *, failed: bool, probe: bool, now: float) -> bool:
        """Counts an attempt at the canary that ended; returns True if it tripped the breaker.

        probe: it was admitted while half open. Other attempts that end then began before the trip and say nothing new.
        """
        if self.state is BreakerState.half_open:
            return probe and self._probed(failed=failed, now=now)
        self._advance(now)
        place = self._slice % SLICES
        self._finished[place] += 1
        if not failed:
            return False
        self._failed[place] += 1
        if self.state is BreakerState.closed and self._config.enabled and self._exceeded():
            self._trip(now)
            return True
        return False

    def cancelled(self, *, probe: bool) -> None:
        """Notes an attempt that ended without a verdict; if it was the probe, the next caller probes."""
        if probe and self.state is BreakerState.half_open:
            self._move(BreakerState.open)

    def follow(self, now: float) -> None:
        """Opens because another process of this pod tripped; that one counts the trip."""
        if self.state is not BreakerState.open:
            self._open(now)

    def _trip(self, now: float) -> None:
        self.trips += 1
        self._open(now)

    def _open(self, now: float) -> None:
        self._move(BreakerState.open)
        self._open_until = now + self._config.open_seconds
        self._finished = [0] * SLICES
        self._failed = [0] * SLICES

    def _probed(self, *, failed: bool, now: float) -> bool:
        if failed:
            self._trip(now)
            return True
        self._move(BreakerState.closed)
        return False

    def _exceeded(self) -> bool:
        failed, finished = sum(self._failed), sum(self._finished)
        return (
            failed >= self._config.min_failures
            and failed * 100 >= self._config.failure_percent * finished
        )

    def _advance(self, now: float) -> None:
        current = int(now / self._config.window_seconds * SLICES)
        for index in range(max(self._slice + 1, current - SLICES + 1), current + 1):
            self._finished[index % SLICES] = 0
            self._failed[index % SLICES] = 0
        self._slice = max(self._slice, current)

    def _move(self, target: BreakerState) -> None:
        assert (self.state, target) in MOVES, (self.state, target)
        self.state = target
