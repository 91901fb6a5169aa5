"""Evidence that a canary keeps to its bound: the same wager with the roles swapped.

The hypothesis is that at least a share of the attempts is bad; the alternatives are smaller shares. Reaching 1/alpha is a
certificate; a step may pass without one, and says so.
"""

from math import exp, log
from typing import Final

CERTIFIED_NATS: Final = log(1 / 0.05)
_FACTORS: Final = (0.01, 0.1, 0.25, 0.5)
"""The alternatives, as multiples of the hypothesis' odds."""
_LARGEST_NATS: Final = 500.0


class Certificate:
    """Log likelihood ratios of the alternatives since the step began, equal parts of the wealth on each."""

    __slots__ = ("gains",)

    def __init__(self) -> None:
        self.gains = [0.0] * len(_FACTORS)

    def tick(self, share: float, *, bad: float, good: float) -> None:
        """Takes in attempts; share is the largest that is still allowed, in (0, 1)."""
        odds = share / (1 - share)
        for index, factor in enumerate(_FACTORS):
            smaller = odds * factor / (1 + odds * factor)
            gain = bad * log(smaller / share) + good * log((1 - smaller) / (1 - share))
            self.gains[index] = min(max(self.gains[index] + gain, -_LARGEST_NATS), _LARGEST_NATS)

    @property
    def nats(self) -> float:
        """Returns the logarithm of the wealth."""
        top = max(self.gains)
        return top + log(sum(exp(gain - top) for gain in self.gains) / len(self.gains))
