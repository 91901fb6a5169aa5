"""The state machine that moves a canary's weight. Total over phase and verdict; no clock, no I/O."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from relay_operator.decisions.canary.before_weight import is_unproven, shadow_breached
from relay_operator.decisions.canary.climb import climb, start
from relay_operator.decisions.canary.incidents import (
    breached,
    frozen_by_breach,
    not_measured,
    shared_incident,
    unmeasurable_for_too_long,
)
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.state import BEFORE_WEIGHT, Decision, Phase, Plan, State
from relay_operator.decisions.canary.stays import is_to_be_retried, roll_back, stay, stay_back
from relay_operator.names import Reason


def resumed(
    state: State, *, fingerprint_in_force: str, weight_in_force: int, now: float
) -> Decision | None:
    """Corrects the state read from status by the document that the relays obey; None when both agree.

    The weight reaches the relays before status is written, so after a crash between the two the document is right.
    A weight that fell to zero was a rollback and stays one, for whatever reason: a restart never raises a weight. So does one
    that status tells of, unless another run was asked for: then the document, which was not written, is the older of the two.
    """
    if state.fingerprint != fingerprint_in_force or state.weight_percent == weight_in_force:
        return None
    if weight_in_force == 0:
        cause = f"rolled back from {state.weight_percent} %; the operator stopped before it recorded why"
        return roll_back(state, cause, now, reason=Reason.UNRECORDED)
    raised = weight_in_force > state.weight_percent
    is_retry = state.phase is Phase.ROLLED_BACK
    starts = state.phase in BEFORE_WEIGHT
    corrected = replace(
        state,
        weight_percent=weight_in_force,
        step_started_at=now,
        step_index=state.step_index + raised,
        run=state.run + is_retry,
    )
    if not state.is_frozen_by_breach:
        kept = raised and not is_retry and not starts and state.phase is not Phase.FROZEN
        climbing = state.phase if kept else Phase.PROGRESSING if raised else Phase.HOLDING
        corrected = replace(corrected, phase=climbing, cause="", cause_reason=Reason.SLO_BREACH)
    return Decision(
        state=corrected,
        reason=_reason_of_move(state, starts=starts, raised=raised),
        message=f"at {weight_in_force} % as the relays already serve; the operator stopped before it recorded the move",
    )


def _reason_of_move(before: State, *, starts: bool, raised: bool) -> Reason:
    if starts:
        return Reason.STARTED
    if raised and before.phase is Phase.FROZEN:
        # an incident that goes by raises nothing; what ends it so is an evacuation
        return Reason.EVACUATED
    return Reason.STEP_PASSED if raised else Reason.LOWERED


def next_state(state: State, look: Look, *, plan: Plan) -> Decision:
    """Decides the next state: the first rule that applies does.

    The same input gives the same output. The weight goes up by at most one step a call, and down at once.
    """
    for rule in _RULES:
        decision = rule(state, look, plan)
        if decision is not None:
            return decision
    return climb(state, look, plan)


def is_settling(before: State, after: State) -> bool:
    """Tells whether a look changes only how the run waits, not its weight: no move of its own."""
    waits = (Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED)
    return after.phase in waits and replace(after, phase=before.phase) == before


_WITHOUT_WEIGHT: Final = (Phase.STABLE, Phase.PAUSED, *BEFORE_WEIGHT)
_SHADOWED_AFTER_SECONDS: Final = 1.0
"""With percent 0 a canary goes back to stable first, and is shadowed as a run of its own then."""

# -- rules, in the order in which they are asked ------------------------------------------------------------------------


def _without_canary(state: State, look: Look, plan: Plan) -> Decision | None:
    shadows = _shadows_alone(state, plan)
    if plan.fingerprint and (plan.percent > 0 or (shadows and _has_no_weight_yet(state))):
        return None
    if shadows and _ended_without_weight(state, plan):
        return None
    reason = Reason.NO_CANARY if not plan.fingerprint else Reason.RETURNED_TO_STABLE
    stable = State(run=state.run, rolled_back=state.rolled_back)
    return Decision(
        state=stable,
        reason=reason,
        message="all traffic is on stable",
        due=look.now + _SHADOWED_AFTER_SECONDS if _shadows_alone(stable, plan) else 0.0,
    )


def _shadows_alone(state: State, plan: Plan) -> bool:
    """Tells whether a canary that is to have no weight is to be probed and shadowed.

    One that was rolled back is not, but for a run of it that a person began.
    """
    tried = any(one.fingerprint == plan.fingerprint for one in state.rolled_back)
    is_of_this = state.fingerprint == plan.fingerprint
    return plan.shadow is not None and plan.percent == 0 and (is_of_this or not tried)


def _has_no_weight_yet(state: State) -> bool:
    return state.weight_percent == 0 and state.phase in _WITHOUT_WEIGHT


def _ended_without_weight(state: State, plan: Plan) -> bool:
    """Tells of a canary that was rolled back before its first step: percent 0 is no answer to why, and it stays told."""
    is_back = state.phase is Phase.ROLLED_BACK and state.fingerprint == plan.fingerprint
    return is_back and state.step_index == 0


def _another_canary(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.fingerprint == plan.fingerprint:
        return None
    ended = next((one for one in state.rolled_back if one.fingerprint == plan.fingerprint), None)
    if ended is None or look.now >= ended.at + plan.cool_down_seconds:
        return start(state, plan, look.now)
    refused = State(
        phase=Phase.ROLLED_BACK,
        fingerprint=plan.fingerprint,
        step_started_at=ended.at,
        cause=ended.cause,
        cause_reason=ended.cause_reason,
        run=state.run,
        rolled_back=state.rolled_back,
    )
    return replace(stay_back(refused, plan), reason=Reason.COOLING_DOWN)


def _after_a_rollback(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.phase is not Phase.ROLLED_BACK:
        return None
    if not plan.held and is_to_be_retried(state, plan, look.now):
        return start(state, plan, look.now)
    return stay_back(state, plan)


def _lowered(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.weight_percent <= plan.percent:
        return None
    phase = state.phase if state.is_frozen_by_breach else Phase.HOLDING
    return Decision(
        state=replace(
            state,
            phase=phase,
            weight_percent=plan.percent,
            step_started_at=look.now,
            cause_reason=Reason.SLO_BREACH,
        ),
        reason=Reason.LOWERED,
        message=f"lowered to {plan.percent} % by spec.canary.percent",
    )


def _held(state: State, look: Look, plan: Plan) -> Decision | None:
    if plan.held and not is_unproven(state, look, plan):
        return stay(state, Reason.HELD, f"stays at {state.weight_percent} %: {plan.held}")
    if plan.paused and state.phase is not Phase.PROMOTED:
        # what bakes has all traffic already, and what is shadowed none
        stays = state.phase in (Phase.BAKING, Phase.SHADOWING)
        paused = state if stays else replace(state, phase=Phase.PAUSED)
        message = f"paused at {state.weight_percent} % by spec.paused; set it to false to go on"
        return stay(paused, Reason.PAUSED, message, coming="spec.paused: false")
    return None


_RULES: Final[tuple[Callable[[State, Look, Plan], Decision | None], ...]] = (
    _without_canary,
    _another_canary,
    _after_a_rollback,
    breached,
    shadow_breached,
    _lowered,
    frozen_by_breach,
    unmeasurable_for_too_long,
    shared_incident,
    _held,
    not_measured,
)
"""Taking weight away comes first, and waits for nothing."""
