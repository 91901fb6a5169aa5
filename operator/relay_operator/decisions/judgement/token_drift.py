"""Finds that the canary reports more or fewer tokens for an answer than stable.

Token counts have no bound and heavy tails, so the test is asymptotic: a confidence sequence for the mean of each side
(Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, arXiv 2103.06476), from sums per tick, valid at any time once there are
many.
"""

from math import exp, log, sqrt
from typing import Final

FEWEST_TICKS: Final = 30
FEWEST_ANSWERS: Final = 100.0
_ALPHA: Final = 0.0005
"""For one side and one kind of tokens."""
_TIGHTEST_AT: Final = 500.0
_RHO_SQUARED: Final = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / _TIGHTEST_AT


class TokenMean:
    """The mean of a side's tokens per answer, and how certain it is."""

    __slots__ = ("answers", "squares", "ticks", "tokens")

    def __init__(self) -> None:
        self.answers = self.tokens = self.squares = 0.0
        self.ticks = 0

    def add(self, answers: float, tokens: float) -> None:
        """Adds the sum of one tick."""
        if answers > 0:
            self.answers += answers
            self.tokens += tokens
            self.squares += tokens * tokens / answers
            self.ticks += 1

    @property
    def mean(self) -> float:
        """Returns the tokens per answer."""
        return self.tokens / self.answers if self.answers else 0.0

    @property
    def is_known(self) -> bool:
        """Tells whether there are enough answers to say how certain the mean is."""
        enough = self.ticks >= FEWEST_TICKS and self.answers >= FEWEST_ANSWERS
        return enough and self.tokens > 0

    @property
    def log_radius(self) -> float:
        """Returns how far the logarithm of the true mean may be away."""
        count, mean = self.answers, self.mean
        variance = max(self.squares - self.tokens * mean, 0.0) / (self.ticks - 1)
        grown = count * _RHO_SQUARED + 1
        width = sqrt(2 * grown / (count * count * _RHO_SQUARED) * log(sqrt(grown) / _ALPHA))
        return sqrt(variance) / mean * width


class TokenDrift:
    """Both sides' tokens of one kind in a run."""

    __slots__ = ("canary", "stable")

    def __init__(self) -> None:
        self.canary, self.stable = TokenMean(), TokenMean()

    @property
    def percent(self) -> float:
        """Returns by how much the canary's mean differs from stable's, 0 while one of them is unknown."""
        if not self.canary.mean or not self.stable.mean:
            return 0.0
        return 100 * (self.canary.mean / self.stable.mean - 1)

    @property
    def least_percent(self) -> float:
        """Returns by how much the means differ for certain, up or down, without a sign."""
        if not (self.canary.is_known and self.stable.is_known):
            return 0.0
        apart = log(self.canary.mean / self.stable.mean)
        certain = abs(apart) - self.canary.log_radius - self.stable.log_radius
        if certain <= 0:
            return 0.0
        # down to a fifth is a drift of 80 %, not of 400 %
        return 100 * (1 - exp(-certain) if apart < 0 else exp(certain) - 1)
