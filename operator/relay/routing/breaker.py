"""The per-route breaker: a canary that fails hard loses its traffic to stable within milliseconds."""

import math
from enum import Enum
from typing import Final

from relay_contract.document import Breaker as BreakerConfig

SLICES: Final = 10
"""The window slides in tenths: a failure counts for 0.9 to 1.0 of the window."""
FAILURES_IN_A_ROW: Final = 5
"""So many failures without a success between them trip the breaker at any rate of calls: at 1 % failures they come by chance
once in 10^10."""
FIRST_OPEN_SECONDS: Final = 1.0
"""From the first trip to its probe: a burst soon gives the canary back, and a dead canary is soon certain. Each further trip
doubles the time, up to the configured one."""


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
    """State of one route's canary in one process. Times are monotonic seconds, given by the caller.

    failed_probes counts the probes that failed since the breaker was last closed while stable did not: from the first on the canary, and
    not a burst or what both sides share, is what fails. trips are those that were counted before. stable_fails tells that the last
    call of stable failed: since the breaker opened it has all of them.
    """

    __slots__ = (
        "_closed_at",
        "_config",
        "_failed",
        "_finished",
        "_in_a_row",
        "_open_until",
        "_openings",
        "_slice",
        "failed_probes",
        "stable_fails",
        "state",
        "trips",
    )

    def __init__(self, config: BreakerConfig, *, trips: int = 0) -> None:
        self._config = config
        self._finished = [0] * SLICES
        self._failed = [0] * SLICES
        self._slice = 0
        self._in_a_row = 0
        self._open_until = 0.0
        self._openings = 0
        self._closed_at = -math.inf
        self.state = BreakerState.closed
        self.trips = trips
        self.failed_probes = 0
        self.stable_fails = False

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
            self._in_a_row = 0
            return False
        self._failed[place] += 1
        self._in_a_row += 1
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
        longest = self._config.open_seconds
        if self.state is BreakerState.closed and now - self._closed_at >= longest:
            self._openings = 0
        self._move(BreakerState.open)
        self._open_until = now + min(longest, FIRST_OPEN_SECONDS * 2.0 ** min(self._openings, 16))
        self._openings += 1
        self._in_a_row = 0
        self._finished = [0] * SLICES
        self._failed = [0] * SLICES

    def _probed(self, *, failed: bool, now: float) -> bool:
        if failed:
            self.failed_probes += not self.stable_fails
            self._trip(now)
            return True
        self._move(BreakerState.closed)
        self._closed_at = now
        self.failed_probes = 0
        return False

    def _exceeded(self) -> bool:
        if self._in_a_row >= FAILURES_IN_A_ROW:
            return True
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
