"""The tests of one metric (bad attempts among all) of a canary, valid however often they are looked at.

Absolute: the share of bad attempts is at most the limit. Excess: it is at most stable's recent one, by an upper bound, and a
tolerance. Both go on for the whole run: a test that began again would give chance another try.
"""

from math import exp, log, sqrt
from typing import Final

from relay_operator.decisions.judgement.betting import LARGEST_SHARE, SMALLEST_SHARE
from relay_operator.decisions.judgement.bound import Bound
from relay_operator.decisions.judgement.certificate import CERTIFIED_NATS, Certificate
from relay_operator.decisions.judgement.clusters import BLOCK_SECONDS, ClusterSize

ABSOLUTE_NATS: Final = log(1 / 0.002)
EXCESS_NATS: Final = log(1 / 0.001)
"""The evidence that convicts: ln(1/alpha), where alpha bounds the probability of a false alarm in a run of any length."""
SUSPECTED_NATS: Final = log(1 / 0.05)
"""Evidence with which nobody would put more calls on the canary."""
EXCESS_PER_SECOND: Final = 0.5
"""Its bound is lower, so one failure weighs more."""
LARGEST_BOUND: Final = 0.5
RENEWED_RATE: Final = 0.3
RENEWED_OFFSET_SECONDS: Final = 120.0
"""After t seconds of canary calls, RENEWED_RATE / (t + RENEWED_OFFSET_SECONDS) of the spread returns to the prior a second."""
DEVIATIONS: Final = 1.0
SHORT_SECONDS: Final = 20.0
"""Stable's upper bound: so many deviations above its share in the window, or its share of late, whichever is larger."""


class StableShare:
    """Stable's recent bad attempts and all of them, forgotten over a time."""

    __slots__ = ("_seconds", "bad", "total")

    def __init__(self, seconds: float) -> None:
        self._seconds = max(seconds, 1.0)
        self.bad = self.total = 0.0

    def add(self, seconds: float, bad: float, total: float) -> None:
        """Adds attempts that became visible after so many seconds."""
        keep = exp(-seconds / self._seconds)
        self.bad = self.bad * keep + bad
        self.total = self.total * keep + total


