"""The judge of one route's run: tests of every metric, and the verdict that rests on them.

Of what ended, the attempts that met a quota or were refused as their callers' mistakes say nothing of how good the side is,
nor do those that their clients left; the share that fails is of the others that began. Where clients leave many more of the
canary's than of stable's, as they do where some hang, no step is passed.
"""

from collections.abc import Iterator
from typing import Final

from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.verdict import MetricRow, Objective, Outcome, Verdict
from relay_operator.decisions.judgement.judged import (
    Began,
    Judged,
    Seldom,
    Timed,
    answers_less,
    judged_metrics,
    leaves,
    left,
    refusals,
    refused,
    summed,
)
from relay_operator.decisions.judgement.means.token_drift import TokenDrift
from relay_operator.decisions.judgement.quota import FEWEST, QuotaWatch
from relay_operator.decisions.judgement.rows import (
    Counts,
    Figure,
    figures,
    finding,
    row,
    stable_finding,
)
from relay_operator.decisions.judgement.served_share import ServedShare
from relay_operator.decisions.judgement.stall import Stalled, StallWatch
from relay_operator.names import Reason

REFUSED_LARGE: Final = 0.5
"""So many more of its calls than stable a canary does not refuse for the mistakes of a few callers, if it also accepts fewer."""
LEFT_LARGE: Final = 0.1
"""So many more of its calls than stable's are not left before they end by chance or habit: callers leave what hangs."""
FEWEST_SINCE_GAP: Final = 5
"""After a gap of the measurements, and after the operator's start, a canary that died meanwhile is suspected by so many calls."""
_SOME: Final = 3
"""One or two bad calls say nothing."""


