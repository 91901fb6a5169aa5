"""A gambler's wealth against a hypothesis: evidence that may be looked at as often as one likes.

The hypothesis says that at most a share p of the attempts is bad. Before each tick the gambler spreads the wealth over
alternatives (larger shares) and cash, and is paid likelihood ratios. While the hypothesis holds, no bet gains on average:
the wealth is a supermartingale that begins at 1, so it ever reaches 1/alpha with probability alpha at most (Ville 1939).
The spread is a fixed share (Herbster and Warmuth 1998): a part of it returns to the prior between ticks, so that a fault
that begins late is found nearly as fast as one that was there from the start.
"""

from math import exp, log
from typing import Final

ODDS_FACTORS: Final = (1.4, 2.0, 3.0, 5.0, 10.0, 25.0, 100.0, 5000.0)
"""The alternatives, as multiples of the hypothesis' odds of a bad attempt."""
PRIOR: Final = (0.16, 0.06, 0.1, 0.1, 0.14, 0.1, 0.12, 0.02, 0.2)
"""The spread of the wealth at first: cash, which neither gains nor loses, then the alternatives."""
LEAST_RENEWED: Final = 1e-30
TROUBLE: Final = 3
"""Index of the alternative that tells when trouble began."""
SMALLEST_SHARE: Final = 1e-4
LARGEST_SHARE: Final = 0.999
"""A hypothesis of none or all cannot be bet against."""


class Odds:
    """Pay-offs of a bad and of a good attempt, in logarithms, on each alternative to a share."""

    __slots__ = ("pairs", "share", "trouble")

    def __init__(self, share: float) -> None:
        self.share = share = min(max(share, SMALLEST_SHARE), LARGEST_SHARE)
        odds = share / (1 - share)
        shares = [odds * factor / (1 + odds * factor) for factor in ODDS_FACTORS]
        # 1 - q = 1 / (1 + odds * factor), computed so that it never rounds to 0
        self.pairs = [
            (log(q / share), -log((1 + odds * factor) * (1 - share)))
            for q, factor in zip(shares, ODDS_FACTORS, strict=True)
        ]
        self.trouble = self.pairs[TROUBLE]


class Wealth:
    """The logarithm of the wealth, and how it is spread for the next bet."""

    __slots__ = ("log_wealth", "weights")

    def __init__(self) -> None:
        self.weights = list(PRIOR)
        self.log_wealth = 0.0

    def bet(self, odds: Odds, *, bad: float, good: float, renewed: float) -> None:
        """Takes in what came. bad and good count attempts; renewed is the part of the spread that returns to the prior."""
        weights = self.weights
        gains = [bad * b + good * g for b, g in odds.pairs]
        top = max(max(gains), 0.0)
        grown = [weights[0] * exp(-top)]
        grown += [weight * exp(gain - top) for weight, gain in zip(weights[1:], gains, strict=True)]
        total = sum(grown)
        self.log_wealth += log(total) + top
        # a weight of 0 could never win again
        renewed = max(renewed, LEAST_RENEWED)
        keep = (1.0 - renewed) / total
        self.weights = [
            weight * keep + renewed * prior for weight, prior in zip(grown, PRIOR, strict=True)
        ]

    def throw_away(self, most: float) -> None:
        """Gives up what exceeds the logarithm; that never makes evidence less valid."""
        self.log_wealth = min(self.log_wealth, most)
