"""The mean of something per answer, and how certain it is.

Tokens and costs have no bound and heavy tails, so what is said of them is asymptotic: a confidence sequence for the mean (Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas 2024, arXiv 2103.06476), from sums per tick, valid at any time once there are many. Ticks are not independent, since the calls of a conversation stay on one side and are
alike: their variance is that of blocks of ticks, of whichever length has the largest (batch means, Schmeiser 1982). Each block is compared with the one before it (von
Neumann 1941), not with the mean of all, and the largest difference is left out: it is that of a canary whose answers change once, after hours in which they did not.
"""

from math import exp, log, sqrt
from operator import add
from typing import Final

FEWEST_TICKS: Final = 30
FEWEST_ANSWERS: Final = 100.0
FEWEST_BLOCKS: Final = 48
"""Blocks of which a variance says something."""
GROWN: Final = 1.25
"""By so much more than shorter blocks the longest do not differ by chance."""
NEGLIGIBLE: Final = 1e-6
"""A variance below this part of the mean's square is that of rounding."""
_ALPHA: Final = 0.0005
"""For one side and one figure."""
_TIGHTEST_AT: Final = 500.0
_RHO_SQUARED: Final = (-2 * log(_ALPHA) + log(-2 * log(_ALPHA) + 1)) / _TIGHTEST_AT


class _Blocks:
    """Sums of so many ticks together, and how far their means are apart. A half waits for its other half."""

    __slots__ = ("_before", "_half", "_largest", "count", "squares")

    def __init__(self) -> None:
        self.squares = self._largest = 0.0
        self.count = 0
        self._half: tuple[float, float] | None = None
        self._before: tuple[float, float] | None = None

    def add(self, answers: float, total: float) -> tuple[float, float] | None:
        """Adds a block of half the length; returns the whole one that it completes, if it does."""
        if self._half is None:
            self._half = answers, total
            return None
        answers, total = answers + self._half[0], total + self._half[1]
        self._half = None
        if self._before is not None:
            others, their_total = self._before
            apart = total / answers - their_total / others
            square = apart * apart * answers * others / (answers + others)
            self.squares += square
            self._largest = max(self._largest, square)
        self._before = answers, total
        self.count += 1
        return answers, total

    @property
    def variance(self) -> float:
        """Returns the variance of an answer as these blocks have it."""
        return max(self.squares - self._largest, 0.0) / (self.count - 2)


class MeanPerAnswer:
    """The mean of a side, from sums of ticks. Conversations are taken to last long_block of them until blocks of that length tell."""

    __slots__ = ("_blocks", "_long_block", "answers", "squares", "ticks", "total")

    def __init__(self, long_block: int = 1) -> None:
        self._long_block = long_block
        self.answers = self.total = self.squares = 0.0
        self.ticks = 0
        # of 2, 4, 8 ticks, and so on
        self._blocks: list[_Blocks] = []

    def add(self, answers: float, total: float) -> None:
        """Adds the sum of one tick."""
        if answers <= 0:
            return
        self.answers += answers
        self.total += total
        self.squares += total * total / answers
        self.ticks += 1
        whole = answers, total
        for blocks in self._blocks:
            completed = blocks.add(*whole)
            if completed is None:
                return
            whole = completed
        self._blocks.append(_Blocks())
        self._blocks[-1].add(*whole)

    @property
    def mean(self) -> float:
        """Returns the total per answer."""
        return self.total / self.answers if self.answers else 0.0

    @property
    def is_known(self) -> bool:
        """Tells whether there are enough answers to say how certain the mean is."""
        enough = self.ticks >= FEWEST_TICKS and self.answers >= FEWEST_ANSWERS
        return enough and self.total > 0 and not self._grows

    @property
    def variance(self) -> float:
        """Returns the variance of an answer, as large as whole conversations make it; a guess while there are none as long."""
        variances = self._variances
        longest = float(1 << (len(variances) - 1))
        return max(variances) * max(self._long_block / longest, 1.0)

    @property
    def told_squares(self) -> float:
        """Returns squares that have the same variance without any blocks, for a life of the operator that begins without them."""
        return self.variance * max(self.ticks - 1, 1) + self.total * self.mean

    @property
    def log_radius(self) -> float:
        """Returns how far the logarithm of the true mean may be away."""
        count, mean = self.answers, self.mean
        grown = count * _RHO_SQUARED + 1
        width = sqrt(2 * grown / (count * count * _RHO_SQUARED) * log(sqrt(grown) / _ALPHA))
        return sqrt(self.variance) / mean * width

    @property
    def _variances(self) -> list[float]:
        """Returns what single ticks say, and then longer and longer blocks, as far as there are enough."""
        of_ticks = max(self.squares - self.total * self.mean, 0.0) / max(self.ticks - 1, 1)
        longer = [blocks.variance for blocks in self._blocks if blocks.count >= FEWEST_BLOCKS]
        return [of_ticks, *longer]

    @property
    def _grows(self) -> bool:
        """Tells whether the longest blocks still say more than shorter ones: conversations last longer than those."""
        *shorter, longest = self._variances
        least = max(GROWN * max(shorter, default=0.0), NEGLIGIBLE * self.mean * self.mean)
        return bool(shorter) and longest > least


class Pairs:
    """The means of both sides over ticks with calls of both: what a call takes changes with the hours, as the canary's share does.

    Each tick of stable weighs as many calls as the canary had in it; ticks without calls of one side are put to the next.
    """

    __slots__ = ("_waiting", "canary", "stable")

    def __init__(self, long_block: int = 1) -> None:
        self.canary, self.stable = MeanPerAnswer(long_block), MeanPerAnswer(long_block)
        self._waiting = (0.0, 0.0, 0.0, 0.0)

    def add(
        self, calls: float, total: float, *, stable_calls: float, stable_total: float
    ) -> tuple[float, float]:
        """Adds a tick; returns how many calls of the canary and of stable are compared by it."""
        new = (calls, total, stable_calls, stable_total)
        calls, total, beside, beside_total = map(add, self._waiting, new)
        if calls <= 0 or beside <= 0:
            self._waiting = (calls, total, beside, beside_total)
            return 0.0, 0.0
        self._waiting = (0.0, 0.0, 0.0, 0.0)
        self.canary.add(calls, total)
        self.stable.add(calls, calls * beside_total / beside)
        return calls, beside


def certain_increase(of: MeanPerAnswer, over: MeanPerAnswer) -> float:
    """Returns by how many percent one mean is above another for certain, 0 while that is not known."""
    if not (of.is_known and over.is_known):
        return 0.0
    certain = log(of.mean / over.mean) - of.log_radius - over.log_radius
    return 100 * (exp(certain) - 1) if certain > 0 else 0.0
