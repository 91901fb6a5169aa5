"""Calls that a side refused as their callers' mistakes, compared between the sides.

A caller's mistake is refused by either side alike, so only what the canary refuses beyond stable is the canary's own doing.
The calls of one session go to one side: a caller that repeats its mistake adds to the share of that side alone, so a small
excess holds the canary and only a large one rolls it back.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

_LARGE_SHARE = 0.5
"""So much of its calls, beyond stable's share, a canary does not refuse for the mistakes of a few callers."""
_STABLE_NATS = math.log(1e3)
_EXCESS_NATS = math.log(1e5)
"""Natural logarithms of how improbable counts must be by chance. The window is looked at again every tick, hence the second."""
_BISECTIONS = 40


class Excess(StrEnum):
    NONE = "none"
    SOME = "some"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many of a side's finished calls were refused."""

    refused: float
    finished: float

    @property
    def share(self) -> float:
        return self.refused / self.finished if self.finished else 0.0


def excess(canary: Refusals, stable: Refusals, *, tolerated: float) -> Excess:
    """Tells how certainly the canary refuses more than stable and a tolerated share of all calls.

    Without calls of stable nothing can be told: its share may be anything.
    """
    bound = _upper_bound(stable)
    if _improbability(canary, bound + _LARGE_SHARE) > _EXCESS_NATS:
        return Excess.LARGE
    if _improbability(canary, bound + tolerated) > _EXCESS_NATS:
        return Excess.SOME
    return Excess.NONE


def _upper_bound(side: Refusals) -> float:
    """Returns the largest share that is still probable."""
    low, high = side.share, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if side.finished * _divergence(side.share, middle) <= _STABLE_NATS:
            low = middle
        else:
            high = middle
    return high


def _improbability(side: Refusals, share: float) -> float:
    """Returns -ln of a bound on the probability of as many refusals at this share (Chernoff 1952); 0 below it."""
    if share >= 1 or side.share <= share:
        return 0.0
    return side.finished * _divergence(side.share, share)


def _divergence(observed: float, assumed: float) -> float:
    """Returns the Kullback-Leibler divergence of two shares."""
    total = 0.0
    for part, whole in ((observed, assumed), (1 - observed, 1 - assumed)):
        if part > 0:
            if whole <= 0:
                return math.inf
            total += part * math.log(part / whole)
    return total
