"""The judgement of a canary against its SLO: four outcomes, of which only one rolls back."""

from dataclasses import dataclass, field
from enum import StrEnum

from relay_contract.document import Signal
from relay_operator.decisions.analysis.refusals import Excess, Refusals, excess
from relay_operator.names import Reason


class Outcome(StrEnum):
    HEALTHY = "Healthy"
    BREACHED = "Breached"
    INCONCLUSIVE = "Inconclusive"
    UNMEASURABLE = "Unmeasurable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    outcome: Outcome
    reason: Reason
    message: str


NOT_MEASURED = Verdict(
    outcome=Outcome.UNMEASURABLE, reason=Reason.NO_DATA, message="not measured yet"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjective:
    """Allows at most 1 - quantile of the attempts to be slower than the limit that the relays count against."""

    signal: Signal
    quantile: float
    max_milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    window_seconds: float
    min_requests: int
    max_error_percent: float | None = None
    latency: tuple[LatencyObjective, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCounts:
    """Counts of one side within the window; slow maps a signal to (slow, timed) attempts.

    Of the finished, failed are those the side is to blame for, throttled those over a quota, refused those that were taken
    for their callers' mistakes.
    """

    finished: float = 0.0
    failed: float = 0.0
    throttled: float = 0.0
    refused: float = 0.0
    slow: dict[Signal, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Evidence about one route. pods counts the relay pods with fresh samples, expected_pods those that serve."""

    stable: SideCounts
    canary: SideCounts
    pods: int
    expected_pods: int
    tripped_pods: int = 0


def judge(objective: Objective, window: Window) -> Verdict:
    """Judges the canary.

    A majority of tripped breakers is a breach by itself: the relays then keep canary calls away, so the counters
    would never fill. Missing pods make the window unmeasurable: silence is not health. When stable breaches the
    same limits, moving traffic back to it would help nobody.
    """
    if window.tripped_pods * 2 > max(window.expected_pods, 1):
        message = (
            f"the breakers of {window.tripped_pods} of {window.expected_pods} relay pods "
            "keep calls off the canary"
        )
        return Verdict(outcome=Outcome.BREACHED, reason=Reason.BREAKER_TRIPPED, message=message)
    if window.pods < window.expected_pods or window.expected_pods == 0:
        message = (
            f"Prometheus has fresh samples of {window.pods} of {window.expected_pods} relay pods"
        )
        return Verdict(outcome=Outcome.UNMEASURABLE, reason=Reason.NO_DATA, message=message)
    refusing = _refuses_more(objective, window)
    breach = _breach(objective, window.canary)
    if breach is None and refusing is not None and refusing.outcome is Outcome.BREACHED:
        breach = refusing
    if breach is not None:
        shared = _breach(objective, window.stable)
        if shared is not None:
            message = (
                f"canary: {breach.message}; stable: {shared.message}; "
                "stable breaches the same limit, so the traffic stays where it is"
            )
            return Verdict(
                outcome=Outcome.INCONCLUSIVE, reason=Reason.SHARED_INCIDENT, message=message
            )
        return breach
    held = refusing or _too_few(objective, window) or _unmeasured(objective, window.canary)
    return held or Verdict(
        outcome=Outcome.HEALTHY, reason=Reason.HEALTHY, message=_summary(window.canary)
    )


def _refuses_more(objective: Objective, window: Window) -> Verdict | None:
    """Finds that the canary refuses as their callers' mistakes what stable accepts."""
    canary = Refusals(window.canary.refused, window.canary.finished)
    stable = Refusals(window.stable.refused, window.stable.finished)
    tolerated = (objective.max_error_percent or 0.0) / 100
    found = excess(canary, stable, tolerated=tolerated)
    if found is Excess.NONE:
        return None
    message = (
        f"the canary refused {100 * canary.share:.1f} % of {canary.finished:.0f} requests as their callers' "
        f"mistakes (4xx), stable {100 * stable.share:.1f} % of {stable.finished:.0f}"
    )
    outcome = Outcome.BREACHED if found is Excess.LARGE else Outcome.INCONCLUSIVE
    return Verdict(outcome=outcome, reason=Reason.REFUSES_MORE, message=message)


def _too_few(objective: Objective, window: Window) -> Verdict | None:
    """Finds that too few requests were answered for a decision.

    Quota and refusals say nothing of how good the answers are. Where they are most of what is seen, and stable does not
    refuse as much, the answers are no fair sample.
    """
    canary, stable = window.canary, window.stable
    alike = Refusals(stable.refused, stable.finished).share * canary.finished
    unanswered = canary.throttled + canary.refused
    answered = canary.finished - unanswered
    needed = max(objective.min_requests, canary.throttled + max(0.0, canary.refused - alike))
    if answered >= needed:
        return None
    message = (
        f"{answered:.0f} canary requests in {objective.window_seconds:g} s, {needed:.0f} needed"
    )
    if unanswered:
        message += (
            f"; {canary.throttled:.0f} more met the provider's quota (429) "
            f"and {canary.refused:.0f} were refused as their callers' mistakes"
        )
    return Verdict(outcome=Outcome.INCONCLUSIVE, reason=Reason.TOO_FEW_REQUESTS, message=message)


def _unmeasured(objective: Objective, side: SideCounts) -> Verdict | None:
    """Finds why no limit was put to the test; None when one was. That no limit is broken is not yet health."""
    limit = objective.max_error_percent
    if limit is not None and limit < 100:
        return None
    if not objective.latency:
        message = (
            "spec.analysis sets no limit that could be broken; "
            "set errorRate.maxPercent below 100, or latency"
        )
        return Verdict(outcome=Outcome.INCONCLUSIVE, reason=Reason.NO_LIMIT, message=message)
    timed = {one.signal: side.slow.get(one.signal, (0.0, 0.0))[1] for one in objective.latency}
    if max(timed.values()) >= objective.min_requests:
        return None
    found = ", ".join(f"{signal} of {count:.0f}" for signal, count in timed.items())
    message = (
        f"of {side.finished:.0f} canary requests the relays timed {found}, "
        f"{objective.min_requests} needed"
    )
    return Verdict(outcome=Outcome.INCONCLUSIVE, reason=Reason.TOO_FEW_REQUESTS, message=message)


def _breach(objective: Objective, side: SideCounts) -> Verdict | None:
    limit = objective.max_error_percent
    if limit is not None and _exceeds(
        side.failed, side.finished, limit / 100, objective.min_requests
    ):
        share = 100 * side.failed / max(side.finished, 1)
        message = f"{share:.1f} % of {side.finished:.0f} requests failed, at most {limit:g} % may"
        return Verdict(outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message=message)
    for latency in objective.latency:
        slow, timed = side.slow.get(latency.signal, (0.0, 0.0))
        if _exceeds(slow, timed, round(1 - latency.quantile, 9), objective.min_requests):
            share = 100 * slow / max(timed, 1)
            message = (
                f"{share:.1f} % of {timed:.0f} requests took over {latency.max_milliseconds} ms ({latency.signal}), "
                f"at most {100 * (1 - latency.quantile):.3g} % may"
            )
            return Verdict(outcome=Outcome.BREACHED, reason=Reason.LATENCY, message=message)
    return None


def _exceeds(bad: float, total: float, limit: float, min_requests: int) -> bool:
    """Tells whether the share of bad requests is over the limit for certain once min_requests have finished.

    Before that, more bad requests than min_requests would allow decide early: no number of good ones up to there
    could bring the share back under the limit.
    """
    return bad > 0 and bad > limit * max(total, min_requests)


def _summary(side: SideCounts) -> str:
    return f"{side.failed:.0f} of {side.finished:.0f} canary requests failed"
