"""Guards against failures that come together: a burst is one event, however many attempts it takes.

Both only make bets smaller, and are known before the tick that they apply to, so the evidence stays valid with them.
"""

from typing import Final

KEPT: Final = 1.0
PER_SECOND: Final = 1.0
LONGEST_SECONDS: Final = 2.0
"""A longer pause between scrapes allows no more: one burst may be all that it hid."""
EXPECTED_FACTOR: Final = 3.0

BLOCK_SECONDS: Final = 2.0
BLOCKS: Final = 30
PRIOR_FAILURES: Final = 5.0
LARGEST_SIZE: Final = 10.0


class Allowance:
    """Limits how many independent failures one moment, however bad, may count for."""

    __slots__ = ("_per_second", "level")

    def __init__(self, per_second: float = PER_SECOND) -> None:
        self.level = KEPT
        self._per_second = per_second

    def take(self, failures: float, *, seconds: float, expected: float) -> float:
        """Returns how many of the failures count. expected is how many the hypothesis leads to expect."""
        allowed = self.level + self._per_second * min(seconds, LONGEST_SECONDS)
        allowed += EXPECTED_FACTOR * expected
        counted = min(failures, allowed)
        self.level = min(KEPT, allowed - counted)
        return counted


class ClusterSize:
    """The mean size of a cluster of failures: variance over mean of the counts per block within a minute, 1 or more.

    Learned at the end of a minute only; a change of level between minutes does not enter.
    """

    __slots__ = ("_block", "_count", "_squares", "_total", "failures", "size", "spread")

    def __init__(self, *, spread: float = 0.0, failures: float = 0.0) -> None:
        self._block = self._total = self._squares = 0.0
        self._count = 0
        self.spread, self.failures = spread, failures
        self.size = self._size()

    def add(self, failures: float) -> None:
        """Counts failures of the present block."""
        self._block += failures

    def end_block(self) -> None:
        """Begins the next block."""
        self._total += self._block
        self._squares += self._block * self._block
        self._block = 0.0
        self._count += 1
        if self._count >= BLOCKS:
            within = self._squares - self._total * self._total / BLOCKS
            self.spread += within * BLOCKS / (BLOCKS - 1)
            self.failures += self._total
            self._total = self._squares = 0.0
            self._count = 0
            self.size = self._size()

    def _size(self) -> float:
        size = (PRIOR_FAILURES + self.spread) / (PRIOR_FAILURES + self.failures)
        return min(max(size, 1.0), LARGEST_SIZE)
