"""What a worker counts, and how the counts of all workers become Prometheus text.

A worker only adds to plain dictionaries. On a scrape it sends them as they are; the supervisor merges and renders, so that
rendering never holds up a call. Label values come from the document, from this code, or are `other`: sets are bounded.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from relay.accounting.metric_catalogue import (
    BY_NAME,
    FAMILIES,
    LATENCY_BUCKETS,
    OVERHEAD_BUCKETS,
    QUEUE_WAIT_BUCKETS,
    Labels,
    MetricFamily,
    Page,
)

SIGNALS: Final = ("Overhead", "FirstToken", "Total")


class Distribution:
    """How many values fell into each bucket, one beyond the last bound, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def row(self) -> list[float]:
        """The counts, then the sum."""
        return [*self.counts, self.total]


class Histogram:
    """A distribution per label set."""

    __slots__ = ("_bounds", "_series")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._series: dict[Labels, Distribution] = {}

    def of(self, *labels: str) -> Distribution:
        """The distribution of these labels, from nothing when they are new; worth keeping by whoever observes often."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Distribution(self._bounds)
        return series

    def rows(self) -> list[tuple[Labels, Any]]:
        """Label values and their row."""
        return [(labels, series.row()) for labels, series in self._series.items()]


class TokenCounts:
    """Tokens by kind, as `relay.dialect.reported_usage.Tokens` defines them."""

    __slots__ = ("cached", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.output = self.cached = self.reasoning = 0

    def by_kind(self) -> list[tuple[str, int]]:
        """Each kind's label and count."""
        return [
            ("input", self.input),
            ("output", self.output),
            ("cached", self.cached),
            ("reasoning", self.reasoning),
        ]


class SideCounters:
    """The SLO counters of one side of one route. Plain attributes: they move with every attempt."""

    __slots__ = (
        "failed",
        "finished",
        "overhead_seconds",
        "slow",
        "started",
        "throttled",
        "timed",
        "tokens",
        "truncated",
    )

    def __init__(self) -> None:
        self.started = self.finished = self.failed = self.truncated = self.throttled = 0
        self.overhead_seconds = 0.0
        self.slow = dict.fromkeys(SIGNALS, 0)
        self.timed = dict.fromkeys(SIGNALS, 0)
        self.tokens = TokenCounts()


class CallSeries:
    """What is counted for answered calls of one endpoint and model: by status, and how long they took."""

    __slots__ = ("duration", "statuses")

    def __init__(self, duration: Distribution) -> None:
        self.duration = duration
        self.statuses: dict[int, int] = {}

    def answered(self, status: int) -> None:
        """One more call with this status."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


class AttemptSeries:
    """What is counted for attempts of one side at one provider for one model; outcomes are those of all its models."""

    __slots__ = ("first_token", "outcomes", "tokens")

    def __init__(self, first_token: Distribution, outcomes: dict[str, int]) -> None:
        self.first_token = first_token
        self.outcomes = outcomes
        self.tokens = TokenCounts()


class WorkerMetrics:
    """Everything one worker counts. What moves with every call is found once and kept by whoever moves it."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], CallSeries] = {}
        self._attempts: dict[tuple[str, str, str, str], AttemptSeries] = {}
        self._outcomes: dict[tuple[str, str, str], dict[str, int]] = {}
        self.rejections: defaultdict[Labels, float] = defaultdict(int)
        self.fallbacks: defaultdict[Labels, float] = defaultdict(int)
        self.disconnects: defaultdict[Labels, float] = defaultdict(int)
        self.shadow: defaultdict[Labels, float] = defaultdict(int)
        self.estimated: defaultdict[Labels, float] = defaultdict(int)
        self.duration = Histogram(LATENCY_BUCKETS)
        self.overhead = Distribution(OVERHEAD_BUCKETS)
        self.first_token = Histogram(LATENCY_BUCKETS)
        self.queue_wait = Distribution(QUEUE_WAIT_BUCKETS)
        self.sides: dict[Labels, SideCounters] = {}

    def side(self, route: str, label: str, fingerprint: str) -> SideCounters:
        """The side's counters, from 0 when it is new and from where they stood when it comes back."""
        labels = (route, label, fingerprint)
        counters = self.sides.get(labels)
        if counters is None:
            counters = self.sides[labels] = SideCounters()
        return counters

    def calls(self, endpoint: str, model: str) -> CallSeries:
        """The series of answered calls."""
        series = self._calls.get((endpoint, model))
        if series is None:
            series = CallSeries(self.duration.of(endpoint, model))
            self._calls[endpoint, model] = series
        return series

    def attempts(self, route: str, side: str, provider: str, model: str) -> AttemptSeries:
        """The series of attempts."""
        series = self._attempts.get((route, side, provider, model))
        if series is None:
            outcomes = self._outcomes.setdefault((route, side, provider), {})
            series = AttemptSeries(self.first_token.of(route, side), outcomes)
            self._attempts[route, side, provider, model] = series
        return series

    def report(self, *, sides: Iterable[Labels]) -> "Report":
        """The counts as plain data, with the SLO series of the given sides."""
        report: Report = {
            "relay_requests_total": [
                ((*labels, str(status)), count)
                for labels, series in self._calls.items()
                for status, count in series.statuses.items()
            ],
            "relay_tokens_total": [
                ((*labels, kind), count)
                for labels, attempts in self._attempts.items()
                for kind, count in attempts.tokens.by_kind()
            ],
            "relay_rejections_total": _rows(self.rejections),
            "relay_upstream_attempts_total": [
                ((*labels, outcome), count)
                for labels, outcomes in self._outcomes.items()
                for outcome, count in outcomes.items()
            ],
            "relay_fallbacks_total": _rows(self.fallbacks),
            "relay_client_disconnects_total": _rows(self.disconnects),
            "relay_shadow_total": _rows(self.shadow),
            "relay_usage_estimated_total": _rows(self.estimated),
            "relay_request_duration_seconds": self.duration.rows(),
            "relay_overhead_seconds": [((), self.overhead.row())],
            "relay_time_to_first_token_seconds": self.first_token.rows(),
            "relay_queue_wait_seconds": [((), self.queue_wait.row())],
        }
        for labels in sides:
            _report_side(report, labels, self.side(*labels))
        return report


