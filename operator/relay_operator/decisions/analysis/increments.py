"""Increments of one route in one tick: increases since the tick before, all relay pods together.

The evidence (from Prometheus) makes them, the tests and the verdict take them. All times are Prometheus' own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay_contract.document import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class SideIncrements:
    """Attempts of one side (the relay's SLO counters), increases but for under_way.

    Every started attempt is under way, finished, or cancelled (the client left before an answer). Of the finished, failed
    are those the side is to blame for, throttled those that met a quota (429), refused those taken for their callers'
    mistakes; truncated are among the failed. slow maps a signal to (slow, timed) attempts. Tokens are those that the provider
    reported, reported the attempts that they are of. under_way is the level at the end of the tick: started and not ended over the pods'
    whole lives, 0 where it is not known.
    """

    started: float = 0.0
    finished: float = 0.0
    failed: float = 0.0
    cancelled: float = 0.0
    throttled: float = 0.0
    refused: float = 0.0
    truncated: float = 0.0
    reported: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    slow: Mapping[Signal, tuple[float, float]] = field(default_factory=dict)
    under_way: float = 0.0

    @property
    def answered(self) -> float:
        """Returns the attempts that ended with an answer for the caller."""
        return max(self.finished - self.failed - self.throttled - self.refused, 0.0)


NOTHING = SideIncrements()


@dataclass(frozen=True, slots=True, kw_only=True)
class Increments:
    """One tick of one route.

    now is the newest sample time over all pods (seconds since the epoch on Prometheus' clock), 0 before the first; seconds
    is how far it moved since the last tick: 0 where nothing is new. The first tick of a life and an interval that had to be
    dropped bring neither counts nor seconds. fresh_pods counts the relay pods with samples that are new enough,
    expected_pods those that serve, tripped_pods those of them whose breaker keeps calls off the canary. moved is False where
    nothing was scraped since the last tick.
    """

    now: float
    seconds: float
    stable: SideIncrements = NOTHING
    canary: SideIncrements = NOTHING
    fresh_pods: int
    expected_pods: int
    tripped_pods: int = 0
    moved: bool = True
