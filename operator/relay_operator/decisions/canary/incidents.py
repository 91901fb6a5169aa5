"""What keeps a weight where it is: a breach that freezes, an incident of both sides, nothing to measure by."""

from dataclasses import replace
from typing import Final

from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.state import Decision, Phase, Plan, State
from relay_operator.decisions.canary.stays import MOST_CHARACTERS, roll_back, stay, stay_frozen
from relay_operator.names import ANNOTATION_RETRY, Reason

QUIET_SECONDS: Final = 60.0
"""A shared incident is over when neither side has shown it for this long."""


def breached(state: State, look: Look, plan: Plan) -> Decision | None:
    has_failed = look.verdict.outcome is Outcome.BREACHED and state.weight_percent > 0
    if not has_failed or state.phase is Phase.PROMOTED or state.is_frozen_by_breach:
        return None
    if not plan.freezes_on_breach:
        cause = f"rolled back from {state.weight_percent} %: {look.verdict.message}"
        return roll_back(state, cause, look.now)
    weight = min(state.weight_percent, plan.percent)
    frozen = replace(
        state,
        phase=Phase.FROZEN,
        weight_percent=weight,
        step_started_at=look.now,
        cause=f"frozen at {weight} %: {look.verdict.message}"[:MOST_CHARACTERS],
        cause_reason=Reason.SLO_BREACH,
    )
    return replace(stay_frozen(frozen), reason=Reason.SLO_BREACH)


def frozen_by_breach(state: State, look: Look, plan: Plan) -> Decision | None:
    if not state.is_frozen_by_breach:
        return None
    if plan.retry != state.run_token:
        return stay_frozen(state)
    going_on = replace(
        state, phase=Phase.PROGRESSING, cause="", step_started_at=look.now, run=state.run + 1
    )
    message = f"goes on at {state.weight_percent} % by the annotation {ANNOTATION_RETRY}"
    return Decision(state=going_on, reason=Reason.RESUMED, message=message)


