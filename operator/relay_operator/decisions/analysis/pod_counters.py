"""The counters of one relay pod about one route, followed from scrape to scrape."""

from operator import gt, sub
from typing import Final

from relay_contract.document import SIGNALS
from relay_operator.decisions.analysis.scrapes import ATTEMPTS, COUNTERS, INDEX, Figures, Scrape

Increases = list[float]
"""Counts of one side between two scrapes, in the order of `FIGURES`, without the last, which is a level."""

_TIMES: Final = tuple(
    (signal, INDEX[f"slow/{signal}"], INDEX[f"timed/{signal}"]) for signal in SIGNALS
)


class PodCounters:
    """Follows the counters of one pod. at is the time of its newest scrape, 0 before the first.

    seen_at is when that was read, on the operator's own clock; open tells whether the canary's breaker is, and its probe failed. impossible says
    what the newest scrape holds that cannot be; it is empty otherwise.
    """

    __slots__ = (
        "_figures",
        "_figures_at",
        "_longest_seconds",
        "_start",
        "at",
        "impossible",
        "open",
        "seen_at",
    )

    def __init__(self, *, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._figures: tuple[Figures, Figures] | None = None
        self._figures_at = self._start = 0.0
        self.at = self.seen_at = 0.0
        self.open = False
        self.impossible = ""

    def take(self, scrape: Scrape, *, seen_at: float) -> tuple[Increases, Increases] | None:
        """Takes the next scrape; returns what stable and canary counted since the last, None when nothing certain.

        A restart is known by the start time alone: then the new process's own counts are all that is certain. Where
        any counter of the same process fell, nothing of the scrape is counted, as one figure of it would be only a part
        of a share; what comes after is compared with what stood before, so nothing is counted twice.
        """
        if scrape.at <= self.at or not self._notice(scrape, seen_at):
            return None
        former, known = self._figures, self._figures is not None
        restarted = known and scrape.start > self._start
        if former is not None and not restarted and self._is_behind(scrape, former):
            return None
        lost = scrape.at - self._figures_at > self._longest_seconds
        self._figures, self._start = (scrape.stable, scrape.canary), scrape.start
        self._figures_at = scrape.at
        if former is None or lost:
            return None
        if restarted:
            return scrape.stable[:COUNTERS], scrape.canary[:COUNTERS]
        return _increases(former[0], scrape.stable), _increases(former[1], scrape.canary)

    def step_back(self, scrape: Scrape, *, seen_at: float) -> None:
        """Takes a scrape of a clock that was set back. What lies between the clocks is lost, and counted by neither."""
        if self._notice(scrape, seen_at):
            self._figures_at = float("-inf")

    def _notice(self, scrape: Scrape, seen_at: float) -> bool:
        """Takes in that the pod was heard; False when what it says cannot be."""
        self.impossible = impossibility(scrape)
        if self.impossible:
            return False
        self.at, self.seen_at, self.open = scrape.at, seen_at, bool(scrape.breaker)
        return True

    def _is_behind(self, scrape: Scrape, former: tuple[Figures, Figures]) -> bool:
        """Tells whether the scrape shows an older moment than one that was counted, or a counter that fell."""
        return (
            scrape.start < self._start
            or _fell(former[0], scrape.stable)
            or _fell(former[1], scrape.canary)
        )

    def under_way(self) -> tuple[float, float]:
        """Returns how many attempts of stable and canary have begun and not ended, 0 where the relay does not say."""
        if self._figures is None:
            return 0.0, 0.0
        stable, canary = self._figures
        return stable[COUNTERS], canary[COUNTERS]


def impossibility(scrape: Scrape) -> str:
    """Says what figures contradict each other; nothing when they can be true. No numbers: it stays the same text."""
    for side, figures in (("canary", scrape.canary), ("stable", scrape.stable)):
        found = _contradiction(figures)
        if found:
            return f"{found} attempts of {side}"
    return ""


def _contradiction(figures: Figures) -> str:
    """Finds a part that exceeds its whole, over a process's whole life."""
    started, finished, failed, cancelled, throttled, refused, truncated = figures[: len(ATTEMPTS)]
    if failed + throttled + refused > finished:
        return "more failed, throttled and refused than finished"
    if finished + cancelled > started:
        return "more finished and cancelled than started"
    if truncated > failed:
        return "more truncated than failed"
    for signal, slow, timed in _TIMES:
        if figures[slow] > figures[timed]:
            return f"more slow than timed ({signal})"
        if figures[timed] > started:
            return f"more timed ({signal}) than started"
    return ""


def _fell(former: Figures, figures: Figures) -> bool:
    return any(map(gt, former[:COUNTERS], figures[:COUNTERS]))


def _increases(former: Figures, figures: Figures) -> Increases:
    return list(map(sub, figures[:COUNTERS], former[:COUNTERS]))
