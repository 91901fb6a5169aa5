"""One metric under judgement: its test, the attempts that count for it, and the tests that an objective asks for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from relay_operator.decisions.analysis.increments import SideIncrements
from relay_operator.decisions.analysis.verdict import Objective
from relay_operator.decisions.judgement.betting import LARGEST_SHARE
from relay_operator.decisions.judgement.bound import ALONE_NATS, Bound
from relay_operator.decisions.judgement.metric_test import MetricTest
from relay_operator.decisions.judgement.rows import Counts, Metric
from relay_operator.names import Reason

_RECENT_SECONDS: Final = 20.0
"""After so long a call counts by a third among the last ones."""
_SPOKEN: Final = {
    "Overhead": "spent over {} ms in the relay",
    "FirstToken": "took over {} ms to the first token",
    "Total": "took over {} ms",
}
_REFUSED: Final = "were refused as their callers' mistakes (4xx)"
_LEFT: Final = "were left by their callers before they ended"


@dataclass(frozen=True, slots=True)
class Sample:
    """Attempts of one side in a tick, for one metric. passed are those that ended well.

    known are those of the total of which it is known whether they are bad; None where it is of all.
    """

    bad: float
    total: float
    passed: float
    known: float | None = None

    @property
    def told(self) -> float:
        """Returns the attempts that figures are told of."""
        return self.total if self.known is None else self.known


_NOTHING: Final = (0.0, Sample(0.0, 0.0, 0.0), Sample(0.0, 0.0, 0.0))


@dataclass(slots=True)
class Judged:
    """A metric with its test, what it counted on this step, and the reason of its breach."""

    metric: Metric
    test: MetricTest
    reason: Reason
    counts: Counts = field(default_factory=Counts)
    recent: Counts = field(default_factory=Counts)

    def take(
        self, seconds: float, canary: Sample, stable: Sample, *, stable_is_leaving: bool = False
    ) -> None:
        """Takes in a tick of both sides. stable_is_leaving tells that the canary is to have all calls."""
        self.test.tick(
            seconds,
            bad=canary.bad,
            total=canary.total,
            passed=canary.passed,
            stable_bad=stable.bad,
            stable_total=stable.total,
            stable_is_leaving=stable_is_leaving,
        )
        self.counts.add(canary.bad, canary.told, stable.bad, stable.told)
        kept = math.exp(-max(seconds, 0.0) / _RECENT_SECONDS)
        self.recent = Counts(
            bad=kept * self.recent.bad + canary.bad, total=kept * self.recent.total + canary.total
        )


class Began:
    """The attempts of one side that count for the share that fails. What ends otherwise is taken off what began before."""

    __slots__ = ("_owed",)

    def __init__(self) -> None:
        self._owed = 0.0

    def sample(self, side: SideIncrements) -> Sample:
        """Returns a tick's attempts."""
        left_out = side.throttled + side.refused + side.cancelled
        total = side.started - left_out - self._owed
        self._owed = max(-total, 0.0)
        return Sample(side.failed, max(total, 0.0), side.answered)


class Timed:
    """The attempts of one side that count for the share that is slow: those that were timed, and those that still may be.

    A slow attempt is counted once its limit has passed, another one when it ends. Where answers stream for long, the slow ones
    would be all of what was timed at first.
    """

    __slots__ = ("_owed", "_signal")

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._owed = 0.0

    def sample(self, side: SideIncrements) -> Sample:
        """Returns a tick's attempts. What ends without having been timed is taken off what began before."""
        slow, timed = 0.0, 0.0
        for signal, counts in side.slow.items():
            if signal == self._signal:
                slow, timed = counts
        total = timed + side.started - side.finished - side.cancelled - self._owed
        self._owed = max(-total, 0.0)
        return Sample(slow, max(total, 0.0), max(timed - slow, 0.0), known=timed)