def shared_incident(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.weight_percent == 0 or state.phase is Phase.PROMOTED:
        return None
    if look.verdict.reason is Reason.SHARED_INCIDENT:
        frozen = replace(state, phase=Phase.FROZEN, cause_reason=Reason.SHARED_INCIDENT)
        message = f"frozen at {state.weight_percent} %: {look.verdict.message}"
        return stay(frozen, Reason.SHARED_INCIDENT, message, coming="the end of the incident")
    alone = _stable_alone(state, look, plan)
    if alone is not None or state.phase is not Phase.FROZEN:
        return alone
    if look.quiet_seconds < QUIET_SECONDS:
        who = "stable" if state.cause_reason is Reason.STABLE_UNHEALTHY else "both sides together"
        message = f"frozen at {state.weight_percent} %: not long ago {who} broke a limit"
        return stay(state, state.cause_reason, message, coming="the end of the incident")
    resumed_step = replace(
        state,
        phase=Phase.PROGRESSING,
        step_started_at=look.now,
        cause_reason=Reason.SLO_BREACH,
    )
    message = f"the incident is over; the step at {state.weight_percent} % begins anew"
    return Decision(state=resumed_step, reason=Reason.RESUMED, message=message)


def _stable_alone(state: State, look: Look, plan: Plan) -> Decision | None:
    """Freezes a climb while stable, and not the canary, breaks a limit; or ends it at once where the spec says so."""
    verdict = look.verdict
    measured = verdict.stable_exceeds and verdict.outcome is not Outcome.UNMEASURABLE
    if not measured or plan.on_stable_breach == "Continue" or state.weight_percent >= plan.percent:
        return None
    if _may_evacuate(look, plan):
        return _evacuate(state, look, plan)
    reason = state.cause_reason if state.phase is Phase.FROZEN else Reason.STABLE_UNHEALTHY
    frozen = replace(state, phase=Phase.FROZEN, cause_reason=reason)
    message = (
        f"frozen at {state.weight_percent} %: {verdict.stable_finding}; canary: {verdict.message}; "
    )
    if plan.on_stable_breach == "Evacuate":
        coming = f"{plan.percent} % once the canary is certified"
        message += (
            f"it takes all of its {plan.percent} % as soon as it is shown to keep to every limit (certified) and to do better "
            f"since stable's trouble began, on at least {plan.min_requests} calls of this step"
        )
        if verdict.throttled:
            message += f"; it waits for the provider's quota: {verdict.throttled}"
    else:
        coming = "the end of stable's trouble"
        message += (
            "a minute after that the step begins anew; analysis.onStableBreach can say otherwise"
        )
    return stay(frozen, reason, message, coming=coming)


def _may_evacuate(look: Look, plan: Plan) -> bool:
    """Tells whether the canary has a certificate of its own; what a person or a used up quota holds back stays."""
    verdict = look.verdict
    certified = verdict.outcome is Outcome.HEALTHY and verdict.certified and look.is_fresh
    certified = certified and verdict.stable_fails_alone and not verdict.throttled
    by_hand = plan.paused or bool(plan.held)
    enough = look.step_requests >= plan.min_requests
    return plan.on_stable_breach == "Evacuate" and certified and enough and not by_hand


def _evacuate(state: State, look: Look, plan: Plan) -> Decision:
    moved = replace(
        state,
        phase=Phase.PROGRESSING,
        weight_percent=plan.percent,
        step_index=state.step_index + 1,
        step_started_at=look.now,
        cause_reason=Reason.SLO_BREACH,
    )
    message = (
        f"evacuated from {state.weight_percent} to {plan.percent} %, by analysis.onStableBreach: "
        f"{look.verdict.stable_finding}; canary: {look.verdict.message}, certified"
    )
    return Decision(state=moved, reason=Reason.EVACUATED, message=message, certified=True)


def throttled(state: State, look: Look) -> Decision | None:
    """Keeps the weight while the provider's quota is used up: more of it would only be refused."""
    verdict = look.verdict
    else_fine = verdict.outcome is Outcome.HEALTHY or verdict.reason is Reason.TOO_FEW_REQUESTS
    if not verdict.throttled or not else_fine:
        return None
    phase = state.phase if state.phase is Phase.BAKING else Phase.HOLDING
    message = (
        f"{verdict.throttled}; the provider's quota holds the weight at {state.weight_percent} %, and the climb goes "
        "on when that ceases: raise the quota, or lower spec.canary.percent"
    )
    coming = "the end of the answers 429"
    return stay(replace(state, phase=phase), Reason.THROTTLED, message, coming=coming)


def unmeasurable_for_too_long(state: State, look: Look, plan: Plan) -> Decision | None:
    if not plan.unmeasurable_rolls_back or not _cannot_be_measured(state, look, plan):
        return None
    cause = f"rolled back from {state.weight_percent} %: {_unmeasured(look, plan)}"
    return roll_back(state, cause, look.now, reason=Reason.UNMEASURABLE)


def not_measured(state: State, look: Look, plan: Plan) -> Decision | None:
    if not _cannot_be_measured(state, look, plan):
        return None
    holding = replace(state, phase=Phase.HOLDING)
    message = f"holds at {state.weight_percent} %: {_unmeasured(look, plan)}"
    return stay(holding, Reason.UNMEASURABLE, message)


def _cannot_be_measured(state: State, look: Look, plan: Plan) -> bool:
    unmeasurable = look.verdict.outcome is Outcome.UNMEASURABLE and plan.guarded
    too_long = look.unmeasurable_seconds >= plan.unmeasurable_seconds
    has_traffic = state.weight_percent > 0 and state.phase is not Phase.PROMOTED
    return unmeasurable and too_long and has_traffic


def _unmeasured(look: Look, plan: Plan) -> str:
    return f"nothing could be measured for {plan.unmeasurable_seconds:g} s: {look.verdict.message}"
