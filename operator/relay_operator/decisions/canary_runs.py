"""Where every route's canary stands: plan, state, verdict and weight, decided in one place without waiting.

Decisions are synchronous: between reading the state and setting the weight nothing else runs, so the SLO loop and
the reconcilers may both call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute, fingerprint
from relay_operator.decisions import canary, verdict
from relay_operator.decisions.canary import Decision, Phase, Plan, State
from relay_operator.decisions.conditions import timestamp
from relay_operator.decisions.evidence import Evidence
from relay_operator.decisions.verdict import LatencyObjective, Objective, Outcome, Verdict
from relay_operator.names import Reason

RouteKey = tuple[str, str]
"""namespace, name"""

_HISTORY_LENGTH = 10
_NOT_MEASURED = Verdict(
    outcome=Outcome.UNMEASURABLE, reason=Reason.NO_DATA, message="not measured yet"
)


@dataclass(slots=True)
class Run:
    """One route as it is being run. measured_at is seconds since the epoch, 0 before the first measurement."""

    plan: Plan
    objective: Objective | None
    stable_fingerprint: str
    state: State
    verdict: Verdict = _NOT_MEASURED
    measured_at: float = 0.0
    last: Decision | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    unannounced: list[Decision] = field(default_factory=list)

    @property
    def is_measured(self) -> bool:
        """Whether the SLO loop looks at it: traffic on an undecided canary, and an objective to hold it to."""
        undecided = self.state.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK)
        return undecided and self.state.weight_percent > 0 and self.objective is not None


@dataclass(slots=True)
class CanaryRuns:
    evidence: Evidence
    runs: dict[RouteKey, Run] = field(default_factory=dict)

    def accept(
        self,
        route: RelayRoute,
        providers: Mapping[str, Provider],
        *,
        in_force: document.Route | None,
        now: float,
    ) -> Run:
        """The route's run under its current spec; a first sight resumes from status and the fragment in force."""
        key = (route.metadata.namespace, route.metadata.name)
        plan, objective = plan_of(route, providers), objective_of(route)
        stable = route.spec.stable
        stable_fingerprint = fingerprint(
            stable, provider_uid=providers[stable.provider].metadata.uid
        )
        run = self.runs.get(key)
        if run is None:
            run = Run(
                plan=plan,
                objective=objective,
                stable_fingerprint=stable_fingerprint,
                state=_resume(state_from(route.status), in_force, now),
            )
            self.runs[key] = run
        run.plan, run.objective, run.stable_fingerprint = plan, objective, stable_fingerprint
        return run

    def forget(self, key: RouteKey) -> None:
        self.runs.pop(key, None)

    def measure(self, key: RouteKey, *, expected_pods: frozenset[str], now: float) -> None:
        """Judges the route's window and keeps the verdict."""
        run = self.runs[key]
        if run.objective is None:
            return
        namespace, route = key
        window = self.evidence.window(
            namespace=namespace,
            route=route,
            stable=run.stable_fingerprint,
            canary=run.plan.fingerprint,
            expected_pods=expected_pods,
            # a verdict speaks of this step: what happened before it has been judged then
            since=max(now - run.objective.window_seconds, run.state.step_started_at),
            now=now,
        )
        run.verdict, run.measured_at = verdict.judge(run.objective, window), now

    def unmeasurable(self, key: RouteKey, *, message: str, now: float) -> None:
        """Prometheus gave no answer; holds, never moves."""
        unavailable = Verdict(
            outcome=Outcome.UNMEASURABLE, reason=Reason.PROMETHEUS_UNAVAILABLE, message=message
        )
        run = self.runs[key]
        run.verdict, run.measured_at = unavailable, now

    def decide(self, key: RouteKey, *, now: float) -> tuple[Decision, bool]:
        """The decision now in force, and whether it moved the state."""
        run = self.runs[key]
        namespace, route = key
        requests = self.evidence.finished_since(
            namespace=namespace,
            route=route,
            fingerprint=run.plan.fingerprint,
            moment=run.state.step_started_at,
        )
        decision = canary.next_state(
            run.state, run.verdict, plan=run.plan, step_requests=requests, now=now
        )
        moved = decision.state != run.state
        if decision.state.fingerprint != run.state.fingerprint:
            run.verdict, run.measured_at = _NOT_MEASURED, 0.0
        run.state, run.last = decision.state, decision
        if moved:
            run.unannounced.append(decision)
            run.history = [*run.history, _entry(decision, now)][-_HISTORY_LENGTH:]
        return decision, moved


def _resume(state: State, in_force: document.Route | None, now: float) -> State:
    if in_force is None or in_force.canary is None:
        return state
    return canary.resumed(
        state,
        fingerprint_in_force=in_force.canary.fingerprint,
        weight_in_force=in_force.canary_percent,
        now=now,
    )


def plan_of(route: RelayRoute, providers: Mapping[str, Provider]) -> Plan:
    """What the spec asks of the canary's state machine."""
    spec = route.spec
    if spec.canary is None:
        return Plan()
    uid = providers[spec.canary.provider].metadata.uid
    progression = spec.canary.progression
    return Plan(
        fingerprint=fingerprint(spec.canary, provider_uid=uid),
        percent=spec.canary.percent,
        step_percent=progression.step_percent if progression else 100,
        every_seconds=progression.every if progression else 0.0,
        min_requests=progression.min_requests
        if progression
        else (spec.analysis.min_requests if spec.analysis else 0),
        guarded=spec.analysis is not None,
        paused=spec.paused,
    )


def objective_of(route: RelayRoute) -> Objective | None:
    """What the spec asks of the judge."""
    analysis = route.spec.analysis
    if analysis is None:
        return None
    return Objective(
        window_seconds=analysis.window,
        min_requests=analysis.min_requests,
        max_error_percent=analysis.error_rate.max_percent if analysis.error_rate else None,
        latency=tuple(LatencyObjective(**latency.model_dump()) for latency in analysis.latency),
    )


def state_from(status: Mapping[str, Any]) -> State:
    """The state a status tells of; the first state when it tells of none."""
    if "canaryFingerprint" not in status:
        return State()
    step = status.get("step", {})
    return State(
        phase=Phase(status.get("phase", Phase.STABLE)),
        weight_percent=int(status.get("weights", {}).get("canaryPercent", 0)),
        fingerprint=str(status["canaryFingerprint"]),
        step_index=int(step.get("index", 0)),
        step_started_at=_seconds(step.get("startedAt")),
        cause=next((entry["message"] for entry in reversed(status.get("history", []))), ""),
    )


def _entry(decision: Decision, now: float) -> dict[str, Any]:
    return {
        "at": timestamp(now),
        "reason": decision.reason.value,
        "message": decision.message,
        "canaryPercent": decision.state.weight_percent,
    }


def _seconds(text: str | None) -> float:
    if not text:
        return 0.0
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
