"""Estimates how long the attempts of one side take, from counters alone: Little's law (1961), and the longest time without an end."""

from math import exp, inf
from typing import Final

FEWEST_ENDED: Final = 20.0
"""Attempts of which a mean says something."""
FEWEST_OPEN: Final = 5.0
"""Attempts under way of which one could have ended."""
_FADE_SECONDS: Final = 600.0
"""After so long an attempt counts by a third among the last ones."""


class Pace:
    """The attempts of one side that have ended, those under way over time, and how long none ended while some were open.

    What is under way counts only once another attempt has ended: those that never end do not tell how long attempts take.
    """

    __slots__ = (
        "_area",
        "_ended",
        "_open_area",
        "_open_seconds",
        "_seconds",
        "_silent_seconds",
        "longest",
    )

    def __init__(self) -> None:
        self._area = self._ended = self._seconds = self.longest = 0.0
        # since the last end
        self._open_area = self._open_seconds = self._silent_seconds = 0.0

    def tick(self, seconds: float, *, ended: float, under_way: float) -> None:
        """Takes in what ended in so many seconds, and how many attempts are under way after them."""
        self._silent_seconds += seconds
        self._open_area += under_way * seconds
        if ended <= 0:
            if under_way >= FEWEST_OPEN:
                self._open_seconds += seconds
            return
        kept = exp(-self._silent_seconds / _FADE_SECONDS)
        self._area = kept * self._area + self._open_area
        self._ended = kept * self._ended + ended
        self._seconds = kept * self._seconds + self._silent_seconds
        self.longest = max(kept * self.longest, self._open_seconds)
        self._open_area = self._open_seconds = self._silent_seconds = 0.0

    @property
    def mean(self) -> float | None:
        """Returns the seconds that an attempt takes; None while too few have ended, or where relays do not say what is under way."""
        return self._area / self._ended if self._ended >= FEWEST_ENDED and self._area > 0 else None

    def silence(self, nats: float) -> float:
        """Returns the seconds without an end that are as unlikely as exp(-nats) at the usual rate of ends; infinity before any."""
        return nats * self._seconds / self._ended if self._ended > 0 else inf
