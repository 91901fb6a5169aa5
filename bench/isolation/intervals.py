"""Percentiles, their differences and confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Final

RESAMPLES: Final = 1000

Pairs = Sequence[tuple[Sequence[float], Sequence[float]]]
"""Per pair of rounds: the values alone and beside the neighbour."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A percentile beside the neighbour less the same alone, with its 95 % interval from lower to upper."""

    alone: float
    beside: float
    lower: float
    upper: float

    @property
    def delta(self) -> float:
        return self.beside - self.alone


def percentile(values: Sequence[float], quantile: float) -> float:
    """Returns the smallest value that at least this part of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    # rounded, because 0.07 * 100 is a little more than 7
    return ordered[max(0, ceil(round(quantile * len(ordered), 9)) - 1)]


def difference(pairs: Pairs, quantile: float, *, seed: int) -> Difference:
    """Returns the pooled difference, with the percentile bootstrap over pairs of rounds.

    Complete pairs are drawn, because calls of one round share the machine's other work at that time.
    """
    random = Random(seed)
    deltas = sorted(_delta(random.choices(pairs, k=len(pairs)), quantile) for _ in range(RESAMPLES))
    return Difference(
        alone=percentile([value for alone, _ in pairs for value in alone], quantile),
        beside=percentile([value for _, beside in pairs for value in beside], quantile),
        lower=deltas[int(0.025 * RESAMPLES)],
        upper=deltas[int(0.975 * RESAMPLES)],
    )


def _delta(pairs: Pairs, quantile: float) -> float:
    alone = [value for one, _ in pairs for value in one]
    beside = [value for _, other in pairs for value in other]
    return percentile(beside, quantile) - percentile(alone, quantile)
