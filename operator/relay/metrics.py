"""What a worker counts, and how the counts of all workers become Prometheus text.

A worker only adds to plain dictionaries. On a scrape it sends them as they are; the supervisor merges and renders, so that
rendering never holds up a call. Label values come from the document, from this code, or are `other`: sets are bounded.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Page = Literal["metrics", "slo"]
Labels = tuple[str, ...]

LATENCY_BUCKETS: Final[tuple[float, ...]] = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
OVERHEAD_BUCKETS: Final[tuple[float, ...]] = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
)
"""Seconds; the promise is a median of 150 us."""


@dataclass(frozen=True, slots=True)
class Family:
    """merge says how several workers' gauges become one: their sum, or their largest."""

    name: str
    kind: Kind
    labels: Labels
    help: str
    page: Page = "metrics"
    buckets: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"


_SIDE: Final = ("route", "side", "fingerprint")

FAMILIES: Final = (
    Family("relay_requests_total", "counter", ("endpoint", "model", "status"), "Answered calls."),
    Family(
        "relay_request_duration_seconds",
        "histogram",
        ("endpoint", "model"),
        "From the request's first byte to the answer's last.",
        buckets=LATENCY_BUCKETS,
    ),
    Family(
        "relay_overhead_seconds",
        "histogram",
        (),
        "Time the relay itself added: before the provider was asked, less the queue, and after its first byte.",
        buckets=OVERHEAD_BUCKETS,
    ),
    Family(
        "relay_time_to_first_token_seconds",
        "histogram",
        ("route", "side"),
        "From the attempt's start to the first piece of the answer's body.",
        buckets=LATENCY_BUCKETS,
    ),
    Family(
        "relay_queue_wait_seconds",
        "histogram",
        (),
        "Time calls waited for a seat.",
        buckets=(0.001, *LATENCY_BUCKETS),
    ),
    Family("relay_in_flight", "gauge", (), "Calls that hold a seat."),
    Family("relay_queue_depth", "gauge", (), "Calls that wait for a seat."),
    Family("relay_client_connections", "gauge", (), "Open client connections."),
    Family("relay_upstream_connections", "gauge", ("provider",), "Open provider connections."),
    Family("relay_buffered_bytes", "gauge", (), "Request bodies held in memory."),
    Family(
        "relay_tokens_total",
        "counter",
        ("route", "side", "provider", "model", "kind"),
        "Tokens as providers reported them; kind is input, output, cached (within input) or reasoning (within output).",
    ),
    Family("relay_rejections_total", "counter", ("reason",), "Calls the relay refused."),
    Family(
        "relay_upstream_attempts_total",
        "counter",
        ("route", "side", "provider", "outcome"),
        "Attempts at providers by how they ended.",
    ),
    Family(
        "relay_fallbacks_total",
        "counter",
        ("route", "reason"),
        "Further attempts after one that was provably not processed.",
    ),
    Family(
        "relay_client_disconnects_total",
        "counter",
        ("route",),
        "Calls whose client left before the answer was whole.",
    ),
    Family(
        "relay_shadow_total",
        "counter",
        ("route", "outcome"),
        "Shadow copies by how they compared, or why they were skipped.",
    ),
    Family(
        "relay_usage_estimated_total",
        "counter",
        ("route", "side"),
        "Attempts whose tokens were estimated because none were reported.",
    ),
    Family(
        "relay_log_lines_dropped_total",
        "counter",
        (),
        "Log lines given up because standard output was stuck.",
    ),
    Family("relay_slo_attempts_started_total", "counter", _SIDE, "Attempts begun.", page="slo"),
    Family(
        "relay_slo_attempts_finished_total",
        "counter",
        _SIDE,
        "Attempts ended, in whatever way.",
        page="slo",
    ),
    Family(
        "relay_slo_attempts_failed_total",
        "counter",
        _SIDE,
        "Attempts the provider is to blame for: 5xx, 401 and 403, no connection, silence, broken or truncated answers.",
        page="slo",
    ),
    Family(
        "relay_slo_attempts_truncated_total",
        "counter",
        _SIDE,
        "Of the failed, answers that ended early.",
        page="slo",
    ),
    Family(
        "relay_slo_attempts_throttled_total",
        "counter",
        _SIDE,
        "Attempts answered 429: quota, not fault.",
        page="slo",
    ),
    Family(
        "relay_slo_attempts_slow_total",
        "counter",
        (*_SIDE, "signal"),
        "Attempts over the objective of the signal.",
        page="slo",
    ),
    Family(
        "relay_slo_attempts_timed_total",
        "counter",
        (*_SIDE, "signal"),
        "Attempts the signal was measured for.",
        page="slo",
    ),
    Family(
        "relay_slo_tokens_total", "counter", (*_SIDE, "kind"), "Tokens as reported.", page="slo"
    ),
    Family(
        "relay_slo_overhead_seconds_total",
        "counter",
        _SIDE,
        "Time the relay itself added.",
        page="slo",
    ),
    Family(
        "relay_slo_breaker_open",
        "gauge",
        ("route", "fingerprint"),
        "1 while a worker keeps traffic off the canary.",
        page="slo",
        merge="max",
    ),
    Family(
        "relay_slo_breaker_trips_total",
        "counter",
        ("route", "fingerprint"),
        "Times the breaker opened.",
        page="slo",
    ),
)
"""Names the control plane and dashboards rely on; tests/unit/relay/test_metrics.py holds them fixed."""

_BY_NAME: Final = {family.name: family for family in FAMILIES}

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
    """Tokens by kind, as `relay.usage.Tokens` defines them."""

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
        self.queue_wait = Distribution((0.001, *LATENCY_BUCKETS))
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
            family = _BY_NAME[name]
            target = merged.setdefault(name, {})
            for labels, value in series:
                former = target.get(labels)
                target[labels] = value if former is None else _sum(family, former, value)
    return merged


def _sum(family: Family, left: Any, right: Any) -> Any:
    if family.kind == "histogram":
        return [a + b for a, b in zip(left, right, strict=True)]
    return max(left, right) if family.merge == "max" else left + right


def without_gauges(report: Report) -> Report:
    """What stays true of a worker that has ended: its counters."""
    return {name: series for name, series in report.items() if _BY_NAME[name].kind != "gauge"}


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


def _render_histogram(lines: list[str], family: Family, labels: Labels, row: list[float]) -> None:
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
