"""The mean of something per answer, and how certain it is.

Tokens and costs have no bound and heavy tails, so what is said of them is asymptotic: a confidence sequence for the mean (Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas 2024, arXiv 2103.06476), from sums per tick, valid at any time once there are many.
"""

from math import exp, log, sqrt
from typing import Final

FEWEST_TICKS: Final = 30
FEWEST_ANSWERS: Final = 100.0
_ALPHA: Final = 0.0005
"""For one side and one figure."""
_TIGHTEST_AT: Final = 500.0
_RHO_SQUARED: Final = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / _TIGHTEST_AT


class MeanPerAnswer:
    """The mean of a side, from sums of ticks."""

    __slots__ = ("answers", "squares", "ticks", "total")

    def __init__(self) -> None:
        self.answers = self.total = self.squares = 0.0
        self.ticks = 0

    def add(self, answers: float, total: float) -> None:
        """Adds the sum of one tick."""
        if answers > 0:
            self.answers += answers
            self.total += total
            self.squares += total * total / answers
            self.ticks += 1

    @property
    def mean(self) -> float:
        """Returns the total per answer."""
        return self.total / self.answers if self.answers else 0.0

    @property
    def is_known(self) -> bool:
        """Tells whether there are enough answers to say how certain the mean is."""
        enough = self.ticks >= FEWEST_TICKS and self.answers >= FEWEST_ANSWERS
        return enough and self.total > 0

    @property
    def log_radius(self) -> float:
        """Returns how far the logarithm of the true mean may be away."""
        count, mean = self.answers, self.mean
        variance = max(self.squares - self.total * mean, 0.0) / (self.ticks - 1)
        grown = count * _RHO_SQUARED + 1
        width = sqrt(2 * grown / (count * count * _RHO_SQUARED) * log(sqrt(grown) / _ALPHA))
        return sqrt(variance) / mean * width


def certain_increase(of: MeanPerAnswer, over: MeanPerAnswer) -> float:
    """Returns by how many percent one mean is above another for certain, 0 while that is not known."""
    if not (of.is_known and over.is_known):
        return 0.0
    certain = log(of.mean / over.mean) - of.log_radius - over.log_radius
    return 100 * (exp(certain) - 1) if certain > 0 else 0.0
