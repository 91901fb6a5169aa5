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
        frozen = replace(state, phase=Phase.FROZEN)
        message = f"frozen at {state.weight_percent} %: {look.verdict.message}"
        return stay(frozen, Reason.SHARED_INCIDENT, message, coming="the end of the incident")
    if state.phase is not Phase.FROZEN:
        return None
    if look.quiet_seconds < QUIET_SECONDS:
        message = f"frozen at {state.weight_percent} %: both sides failed together not long ago"
        return stay(state, Reason.SHARED_INCIDENT, message, coming="the end of the incident")
    resumed_step = replace(state, phase=Phase.PROGRESSING, step_started_at=look.now)
    message = f"the incident is over; the step at {state.weight_percent} % begins anew"
    return Decision(state=resumed_step, reason=Reason.RESUMED, message=message)


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