class MetricTest:
    """State of a metric's tests in a run. limit None leaves the absolute test out, increase None the excess test."""

    __slots__ = (
        "_block_age",
        "_increase",
        "_largest_bound",
        "_pending",
        "absolute",
        "canary_size",
        "certificate",
        "clock",
        "elapsed",
        "excess",
        "long",
        "short",
        "stable_absolute",
        "stable_size",
    )

    def __init__(
        self,
        limit: float | None,
        *,
        increase: float | None = None,
        window_seconds: float = 600.0,
        largest_bound: float = LARGEST_BOUND,
    ) -> None:
        self.absolute = None if limit is None else Bound(limit, nats=ABSOLUTE_NATS)
        self.stable_absolute = None if limit is None else Bound(limit, nats=ABSOLUTE_NATS)
        self._largest_bound = largest_bound
        self._increase = increase or 0.0
        self.excess = None
        if increase is not None:
            self.excess = Bound(largest_bound, nats=EXCESS_NATS, per_second=EXCESS_PER_SECOND)
        self.certificate = Certificate()
        self.canary_size, self.stable_size = ClusterSize(), ClusterSize()
        self.long, self.short = StableShare(window_seconds), StableShare(SHORT_SECONDS)
        self.elapsed = 0.0
        self.clock = self._pending = self._block_age = 0.0

    def tick(
        self,
        seconds: float,
        *,
        bad: float,
        total: float,
        passed: float,
        stable_bad: float,
        stable_total: float,
        stable_is_leaving: bool = False,
    ) -> None:
        """Takes in what became visible in so many seconds, over all pods.

        total counts attempts when they begin, or fast failures beside slow answers would be all that is seen at first; passed
        counts those that ended well, as only they can certify. stable_is_leaving tells that the canary is to have all calls.
        """
        self.clock += seconds
        self._pending += seconds
        size = self.size
        if total > 0 or bad > 0:
            self._bet(bad, total, size)
        if passed > 0 or bad > 0:
            self.certificate.tick(self.allowed, bad=bad / size, good=passed / size)
        if stable_total > 0 and self.stable_absolute is not None:
            self._watch_stable(stable_bad, stable_total, seconds, size)
        if self.stable_absolute is not None:
            self.stable_absolute.compare(bad, total)
        for bound in (self.absolute, self.excess):
            if bound is not None:
                bound.compare(stable_bad, stable_total, is_leaving=stable_is_leaving)
        self.long.add(seconds, stable_bad, stable_total)
        self.short.add(seconds, stable_bad, stable_total)
        self.canary_size.add(bad)
        self.stable_size.add(stable_bad)
        self._block_age += seconds
        if self._block_age >= BLOCK_SECONDS:
            self._block_age = 0.0
            self.canary_size.end_block()
            self.stable_size.end_block()

    def begin_step(self) -> None:
        """Begins the certificate of a step."""
        self.certificate = Certificate()

    @property
    def size(self) -> float:
        """Returns the size of a cluster of failures, on the side where they cluster more."""
        return max(self.canary_size.size, self.stable_size.size)

    @property
    def convicted(self) -> Bound | None:
        """Returns the test that tells against the canary, the absolute one first; None while none does."""
        size = self.size
        for bound in (self.absolute, self.excess):
            if bound is not None and bound.convicts(size):
                return bound
        return None

    @property
    def suspected(self) -> Bound | None:
        """Returns the test that trouble going on speaks against most, be it the canary's or shared; None without any."""
        bounds = [
            bound
            for bound in (self.absolute, self.excess)
            if bound is not None
            and bound.trouble.bad > 0
            and bound.wealth.log_wealth >= SUSPECTED_NATS
        ]
        return max(bounds, key=lambda bound: bound.wealth.log_wealth / bound.nats, default=None)

    @property
    def stable_exceeds(self) -> bool:
        """Tells whether stable breaks the limit at present: there is proof, and it does in its last calls."""
        stable, short = self.stable_absolute, self.short
        if stable is None or not stable.exceeded or stable.trouble.bad <= 0:
            return False
        # the proof lasts for long after its trouble
        return short.bad > stable.odds.share * short.total

    @property
    def stable_fails_alone(self) -> bool:
        """Tells whether the canary does better for certain, call by call, since stable began to break the limit."""
        stable = self.stable_absolute
        return self.stable_exceeds and stable is not None and stable.is_alone_for_certain(self.size)

    @property
    def is_certified(self) -> bool:
        """Tells whether the canary was shown to keep to its bound since the step began."""
        return self.certificate.nats >= CERTIFIED_NATS

    @property
    def allowed(self) -> float:
        """Returns the share of bad attempts that is allowed at present."""
        allowed = 1.0 if self.absolute is None else self.absolute.odds.share
        if self.excess is not None:
            share = self.long.bad / self.long.total if self.long.total > 0 else 1.0
            allowed = min(allowed, share + self._increase)
        return min(max(allowed, SMALLEST_SHARE), LARGEST_SHARE)

    def _bet(self, bad: float, total: float, size: float) -> None:
        seconds, self._pending = self._pending, 0.0
        self.elapsed += seconds
        renewed = min(RENEWED_RATE * seconds / (self.elapsed + RENEWED_OFFSET_SECONDS), 0.5)
        if self.absolute is not None:
            self.absolute.tick(
                bad, total, seconds=seconds, renewed=renewed, size=size, clock=self.clock
            )
        if self.excess is not None:
            self.excess.hold_to(min(self._stable_upper() + self._increase, self._largest_bound))
            self.excess.tick(
                bad, total, seconds=seconds, renewed=renewed, size=size, clock=self.clock
            )

    def _watch_stable(self, bad: float, total: float, seconds: float, size: float) -> None:
        assert self.stable_absolute is not None
        renewed = min(RENEWED_RATE * seconds / (self.elapsed + RENEWED_OFFSET_SECONDS), 0.5)
        self.stable_absolute.tick(
            bad, total, seconds=seconds, renewed=renewed, size=size, clock=self.clock
        )

    def _stable_upper(self) -> float:
        """Returns an upper bound of stable's share, known before this tick; 1 where nothing is known."""
        bad, total, short = self.long.bad, self.long.total, self.short
        if total < 1e-3 or short.total < 1e-3:
            return 1.0
        z = DEVIATIONS
        return max((bad + z * z / 2 + z * sqrt(bad + z * z / 4)) / total, short.bad / short.total)