class RouteJudge:
    """State of a run's tests. They begin with the run; counts and certificates with each step."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.judged = judged_metrics(objective)
        tolerated = (objective.max_error_percent or 0.0) / 100
        self.refusals = [refusals(REFUSED_LARGE), refusals(tolerated)]
        self.leaves = leaves(LEFT_LARGE)
        self._seldom = (Seldom(self.refusals, refused), Seldom([self.leaves], left))
        self.stall = StallWatch()
        self.quota = QuotaWatch()
        self.share = ServedShare()
        self.tokens = {"input": TokenDrift(), "output": TokenDrift()}
        self.step = SideIncrements()
        self.stable_step = SideIncrements()
        self._began = [(_counted(one), _counted(one)) for one in self.judged]
        # of the step, by Prometheus' clock
        self.measured_seconds = 0.0
        self._answered_since_gap, self._measured_at = 0.0, 0.0
        self._stalled: Stalled | None = None
        # the last verdict, and by how many pods
        self._last: Verdict | None = None
        self._seen = (0, 0, 0)

    @property
    def answered(self) -> float:
        """Returns the canary's attempts since the step began that ended with an answer or by its fault."""
        return self.step.answered + self.step.failed

    @property
    def has_seen_enough(self) -> bool:
        """Tells whether enough calls were answered since the last gap of the measurements for health to be news."""
        fewest = min(FEWEST_SINCE_GAP, self.objective.min_requests)
        return self._answered_since_gap >= fewest

    def begin_step(self) -> None:
        """Begins to count anew what a step needs. The tests go on."""
        self.measured_seconds = 0.0
        for one in self.tests():
            one.counts = Counts()
            one.test.begin_step()
        self.step = self.stable_step = SideIncrements()
        self._last = None

    def tests(self) -> list[Judged]:
        """Returns every test that goes on for the run."""
        return [*self.judged, *self.refusals, self.leaves]

    def rows(self) -> tuple[MetricRow, ...]:
        """Describes every metric, and the share that the canary serves."""
        rows = tuple(row(one.metric, one.test, one.counts) for one in self.judged)
        share = self.share.row()
        return rows if share is None else (*rows, share)

    def figures(self) -> Iterator[Figure]:
        """Goes through every test that can convict the canary, refusals included."""
        for one in (*self.judged, self.refusals[0]):
            yield from figures(one.metric, one.test)

    def judge(self, increments: Increments, *, asked_percent: int = 0) -> Verdict:
        """Takes in a tick and judges the canary. asked_percent is its weight, which is told beside what it serves."""
        seen = (increments.fresh_pods, increments.expected_pods, increments.tripped_pods)
        self._note_measured(increments)
        if self._last is not None and not increments.moved and seen == self._seen:
            # three ticks of four bring nothing
            return self._last
        self._seen = seen
        self._take(increments, stable_is_leaving=asked_percent >= 100)
        self.share.tick(
            increments.seconds,
            asked_percent=asked_percent,
            canary=increments.canary.started,
            stable=increments.stable.started,
        )
        self._last = self._verdict(increments)
        return self._last

    def _note_measured(self, increments: Increments) -> None:
        self.measured_seconds += increments.seconds
        if increments.seconds <= 0 and increments.now != self._measured_at:
            # what was counted between this scrape and the one before is not known
            self._answered_since_gap = 0.0
        self._measured_at = increments.now
        self._answered_since_gap += increments.canary.answered + increments.canary.failed

    def _take(self, increments: Increments, *, stable_is_leaving: bool) -> None:
        seconds, canary, stable = increments.seconds, increments.canary, increments.stable
        self._stalled = self.stall.tick(increments)
        self.quota.tick(seconds, throttled=canary.throttled, ended=canary.finished)
        self.step, self.stable_step = summed(self.step, canary), summed(self.stable_step, stable)
        for one, (of_canary, of_stable) in zip(self.judged, self._began, strict=True):
            samples = of_canary.sample(canary), of_stable.sample(stable)
            one.take(seconds, *samples, stable_is_leaving=stable_is_leaving)
        for seldom in self._seldom:
            seldom.take(seconds, canary, stable)
        for kind, drift in self.tokens.items():
            drift.add(
                canary.reported,
                getattr(canary, f"{kind}_tokens"),
                stable_calls=stable.reported,
                stable_total=getattr(stable, f"{kind}_tokens"),
            )

    def _verdict(self, increments: Increments) -> Verdict:
        fresh, expected = increments.fresh_pods, increments.expected_pods
        tripped = increments.tripped_pods
        if tripped * 2 > max(expected, 1):
            message = (
                f"the breakers of {tripped} of {expected} relay pods keep calls off the canary"
            )
            return self._say(Outcome.BREACHED, Reason.BREAKER_TRIPPED, message)
        breach = self._breach() if fresh > 0 else None
        if breach is not None:
            return breach
        if fresh < expected or expected == 0:
            message = f"Prometheus has fresh samples of {fresh} of {expected} relay pods"
            return self._say(Outcome.UNMEASURABLE, Reason.NO_DATA, message)
        return (
            self._trouble()
            or self._does_more(self.refusals[1])
            or self._does_more(self.leaves)
            or self._too_few()
            or self._unmeasured()
            or self._over_a_limit()
            or self._healthy()
        )

    def _breach(self) -> Verdict | None:
        """Finds evidence that the canary, and not both sides, breaks a limit."""
        for one in self.judged:
            bound = one.test.convicted
            if bound is not None:
                message = finding(one.metric, bound, one.counts)
                return self._say(Outcome.BREACHED, one.reason, message)
        large = self.refusals[0]
        bound = large.test.convicted
        if bound is not None and answers_less(bound, asked_percent=self.share.asked_percent):
            message = finding(large.metric, bound, large.counts)
            return self._say(Outcome.BREACHED, Reason.REFUSES_MORE, message)
        if self._stalled is not None:
            message = (
                f"{self._stalled.attempts:.0f} requests began over {self._stalled.seconds:.0f} s ago "
                "and none has finished since"
            )
            return self._say(Outcome.BREACHED, Reason.STALLED_CALLS, message)
        return self._drift()

    def _drift(self) -> Verdict | None:
        limit = self.objective.max_token_drift_percent
        if limit is None:
            return None
        for kind, drift in self.tokens.items():
            if drift.least_percent > limit:
                message = (
                    f"{drift.canary.mean:.0f} {kind} tokens an answer, stable {drift.stable.mean:.0f} "
                    f"({drift.percent:+.1f} %, at least {drift.least_percent:.1f} % apart, limit {limit:g} %)"
                )
                return self._say(Outcome.BREACHED, Reason.TOKEN_DRIFT, message)
        return None

    def _trouble(self) -> Verdict | None:
        """Finds evidence of trouble that is not, or not yet, the canary's alone."""
        for one in self.judged:
            bound = one.test.suspected
            if bound is None:
                continue
            message = finding(one.metric, bound, one.counts)
            if bound.shared:
                message = (
                    f"{message}; stable breaks the limit as well, so the traffic stays where it is"
                )
                return self._say(Outcome.INCONCLUSIVE, Reason.SHARED_INCIDENT, message)
            message = (
                f"{message}; too little to act on, or a burst, or an incident that stable shares"
            )
            return self._say(Outcome.INCONCLUSIVE, Reason.SUSPECTED, message)
        return None

    def _does_more(self, some: Judged) -> Verdict | None:
        """Finds that the canary does something more often than stable that may be its callers' doing: the weight stays."""
        bound = some.test.convicted
        if bound is None:
            return None
        message = finding(some.metric, bound, some.counts)
        return self._say(Outcome.INCONCLUSIVE, some.reason, message)

    def _throttled(self) -> str:
        """Tells that a material part of the last calls met the provider's quota; nothing if it suffices."""
        if not self.quota.holds:
            return ""
        throttled, ended, which = self.step.throttled, self.step.finished, "on this step"
        if throttled < FEWEST:
            # most of them were on the step before
            throttled, ended, which = self.quota.throttled, self.quota.ended, "of late"
        return f"{throttled:.0f} of {ended:.0f} canary calls {which} were answered 429"

    def _too_few(self) -> Verdict | None:
        """Finds that too few requests of this step were answered for a decision.

        Where quota and refusals are most of what is seen, and stable does not refuse as much, the answers are no fair sample.
        """
        canary, stable = self.step, self.stable_step
        alike = stable.refused / stable.finished * canary.finished if stable.finished else 0.0
        needed = max(
            self.objective.min_requests, canary.throttled + max(0.0, canary.refused - alike)
        )
        if self.answered >= needed:
            return None
        message = f"{self.answered:.0f} canary requests on this step, {needed:.0f} needed"
        if canary.throttled or canary.refused:
            message += (
                f"; {canary.throttled:.0f} more met the provider's quota (429) "
                f"and {canary.refused:.0f} were refused as their callers' mistakes"
            )
        return self._say(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message)

    def _unmeasured(self) -> Verdict | None:
        """Finds that no limit was put to the test. That none is broken is not yet health."""
        if self.objective.max_token_drift_percent is not None:
            return None
        if not self.judged:
            message = (
                "spec.analysis sets no limit that could be broken; "
                "set errorRate.maxPercent below 100, latency or tokens"
            )
            return self._say(Outcome.INCONCLUSIVE, Reason.NO_LIMIT, message)
        if any(one.counts.total >= self.objective.min_requests for one in self.judged):
            return None
        found = ", ".join(f"{one.metric.name} of {one.counts.total:.0f}" for one in self.judged)
        message = (
            f"of {self.step.finished:.0f} canary requests the relays timed {found}, "
            f"{self.objective.min_requests} needed"
        )
        return self._say(Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS, message)

    def _over_a_limit(self) -> Verdict | None:
        """Finds that more of the last calls were bad than a limit allows, though nothing is proven by them."""
        for one in self.judged:
            limit, recent = one.metric.limit, one.recent
            if limit is None or recent.bad < _SOME or recent.bad <= limit * recent.total:
                continue
            message = (
                f"about {recent.bad:.0f} of the last {recent.total:.0f} requests {one.metric.did} (limit {100 * limit:g} %); "
                "too little to act on, but no step passes on it"
            )
            return self._say(Outcome.INCONCLUSIVE, Reason.SUSPECTED, message)
        return None

    def _healthy(self) -> Verdict:
        failed, answered = self.step.failed, self.answered
        message = f"{failed:.0f} of {answered:.0f} canary requests failed on this step"
        if self.share.deviates:
            message += f"; {self.share.finding}"
        return self._say(Outcome.HEALTHY, Reason.HEALTHY, message)

    def _stable_finding(self) -> str:
        """Tells of the first limit that stable breaks at present; nothing while it keeps to all."""
        for one in self.judged:
            bound = one.test.stable_absolute
            if bound is not None and one.test.stable_exceeds:
                return stable_finding(one.metric, bound)
        return ""

    def _say(self, outcome: Outcome, reason: Reason, message: str) -> Verdict:
        certified = bool(self.judged) and all(one.test.is_certified for one in self.judged)
        return Verdict(
            outcome=outcome,
            reason=reason,
            message=message,
            certified=certified,
            stable_finding=self._stable_finding(),
            stable_fails_alone=any(one.test.stable_fails_alone for one in self.judged),
            throttled=self._throttled(),
        )


def _counted(one: Judged) -> Began | Timed:
    """Returns what tells which attempts of a side count for a metric."""
    return Began() if one.reason is Reason.ERROR_RATE else Timed(one.metric.name)
