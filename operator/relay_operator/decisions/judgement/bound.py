"""One test of a canary: the share of its bad attempts is at most a bound.

Evidence alone does not convict: stable has to do better since the trouble began, and failures that came faster than they
may count have to last, or an incident that both sides share, and one long burst, would roll back.
"""

from math import log
from typing import Final

from relay_operator.decisions.judgement.betting import Odds, Wealth
from relay_operator.decisions.judgement.clusters import PER_SECOND, Allowance

ALONE_NATS: Final = log(300)
"""How certainly stable has to do better (a likelihood ratio); more with many failures, as it is looked at often."""
FEWEST_UNITS: Final = 3.0
ALONE_FAILURES: Final = 10.0
"""So many failures convict a canary that leaves stable hardly any calls to compare with."""
MOST_TROUBLE_NATS: Final = log(100)
"""However long trouble was, good calls that speak against it by this likelihood ratio end it."""
UNCOUNTED: Final = 1.0
LASTING_SECONDS: Final = 2.8
"""Where more than UNCOUNTED failures came faster than they may count, trouble has to be seen for longer than a burst of a
second, scraped every two, is seen."""


class Trouble:
    """What both sides did since the canary's present trouble began. counted are its failures that count."""

    __slots__ = ("bad", "counted", "first", "last", "stable_bad", "stable_total", "total", "wealth")

    def __init__(self) -> None:
        self.wealth = 0.0
        self.clear(0.0)

    def clear(self, wealth: float) -> None:
        """Begins anew. wealth is the logarithm of the wealth before it."""
        self.bad = self.counted = self.total = self.stable_bad = self.stable_total = 0.0
        self.first = self.last = 0.0
        self.wealth = wealth


class Bound:
    """A test that the share of bad attempts is at most a bound, which may be moved before each tick."""

    __slots__ = ("_allowance", "cusum", "nats", "odds", "trouble", "wealth")

    def __init__(self, share: float, *, nats: float, per_second: float = PER_SECOND) -> None:
        self.odds = Odds(share)
        self.nats = nats
        self.wealth = Wealth()
        self.trouble = Trouble()
        self._allowance = Allowance(per_second)
        self.cusum = 0.0

    def hold_to(self, share: float) -> None:
        """Moves the bound; a change that makes no difference is left for later."""
        if abs(share - self.odds.share) > 1e-3 * self.odds.share:
            self.odds = Odds(share)

    def tick(
        self, bad: float, total: float, *, seconds: float, renewed: float, size: float, clock: float
    ) -> None:
        """Takes in attempts of the canary. seconds passed since the last ones; size is that of a cluster of failures."""
        odds = self.odds
        units = bad / size
        counted = self._allowance.take(units, seconds=seconds, expected=odds.share * total / size)
        good = max(total - bad, 0.0) / size
        self.wealth.bet(odds, bad=counted, good=good, renewed=renewed)
        self.cusum += counted * odds.trouble[0] + good * odds.trouble[1]
        self.cusum = min(self.cusum, MOST_TROUBLE_NATS)
        trouble = self.trouble
        if self.cusum <= 0:
            self._end_trouble()
            return
        if bad > 0:
            trouble.last = clock
            trouble.first = trouble.first or clock
        trouble.bad += bad
        trouble.counted += counted * size
        trouble.total += total

    def compare(self, bad: float, total: float, *, is_leaving: bool = False) -> None:
        """Takes in attempts of stable. is_leaving tells that the canary is to have all calls.

        A few good calls that stable still had are then no measure of how it would do now, and none will follow.
        """
        trouble = self.trouble
        if self.cusum > 0:
            trouble.stable_bad += bad
            trouble.stable_total += total
            if is_leaving and trouble.stable_bad <= 0:
                trouble.stable_total = 0.0

    @property
    def exceeded(self) -> bool:
        """Tells whether the evidence suffices, of whoever's doing."""
        return self.wealth.log_wealth >= self.nats

    def convicts(self, size: float) -> bool:
        """Tells whether the evidence suffices, the trouble lasts, and stable does better."""
        return self.exceeded and self.cusum > 0 and self._lasts(size) and self._is_alone(size)

    @property
    def shared(self) -> bool:
        """Tells whether stable has exceeded the bound as well since the trouble began."""
        trouble = self.trouble
        return trouble.stable_bad > self.odds.share * trouble.stable_total

    def _end_trouble(self) -> None:
        self.cusum = 0.0
        if self.exceeded:
            # what an incident of both sides brought would convict at the next few failures
            self.wealth.throw_away(self.trouble.wealth)
        self.trouble.clear(self.wealth.log_wealth)

    def _lasts(self, size: float) -> bool:
        trouble = self.trouble
        uncounted = (trouble.bad - trouble.counted) / size
        return uncounted <= UNCOUNTED or trouble.last - trouble.first >= LASTING_SECONDS

    def _is_alone(self, size: float) -> bool:
        """Tells whether the canary's part of the failures is larger than its part of the calls.

        The second limit is for a canary that has all calls.
        """
        trouble = self.trouble
        if trouble.total <= 0:
            return False
        share = trouble.total / (trouble.total + trouble.stable_total)
        if share >= 1:
            return True
        found, needed = self._nats_alone(share, size)
        return found >= min(needed, ALONE_FAILURES * -log(share))

    def is_alone_for_certain(self, size: float) -> bool:
        """Tells, however few calls the other side has, whether it does better since the trouble began."""
        trouble = self.trouble
        if trouble.total <= 0 or trouble.stable_total <= 0 or self.cusum <= 0:
            return False
        share = trouble.total / (trouble.total + trouble.stable_total)
        found, needed = self._nats_alone(share, size)
        return found >= needed

    def _nats_alone(self, share: float, size: float) -> tuple[float, float]:
        """Returns a log likelihood ratio against `the same part of the failures as of the calls`, and what it takes."""
        trouble = self.trouble
        bad = trouble.counted + trouble.stable_bad
        part = trouble.counted / (bad + 0.5)
        if part <= share:
            return 0.0, ALONE_NATS
        units = bad / size
        ratio = part * log(part / share) + (1 - part) * log((1 - part) / (1 - share))
        needed = ALONE_NATS + 0.5 * log(max(units, FEWEST_UNITS) / FEWEST_UNITS)
        return units * ratio, needed