def judged_metrics(objective: Objective) -> list[Judged]:
    """Returns a test for each limit that can be broken."""
    found = []
    limit = objective.max_error_percent
    increase = objective.max_error_increase_points
    if increase is not None and increase >= 100:
        # more of a hundred than all of them cannot fail
        increase = None
    if limit is not None and (limit < 100 or increase is not None):
        metric = Metric(
            name="Errors",
            did="failed",
            limit=limit / 100 if limit < 100 else None,
            increase=None if increase is None else increase / 100,
        )
        found.append(Judged(metric, _test(metric, objective), Reason.ERROR_RATE))
    for latency in objective.latency:
        points = latency.max_increase_points
        metric = Metric(
            name=latency.signal,
            did=_SPOKEN[latency.signal].format(latency.max_milliseconds),
            limit=round(1 - latency.quantile, 9),
            increase=None if points is None else points / 100,
        )
        found.append(Judged(metric, _test(metric, objective), Reason.LATENCY))
    return found


def _test(metric: Metric, objective: Objective) -> MetricTest:
    window = objective.window_seconds
    return MetricTest(metric.limit, increase=metric.increase, window_seconds=window)


def refusals(increase: float) -> Judged:
    metric = Metric(name="Refusals", did=_REFUSED, limit=None, increase=increase)
    test = MetricTest(None, increase=increase, largest_bound=LARGEST_SHARE)
    return Judged(metric, test, Reason.REFUSES_MORE)


def leaves(increase: float) -> Judged:
    metric = Metric(name="Leaves", did=_LEFT, limit=None, increase=increase)
    test = MetricTest(None, increase=increase, largest_bound=LARGEST_SHARE)
    return Judged(metric, test, Reason.LEFT_MORE)


def refused(side: SideIncrements) -> Sample:
    total = max(side.finished - side.throttled, 0.0)
    return Sample(side.refused, total, max(total - side.refused, 0.0))


def left(side: SideIncrements) -> Sample:
    return Sample(side.cancelled, side.finished + side.cancelled, side.finished)


def answers_less(bound: Bound, *, asked_percent: int) -> bool:
    """Tells whether the canary accepts fewer calls than its weight entails, since the trouble of its refusals began.

    Where it does not, what it refuses came on top: a caller that repeats one mistake without end keeps to one side. Half as many is
    the least that a canary lacks that refuses so many more than stable; the likelihood ratio is that of two Poisson numbers.
    """
    share = asked_percent / 100
    if not 0 < share < 1:
        return True
    trouble = bound.trouble
    accepted = max(trouble.total - trouble.bad, 0.0)
    entailed = max(trouble.stable_total - trouble.stable_bad, 0.0) * share / (1 - share)
    if accepted >= entailed / 2:
        return False
    nats = entailed - accepted
    if accepted > 0:
        nats += accepted * math.log(accepted / entailed)
    return nats >= ALONE_NATS


def both(one: Sample, other: Sample) -> Sample:
    return Sample(one.bad + other.bad, one.total + other.total, one.passed + other.passed)


class Seldom:
    """Tests of what is seldom bad: ticks without any are taken in together with the next that has one, but for those that can end a
    suspicion.
    """

    __slots__ = ("_sample", "_waiting", "tests")

    def __init__(self, tests: list[Judged], sample: Callable[[SideIncrements], Sample]) -> None:
        self.tests = tests
        self._sample = sample
        self._waiting = _NOTHING

    def take(self, seconds: float, canary: SideIncrements, stable: SideIncrements) -> None:
        """Takes in a tick of both sides."""
        of_canary, of_stable = self._sample(canary), self._sample(stable)
        waited, before, stable_before = self._waiting
        of_canary, of_stable = both(of_canary, before), both(of_stable, stable_before)
        self._waiting = (waited + seconds, of_canary, of_stable)
        is_suspected = any(one.test.suspected is not None for one in self.tests)
        if of_canary.bad > 0 or of_stable.bad > 0 or is_suspected:
            self._waiting = _NOTHING
            for one in self.tests:
                one.take(waited + seconds, of_canary, of_stable)


def summed(total: SideIncrements, more: SideIncrements) -> SideIncrements:
    """Adds the counts that a step is judged by."""
    if not more.finished:
        return total
    return SideIncrements(
        finished=total.finished + more.finished,
        failed=total.failed + more.failed,
        throttled=total.throttled + more.throttled,
        refused=total.refused + more.refused,
        truncated=total.truncated + more.truncated,
    )
