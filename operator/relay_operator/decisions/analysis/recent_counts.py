"""Counts of both sides within a window, kept as the ticks bring them."""

from collections import deque
from collections.abc import Iterable

from relay_contract.document import SIGNALS
from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.verdict import SideCounts, Window

_Totals = dict[str, float]


class RecentCounts:
    """Sums of the last ticks. Only ticks that brought something are kept, so a window holds at most one a scrape and pod."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[float, _Totals, _Totals]] = deque()
        self._stable: _Totals = {}
        self._canary: _Totals = {}

    def add(self, increments: Increments, *, window_seconds: float) -> Window:
        """Adds a tick; returns the counts of the window that ends with it."""
        stable, canary = _counts(increments.stable), _counts(increments.canary)
        if stable or canary:
            self._ticks.append((increments.now, stable, canary))
            _add(self._stable, stable.items())
            _add(self._canary, canary.items())
        while self._ticks and self._ticks[0][0] <= increments.now - window_seconds:
            _, stable, canary = self._ticks.popleft()
            _add(self._stable, ((name, -count) for name, count in stable.items()))
            _add(self._canary, ((name, -count) for name, count in canary.items()))
        return Window(
            stable=_side(self._stable),
            canary=_side(self._canary),
            pods=increments.fresh_pods,
            expected_pods=increments.expected_pods,
            tripped_pods=increments.tripped_pods,
        )


def _counts(side: SideIncrements) -> _Totals:
    counts = {name: getattr(side, name) for name in ("finished", "failed", "throttled", "refused")}
    for signal, (slow, timed) in side.slow.items():
        counts[f"slow/{signal}"], counts[f"timed/{signal}"] = slow, timed
    return {name: count for name, count in counts.items() if count}


def _add(totals: _Totals, counts: Iterable[tuple[str, float]]) -> None:
    for name, count in counts:
        totals[name] = totals.get(name, 0.0) + count


def _side(totals: _Totals) -> SideCounts:
    slow = {
        signal: (totals.get(f"slow/{signal}", 0.0), timed)
        for signal in SIGNALS
        if (timed := totals.get(f"timed/{signal}", 0.0))
    }
    return SideCounts(
        finished=totals.get("finished", 0.0),
        failed=totals.get("failed", 0.0),
        throttled=totals.get("throttled", 0.0),
        refused=totals.get("refused", 0.0),
        slow=slow,
    )
