"""Series about one route each: its phase and weight, and while its canary is on trial what that is held to and what speaks against it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_operator.cluster.metrics.written_metric import Lines, line
from relay_operator.decisions import conditions
from relay_operator.decisions.canary.run import COSTS, Run
from relay_operator.decisions.canary.state import Phase
from relay_operator.decisions.judgement.route_judge import RouteJudge
from relay_operator.names import ConditionType, Reason

_ROUTE: Final = ("namespace", "route")
_TEST: Final = (*_ROUTE, "metric", "test")
_NOT_ON_TRIAL: Final = (Phase.STABLE, Phase.PROMOTED)
"""Phases whose figures nobody looks at: most routes of a fleet are in one of them, at a dozen series each."""
SHAPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "ready": ("1 while the condition Ready of the RelayRoute is True.", _ROUTE),
    "phase": ("1 for the phase that the route is in.", (*_ROUTE, "phase")),
    "canary_weight_percent": ("Share of the sessions that the canary has.", _ROUTE),
    "canary_target_percent": (
        "Share of the sessions that the canary is to have in the end.",
        _ROUTE,
    ),
    "step_due_timestamp_seconds": (
        "When the present step could be passed at the earliest.",
        _ROUTE,
    ),
    "step_overdue": ("1 while a step has not been passed by its deadline.", _ROUTE),
    "awaiting_approval": ("1 while a step that is passed waits for a person.", _ROUTE),
    "unmeasurable_since_timestamp_seconds": (
        "Since when the canary cannot be measured; absent while it can.",
        _ROUTE,
    ),
    "rolled_back_timestamp_seconds": (
        "When a canary of the route was last rolled back; absent if none was.",
        _ROUTE,
    ),
    "verdict": (
        "1 for the verdict on the canary and its reason; absent while there is none on trial.",
        (*_ROUTE, "verdict", "reason"),
    ),
    "step_requests": ("Calls of the canary that were answered since the step began.", _ROUTE),
    "step_requests_needed": ("Calls that the step needs at least.", _ROUTE),
    "step_certified": (
        "1 once the canary was shown, with 95 % certainty, to keep to every limit on this step.",
        _ROUTE,
    ),
    "evidence_nats": (
        "Evidence that the canary breaks a limit, as a natural logarithm, by metric (as in status) and test: absolute (the limit "
        "itself) or increase (what stable does, and the points that are allowed beyond).",
        _TEST,
    ),
    "evidence_needed_nats": ("Evidence from which on the canary is convicted.", _TEST),
    "allowed_ratio": ("Share of bad calls that the test allows at present.", _TEST),
    "latency_limit_seconds": (
        "Time that a call may take by the signal (maxMilliseconds of the spec).",
        (*_ROUTE, "signal"),
    ),
    "token_drift_percent": (
        "By how much the tokens an answer differ from stable's for certain, where the spec has a limit, by kind (input, output).",
        (*_ROUTE, "kind"),
    ),
    "token_drift_limit_percent": (
        "By how much the tokens an answer may differ (maxDriftPercent of the spec).",
        _ROUTE,
    ),
    "cost_increase_percent": (
        "By how much a call of the canary costs more than one of stable, as far as is known; negative where it costs less.",
        _ROUTE,
    ),
    "cost_increase_limit_percent": (
        "By how much it may (analysis.cost.maxIncreasePercent of the spec).",
        _ROUTE,
    ),
    "cost_held": ("1 while the cost of the canary's calls, known or not, holds its climb.", _ROUTE),
}
"""Help and labels of each metric."""
PREFIX: Final = "relay_operator_route_"


def made_of(watched: object, run: Run | None) -> tuple[object, ...] | None:
    """Returns what a route's lines depend on while nothing is on trial; None of one whose figures are others at every scrape."""
    if run is None:
        return (watched,) + (None,) * 6
    if run.state.phase not in _NOT_ON_TRIAL:
        return None
    return (
        watched,
        run,
        run.state,
        run.plan,
        run.standing,
        run.unmeasurable_since,
        run.is_measured,
    )


