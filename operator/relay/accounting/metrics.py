"""Counts of one worker.

A worker only adds to plain dictionaries. On a scrape it sends them as they are; the supervisor merges and renders, so that
rendering never holds up a call. Label values come from the document, from this code, or are `other`: sets are bounded.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from relay.accounting.distributions import Distribution, Histogram, TokenCounts
from relay.accounting.metric_catalogue import (
    LATENCY_BUCKETS,
    OVERHEAD_BUCKETS,
    QUEUE_WAIT_BUCKETS,
    Labels,
)
from relay.accounting.metric_report import Report


class CallSeries:
    """Answered calls of one endpoint and model: by status, and how long they took."""

    __slots__ = ("duration", "statuses")

    def __init__(self, duration: Distribution) -> None:
        self.duration = duration
        self.statuses: dict[int, int] = {}

    def answered(self, status: int, seconds: float) -> None:
        """Counts a call that ended with this status after so long."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.duration.observe(seconds)


class AttemptSeries:
    """Attempts of one side at one provider for one model; outcomes are those of all its models."""

    __slots__ = ("first_token", "outcomes", "tokens")

    def __init__(self, first_token: Distribution, outcomes: dict[str, int]) -> None:
        self.first_token = first_token
        self.outcomes = outcomes
        self.tokens = TokenCounts()


class WorkerMetrics:
    """Everything one worker counts beside the SLO counters.

    What moves with every call is found once and kept by whoever moves it.
    """

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], CallSeries] = {}
        self._attempts: dict[tuple[str, str, str, str], AttemptSeries] = {}
        self._outcomes: dict[tuple[str, str, str], dict[str, int]] = {}
        self.rejections: defaultdict[Labels, float] = defaultdict(int)
        self.fallbacks: defaultdict[Labels, float] = defaultdict(int)
        self.passed_over: defaultdict[Labels, float] = defaultdict(int)
        self.disconnects: defaultdict[Labels, float] = defaultdict(int)
        self.drained: defaultdict[Labels, float] = defaultdict(int)
        self.shadow: defaultdict[Labels, float] = defaultdict(int)
        self.estimated: defaultdict[Labels, float] = defaultdict(int)
        self.unreadable: defaultdict[Labels, float] = defaultdict(int)
        self.tool_calls: defaultdict[Labels, float] = defaultdict(int)
        self.duration = Histogram(LATENCY_BUCKETS)
        self.overhead = Distribution(OVERHEAD_BUCKETS)
        self.first_token = Histogram(LATENCY_BUCKETS)
        self.queue_wait = Distribution(QUEUE_WAIT_BUCKETS)
        self.tool_call_duration = Histogram(LATENCY_BUCKETS)

    def calls(self, endpoint: str, model: str) -> CallSeries:
        """Returns the series of answered calls."""
        series = self._calls.get((endpoint, model))
        if series is None:
            series = CallSeries(self.duration.of(endpoint, model))
            self._calls[endpoint, model] = series
        return series

    def attempts(self, route: str, side: str, provider: str, model: str) -> AttemptSeries:
        """Returns the series of attempts."""
        series = self._attempts.get((route, side, provider, model))
        if series is None:
            outcomes = self._outcomes.setdefault((route, side, provider), {})
            series = AttemptSeries(self.first_token.of(route, side), outcomes)
            self._attempts[route, side, provider, model] = series
        return series

    def report(self) -> Report:
        """Returns the counts as plain data."""
        return {
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
            "relay_passed_over_total": _rows(self.passed_over),
            "relay_client_disconnects_total": _rows(self.disconnects),
            "relay_drained_answers_total": _rows(self.drained),
            "relay_shadow_total": _rows(self.shadow),
            "relay_usage_estimated_total": _rows(self.estimated),
            "relay_usage_unreadable_total": _rows(self.unreadable),
            "relay_tool_calls_total": _rows(self.tool_calls),
            "relay_tool_call_duration_seconds": self.tool_call_duration.rows(),
            "relay_request_duration_seconds": self.duration.rows(),
            "relay_overhead_seconds": [((), self.overhead.row())],
            "relay_time_to_first_token_seconds": self.first_token.rows(),
            "relay_queue_wait_seconds": [((), self.queue_wait.row())],
        }


def _rows(series: Mapping[Labels, Any]) -> list[tuple[Labels, Any]]:
    return list(series.items())
