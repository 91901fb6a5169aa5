"""Finds that the canary reports more or fewer tokens for an answer than stable."""

from math import exp, log
from typing import Final

from relay_operator.decisions.judgement.means.mean_per_answer import Pairs

LONG_BLOCK: Final = 128
"""Scrapes, some minutes."""


class TokenDrift(Pairs):
    """Both sides' tokens of one kind in a run."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(LONG_BLOCK)

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