def lines_of(namespace: str, route: str, status: Mapping[str, Any], run: Run | None) -> Lines:
    """Returns the lines about a route; its status tells of one that has no run in this life of the operator yet."""
    return _RouteLines().of([namespace, route], status, run)


class _RouteLines:
    """The lines about one route, series by series."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def of(self, labels: list[str], status: Mapping[str, Any], run: Run | None) -> Lines:
        ready = conditions.find(status, ConditionType.READY).get("status") == "True"
        self._put("ready", labels, float(ready))
        if run is None:
            if status.get("phase"):
                self._put("phase", [*labels, str(status["phase"])], 1)
            return self._lines
        self._add_position(labels, run)
        if run.state.fingerprint:
            self._add_canary(labels, run)
            if run.state.phase not in _NOT_ON_TRIAL:
                self._add_trial(labels, run)
        return self._lines

    def _add_position(self, labels: list[str], run: Run) -> None:
        self._put("phase", [*labels, run.state.phase.value], 1)
        self._put("canary_weight_percent", labels, run.state.weight_percent)
        if run.state.rolled_back:
            self._put("rolled_back_timestamp_seconds", labels, run.state.rolled_back[-1].at)

    def _add_canary(self, labels: list[str], run: Run) -> None:
        reason = run.standing.reason if run.standing is not None else None
        earliest = run.standing.earliest if run.standing is not None else 0.0
        self._put("canary_target_percent", labels, run.plan.percent)
        self._put("step_due_timestamp_seconds", labels, earliest or run.state.step_started_at)
        self._put("step_overdue", labels, float(reason is Reason.STEP_DEADLINE))
        self._put("awaiting_approval", labels, float(reason is Reason.AWAITING_APPROVAL))
        if run.is_measured and math.isfinite(run.unmeasurable_since):
            self._put("unmeasurable_since_timestamp_seconds", labels, run.unmeasurable_since)

    def _add_trial(self, labels: list[str], run: Run) -> None:
        if run.measured_at:
            verdict = run.verdict
            self._put("verdict", [*labels, verdict.outcome.value, verdict.reason.value], 1)
            self._put("step_certified", labels, float(verdict.certified))
        self._put("step_requests_needed", labels, run.plan.min_requests)
        limit = run.plan.max_cost_increase_percent
        if limit is not None:
            self._add_cost(labels, run, limit)
        if run.judge is not None:
            self._put("step_requests", labels, run.step_requests)
            self._add_tests(labels, run.judge)

    def _add_cost(self, labels: list[str], run: Run, limit: float) -> None:
        held = run.standing is not None and run.standing.reason in COSTS
        self._put("cost_increase_limit_percent", labels, limit)
        self._put("cost_held", labels, float(held))
        if run.cost is not None and run.cost.increase_percent is not None:
            self._put("cost_increase_percent", labels, run.cost.increase_percent)

    def _add_tests(self, labels: list[str], judge: RouteJudge) -> None:
        for figure in judge.figures():
            test = [*labels, figure.metric, figure.test]
            self._put("evidence_nats", test, figure.evidence)
            self._put("evidence_needed_nats", test, figure.needed)
            self._put("allowed_ratio", test, figure.allowed)
        for latency in judge.objective.latency:
            seconds = latency.max_milliseconds / 1000
            self._put("latency_limit_seconds", [*labels, latency.signal], seconds)
        limit = judge.objective.max_token_drift_percent
        if limit is not None:
            self._put("token_drift_limit_percent", labels, limit)
            for kind, drift in judge.tokens.items():
                self._put("token_drift_percent", [*labels, kind], drift.least_percent)

    def _put(self, name: str, values: Sequence[str], value: float) -> None:
        metric, labels = PREFIX + name, dict(zip(SHAPES[name][1], values, strict=True))
        self._lines[metric] = self._lines.get(metric, "") + line(metric, labels, value)
