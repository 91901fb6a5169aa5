"""Finds that the canary's provider answers a material part of its calls with 429 (Too Many Requests).

That is its quota and not its quality, so such calls are no failures; but more weight would bring more of them.
"""

from math import exp, sqrt
from typing import Final

RECENT_SECONDS: Final = 60.0
"""After so long a call counts by a third among the last ones."""
FEWEST: Final = 3.0
MATERIAL_SHARE: Final = 0.05
"""With 99 % certainty more of the last calls met the quota: a burst of a few in many is what retries are for."""
CEASED_SHARE: Final = 0.025
"""Below this the quota suffices again; lower than where it began, so that the canary does not hold and go on in turn."""
_DEVIATIONS: Final = 2.33


class QuotaWatch:
    """The last calls of a canary and those of them that met a quota; they fade, and know no steps."""

    __slots__ = ("ended", "holds", "throttled")

    def __init__(self) -> None:
        self.throttled = self.ended = 0.0
        self.holds = False

    def tick(self, seconds: float, *, throttled: float, ended: float) -> None:
        """Takes in the calls that ended in so many seconds."""
        kept = exp(-max(seconds, 0.0) / RECENT_SECONDS)
        self.throttled = kept * self.throttled + throttled
        self.ended = kept * self.ended + max(ended, throttled)
        if self.holds:
            enough = self.throttled >= 1.0
            self.holds = enough and self.throttled > CEASED_SHARE * self.ended
        else:
            enough = self.throttled >= FEWEST
            self.holds = enough and lower_bound(self.throttled, self.ended) > MATERIAL_SHARE


def lower_bound(part: float, whole: float, *, deviations: float = _DEVIATIONS) -> float:
    """Returns the lower end of the interval of a share (Wilson 1927)."""
    return interval(part, whole, deviations=deviations)[0]


def interval(part: float, whole: float, *, deviations: float) -> tuple[float, float]:
    """Returns both ends of the interval of a share (Wilson 1927); part may be at most whole, which is over 0."""
    squared = deviations * deviations
    share = part / whole
    middle = share + squared / (2 * whole)
    width = deviations * sqrt(max(share * (1 - share), 0.0) / whole + squared / (4 * whole * whole))
    scale = 1 + squared / whole
    return max((middle - width) / scale, 0.0), min((middle + width) / scale, 1.0)
