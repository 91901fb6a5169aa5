"""What a RelayRoute's spec asks of the state machine and of the judge."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import Analysis, Canary, Progression, RelayRoute, fingerprint
from relay_operator.decisions.analysis.verdict import LatencyObjective, Objective
from relay_operator.decisions.canary.state import Plan, ShadowPlan
from relay_operator.names import ANNOTATION_APPROVE, ANNOTATION_RETRY

_PATIENCE_SECONDS: Final = 86_400.0
"""Beyond the least time of a step, before it counts as overdue where the spec has no deadline."""
_FEWEST_COPIES: Final = 50
"""Where the spec names only a time: without any copy it would show nothing."""


def plan_of(route: RelayRoute, providers: Mapping[str, Provider]) -> Plan:
    """Reads from the spec what the state machine needs."""
    canary = route.spec.canary
    if canary is None:
        return Plan()
    annotations = route.metadata.annotations
    return replace(
        policy_of(route),
        fingerprint=fingerprint(canary, provider_uid=providers[canary.provider].metadata.uid),
        percent=canary.percent,
        retry=annotations.get(ANNOTATION_RETRY, ""),
        approval=annotations.get(ANNOTATION_APPROVE, ""),
    )


def policy_of(route: RelayRoute) -> Plan:
    """Reads how a canary is to be treated, whichever it is: it holds for the one in force also if the spec does not."""
    spec = route.spec
    if spec.canary is None:
        return Plan(
            freezes_on_breach=spec.analysis is not None and spec.analysis.on_breach == "Freeze"
        )
    analysis = spec.analysis or Analysis()
    progression = spec.canary.progression or Progression(
        step_percent=100, every=0.0, min_requests=analysis.min_requests if spec.analysis else 0
    )
    deadline = progression.step_deadline
    return Plan(
        shadow=_shadow_of(spec.canary),
        step_percent=progression.step_percent,
        every_seconds=progression.every,
        min_requests=progression.min_requests,
        guarded=spec.analysis is not None,
        paused=spec.paused,
        bake_seconds=spec.canary.bake,
        needs_approval=progression.approval == "Manual",
        deadline_seconds=progression.every + _PATIENCE_SECONDS
        if deadline.after is None
        else deadline.after,
        deadline_rolls_back=deadline.action == "Rollback",
        unmeasurable_seconds=analysis.unmeasurable.after,
        unmeasurable_rolls_back=analysis.unmeasurable.action == "Rollback",
        freezes_on_breach=analysis.on_breach == "Freeze",
        on_stable_breach=analysis.on_stable_breach,
        cool_down_seconds=analysis.cool_down,
        max_cost_increase_percent=analysis.cost.max_increase_percent if analysis.cost else None,
        holds_on_unknown_cost=analysis.cost is None or analysis.cost.when_unknown == "Hold",
    )


def _shadow_of(canary: Canary) -> ShadowPlan | None:
    """Reads what the shadow copies have to show; None where the spec asks for copies alone, or for none."""
    shadow = canary.shadow
    if shadow is None or (shadow.min_duration is None and shadow.min_requests is None):
        return None
    return ShadowPlan(
        min_seconds=shadow.min_duration or 0.0,
        min_requests=_FEWEST_COPIES if shadow.min_requests is None else shadow.min_requests,
        max_difference_percent=shadow.max_difference_percent,
    )


def objective_of(route: RelayRoute) -> Objective | None:
    """Reads from the spec what the judge needs."""
    analysis = route.spec.analysis
    if analysis is None:
        return None
    return Objective(
        window_seconds=analysis.window,
        min_requests=analysis.min_requests,
        max_error_percent=analysis.error_rate.max_percent if analysis.error_rate else None,
        max_error_increase_points=analysis.error_rate.max_increase_points
        if analysis.error_rate
        else None,
        max_token_drift_percent=analysis.tokens.max_drift_percent if analysis.tokens else None,
        latency=tuple(LatencyObjective(**latency.model_dump()) for latency in analysis.latency),
    )