Report = dict[str, list[tuple[Labels, Any]]]
"""Per family its series: label values and a number, or a histogram's row."""


def _rows(series: Mapping[Labels, Any]) -> list[tuple[Labels, Any]]:
    return list(series.items())


def _report_side(report: Report, labels: Labels, side: SideCounters) -> None:
    prefix = "relay_slo_attempts_"
    for name in ("started", "finished", "failed", "truncated", "throttled"):
        report.setdefault(f"{prefix}{name}_total", []).append((labels, getattr(side, name)))
    for name, counts in (("slow", side.slow), ("timed", side.timed)):
        series = report.setdefault(f"{prefix}{name}_total", [])
        series.extend(((*labels, signal), count) for signal, count in counts.items())
    tokens = report.setdefault("relay_slo_tokens_total", [])
    tokens.extend(((*labels, kind), count) for kind, count in side.tokens.by_kind())
    overhead = report.setdefault("relay_slo_overhead_seconds_total", [])
    overhead.append((labels, side.overhead_seconds))


def received(data: Any) -> Report:
    """A report as it left its worker: on the way tuples became lists."""
    return {
        name: [(tuple(labels), value) for labels, value in series] for name, series in data.items()
    }


def merge(reports: Iterable[Report]) -> dict[str, dict[Labels, Any]]:
    """The reports of several workers as one: counters, histograms and most gauges add up."""
    merged: dict[str, dict[Labels, Any]] = {}
    for report in reports:
        for name, series in report.items():
            family = BY_NAME[name]
            target = merged.setdefault(name, {})
            for labels, value in series:
                former = target.get(labels)
                target[labels] = value if former is None else _sum(family, former, value)
    return merged


def _sum(family: MetricFamily, left: Any, right: Any) -> Any:
    if family.kind == "histogram":
        return [a + b for a, b in zip(left, right, strict=True)]
    return max(left, right) if family.merge == "max" else left + right


def without_gauges(report: Report) -> Report:
    """What stays true of a worker that has ended: its counters."""
    return {name: series for name, series in report.items() if BY_NAME[name].kind != "gauge"}


def render(merged: Mapping[str, Mapping[Labels, Any]], page: Page) -> str:
    """The page's families in the Prometheus text format, version 0.0.4."""
    lines: list[str] = []
    for family in FAMILIES:
        if family.page != page:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for labels, value in sorted(merged.get(family.name, {}).items()):
            if family.kind == "histogram":
                _render_histogram(lines, family, labels, value)
            else:
                lines.append(f"{family.name}{_label_text(family.labels, labels)} {value}")
    return "\n".join(lines) + "\n"


def render_gauge(name: str, help_text: str, value: float) -> str:
    """A gauge that belongs to the process, not to its workers."""
    return f"# HELP {name} {help_text}\n# TYPE {name} gauge\n{name} {value}\n"


def _render_histogram(
    lines: list[str], family: MetricFamily, labels: Labels, row: list[float]
) -> None:
    total = 0.0
    names = (*family.labels, "le")
    for bound, count in zip((*family.buckets, "+Inf"), row[:-1], strict=True):
        total += count
        lines.append(f"{family.name}_bucket{_label_text(names, (*labels, str(bound)))} {total:g}")
    text = _label_text(family.labels, labels)
    lines.append(f"{family.name}_sum{text} {row[-1]}")
    lines.append(f"{family.name}_count{text} {total:g}")


def _label_text(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
