"""The objective that a canary is held to, and the verdict: four outcomes, of which only one rolls back."""

from dataclasses import dataclass, field
from enum import StrEnum

from relay_contract.document import Signal
from relay_operator.names import Reason


class Outcome(StrEnum):
    HEALTHY = "Healthy"
    BREACHED = "Breached"
    INCONCLUSIVE = "Inconclusive"
    UNMEASURABLE = "Unmeasurable"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One metric as a person reads it: both sides' bad calls on this step, the limit, and the evidence that it is broken.

    certified tells that the canary was shown to keep to the limit on this step.
    """

    name: str
    canary: str
    stable: str
    limit: str
    evidence: str
    certified: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """certified tells that every metric is.

    Beside the verdict: stable_finding tells of a limit that stable breaks at present, stable_fails_alone that the canary does
    better for certain since that began, throttled that the canary's provider
    refuses a material part of the calls by its quota; empty if not so.
    """

    outcome: Outcome
    reason: Reason
    message: str
    metrics: tuple[MetricRow, ...] = ()
    certified: bool = False
    stable_finding: str = field(default="", compare=False)
    stable_fails_alone: bool = field(default=False, compare=False)
    throttled: str = field(default="", compare=False)

    @property
    def gist(self) -> tuple[Outcome, Reason, bool, bool]:
        """Returns what changes when it is another verdict, and not the same with newer figures."""
        return self.outcome, self.reason, self.stable_exceeds, self.throttled != ""

    @property
    def stable_exceeds(self) -> bool:
        """Tells whether stable breaks a limit at present."""
        return self.stable_finding != ""


NOT_MEASURED = Verdict(
    outcome=Outcome.UNMEASURABLE, reason=Reason.NO_DATA, message="not measured yet"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjective:
    """Allows at most 1 - quantile of the attempts to be slower than the limit that the relays count against.

    With max_increase_points also at most so many more of a hundred than stable's.
    """

    signal: Signal
    quantile: float
    max_milliseconds: int
    max_increase_points: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """min_requests count over a step; stable's bound looks back over window_seconds; no verdict rests on a window."""

    window_seconds: float
    min_requests: int
    max_error_percent: float | None = None
    max_error_increase_points: float | None = None
    max_token_drift_percent: float | None = None
    latency: tuple[LatencyObjective, ...] = ()
