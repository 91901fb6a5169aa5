"""The counters that the control plane judges a canary by, of one tenant in one worker."""

from collections.abc import Iterable
from typing import Final

from relay.accounting.distributions import TokenCounts
from relay.accounting.metric_catalogue import Labels
from relay.accounting.metric_report import Report
from relay_contract.document import SIGNALS
from relay_contract.shadow import OUTCOMES, PAIRS, ShadowOutcome, ShadowPair

ATTEMPT_COUNTS: Final = (
    "started",
    "finished",
    "cancelled",
    "failed",
    "truncated",
    "throttled",
    "refused",
    "reported",
)


class SideCounters:
    """SLO counters of one side of one route. Plain attributes: they move with every attempt.

    Every started attempt is under way, finished or cancelled.
    """

    __slots__ = (
        "cancelled",
        "failed",
        "finished",
        "overhead_seconds",
        "refused",
        "reported",
        "slow",
        "started",
        "throttled",
        "timed",
        "tokens",
        "truncated",
    )

    def __init__(self) -> None:
        self.started = self.finished = self.cancelled = 0
        # among the finished
        self.failed = self.truncated = self.throttled = self.refused = 0
        # among the finished and the cancelled; tokens are theirs
        self.reported = 0
        self.overhead_seconds = 0.0
        self.slow = _per_signal()
        self.timed = _per_signal()
        self.tokens = TokenCounts()

    @property
    def under_way(self) -> int:
        """Returns how many have started and not ended."""
        return self.started - self.finished - self.cancelled


def _per_signal() -> dict[str, int]:
    return dict.fromkeys(SIGNALS, 0)


SideName = tuple[str, str, str]
"""Route, side label and fingerprint."""


class SloCounters:
    """Counters per side; a side that leaves and returns counts on."""

    __slots__ = ("_copies", "_sides", "_tenant_uid")

    def __init__(self, tenant_uid: str) -> None:
        self._copies: dict[tuple[str, str], dict[tuple[ShadowPair, ShadowOutcome], int]] = {}
        self._tenant_uid = tenant_uid
        self._sides: dict[SideName, SideCounters] = {}

    def side(self, route: str, label: str, fingerprint: str) -> SideCounters:
        """Returns the side's counters, new ones at zero if there are none."""
        name = (route, label, fingerprint)
        counters = self._sides.get(name)
        if counters is None:
            counters = self._sides[name] = SideCounters()
        return counters

    def count_copy(
        self, route: str, fingerprint: str, pair: ShadowPair, outcome: ShadowOutcome
    ) -> None:
        """Counts a shadow copy of a call of the route, whose canary has this fingerprint."""
        counts = self._copies.setdefault((route, fingerprint), {})
        counts[pair, outcome] = counts.get((pair, outcome), 0) + 1

    def report_copies(self, report: Report, route: str, fingerprint: str) -> None:
        """Adds the route's series of shadow copies to the report, from 0, before any copy."""
        counts = self._copies.get((route, fingerprint), {})
        series = report.setdefault("relay_slo_shadow_total", [])
        for pair in PAIRS:
            for outcome in OUTCOMES:
                labels = (self._tenant_uid, route, fingerprint, pair, outcome)
                series.append((labels, counts.get((pair, outcome), 0)))

    def report(self, report: Report, sides: Iterable[SideName]) -> None:
        """Adds the series of these sides to the report."""
        for route, label, fingerprint in sides:
            labels = (self._tenant_uid, route, label, fingerprint)
            _report_side(report, labels, self.side(route, label, fingerprint))


def _report_side(report: Report, labels: Labels, side: SideCounters) -> None:
    prefix = "relay_slo_attempts_"
    for name in ATTEMPT_COUNTS:
        report.setdefault(f"{prefix}{name}_total", []).append((labels, getattr(side, name)))
    under_way = report.setdefault(f"{prefix}under_way", [])
    under_way.append((labels, side.under_way))
    for name, counts in (("slow", side.slow), ("timed", side.timed)):
        series = report.setdefault(f"{prefix}{name}_total", [])
        series.extend(((*labels, signal), count) for signal, count in counts.items())
    tokens = report.setdefault("relay_slo_tokens_total", [])
    tokens.extend(((*labels, kind), count) for kind, count in side.tokens.by_kind())
    overhead = report.setdefault("relay_slo_overhead_seconds_total", [])
    overhead.append((labels, side.overhead_seconds))
