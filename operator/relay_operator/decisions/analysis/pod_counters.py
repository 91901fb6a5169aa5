"""The counters of one relay pod about one route, followed from scrape to scrape."""

from operator import gt, sub
from typing import Final

from relay_contract.document import SIGNALS
from relay_operator.decisions.analysis.scrapes import ATTEMPTS, COUNTERS, INDEX, Figures, Scrape

Increases = list[float]
"""Counts of one side between two scrapes, in the order of `FIGURES`, without the last, which is a level."""

_MOST_PROCESSES: Final = 4
"""Of a pod, whose last figures are kept: more restarts than that within a gap of the scrapes are not told apart."""
_TIMES: Final = tuple(
    (signal, INDEX[f"slow/{signal}"], INDEX[f"timed/{signal}"]) for signal in SIGNALS
)


class PodCounters:
    """Follows the counters of one pod. at is the time of its newest scrape, 0 before the first.

    seen_at is when that was read, on the operator's own clock; open tells whether the canary's breaker is, and its probe failed. impossible says
    what the newest scrape holds that cannot be; it is empty otherwise.
    """

    __slots__ = (
        "_figures_at",
        "_last",
        "_longest_seconds",
        "_newest_start",
        "_start",
        "at",
        "impossible",
        "open",
        "seen_at",
    )

    def __init__(self, *, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        # by the start of the process, the figures that were counted last
        self._last: dict[float, tuple[Figures, Figures]] = {}
        self._figures_at = self._start = self._newest_start = 0.0
        self.at = self.seen_at = 0.0
        self.open = False
        self.impossible = ""

    def take(self, scrape: Scrape, *, seen_at: float) -> tuple[Increases, Increases] | None:
        """Takes the next scrape; returns what stable and canary counted since the last, None when nothing certain.

        A restart is known by the start time alone: then the new process's own counts are all that is certain. Where
        any counter of the same process fell, nothing of the scrape is counted, as one figure of it would be only a part
        of a share; what comes after is compared with what stood before, so nothing is counted twice. A process that began
        earlier is that of a replica of Prometheus that is behind, or one that began by a clock that was set back: after so long
        that nothing else was heard, counting goes on from its figures.
        """
        if scrape.at <= self.at or not self._notice(scrape, seen_at):
            return None
        former = self._last.get(scrape.start)
        if former is not None and _is_behind(scrape, former):
            return None
        lost = scrape.at - self._figures_at > self._longest_seconds
        restarted = scrape.start > self._newest_start
        is_former_process = scrape.start != self._start and not restarted
        if is_former_process and not lost:
            return None
        is_first = not self._last
        self._keep(scrape)
        if is_first or lost:
            return None
        if former is None:
            return scrape.stable[:COUNTERS], scrape.canary[:COUNTERS]
        return _increases(former[0], scrape.stable), _increases(former[1], scrape.canary)

    def _keep(self, scrape: Scrape) -> None:
        self._start, self._figures_at = scrape.start, scrape.at
        self._newest_start = max(self._newest_start, scrape.start)
        self._last.pop(scrape.start, None)
        self._last[scrape.start] = scrape.stable, scrape.canary
        if len(self._last) > _MOST_PROCESSES:
            del self._last[next(iter(self._last))]

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

    def under_way(self) -> tuple[float, float]:
        """Returns how many attempts of stable and canary have begun and not ended, 0 where the relay does not say."""
        if not self._last:
            return 0.0, 0.0
        stable, canary = self._last[self._start]
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


def _is_behind(scrape: Scrape, former: tuple[Figures, Figures]) -> bool:
    """Tells whether the scrape shows an older moment than one that was counted, or a counter that fell."""
    return _fell(former[0], scrape.stable) or _fell(former[1], scrape.canary)


def _fell(former: Figures, figures: Figures) -> bool:
    return any(map(gt, former[:COUNTERS], figures[:COUNTERS]))


def _increases(former: Figures, figures: Figures) -> Increases:
    return list(map(sub, figures[:COUNTERS], former[:COUNTERS]))
