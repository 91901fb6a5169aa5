"""The state machine that moves a canary's weight. Total over phase and verdict; no clock, no I/O."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary.state import (
    MOST_ROLLED_BACK,
    Decision,
    Phase,
    Plan,
    RolledBack,
    State,
)
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import ANNOTATION_APPROVE, ANNOTATION_RETRY, Reason

QUIET_SECONDS: Final = 60.0
"""A shared incident is over when neither side has shown it for this long."""
FORCE: Final = "/force"
"""After the token of a retry: do not wait until the cool-down is over."""

_MOST_CHARACTERS = 800
"""Of a cause, so that what to do about it still fits into the message of a condition."""
_PROMOTED = "all traffic is on the canary and within its limits; make the canary the new stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Holds the facts that one decision about a running canary rests on.

    step_requests is the number of canary calls since the step began, unmeasurable_seconds how long nothing could be
    measured, quiet_seconds how long ago both sides failed together. is_fresh tells that the verdict was measured in this
    life of the operator: one that is only remembered raises, promotes and ends nothing.
    """

    verdict: Verdict
    now: float
    step_requests: float = 0.0
    unmeasurable_seconds: float = 0.0
    quiet_seconds: float = math.inf
    is_fresh: bool = True


def resumed(
    state: State, *, fingerprint_in_force: str, weight_in_force: int, now: float
) -> Decision | None:
    """Corrects the state read from status by the document that the relays obey; None when both agree.

    The weight reaches the relays before status is written, so after a crash between the two the document is right.
    A weight that fell to zero was a rollback and stays one: a restart never raises a weight.
    """
    if state.fingerprint != fingerprint_in_force or state.weight_percent == weight_in_force:
        return None
    if weight_in_force == 0:
        cause = f"rolled back from {state.weight_percent} %; the operator stopped before it recorded why"
        return _roll_back(state, cause, now)
    raised = weight_in_force > state.weight_percent
    is_retry = state.phase is Phase.ROLLED_BACK
    corrected = replace(
        state,
        weight_percent=weight_in_force,
        step_started_at=now,
        step_index=state.step_index + raised,
        run=state.run + is_retry,
    )
    if not state.is_frozen_by_breach:
        kept = raised and not is_retry
        climbing = state.phase if kept else Phase.PROGRESSING if raised else Phase.HOLDING
        corrected = replace(corrected, phase=climbing, cause="")
    return Decision(
        state=corrected,
        reason=Reason.STEP_PASSED if raised else Reason.LOWERED,
        message=f"at {weight_in_force} % as the relays already serve; the operator stopped before it recorded the move",
    )


def next_state(state: State, look: Look, *, plan: Plan) -> Decision:
    """Decides the next state: the first rule that applies does.

    The same input gives the same output. The weight goes up by at most one step a call, and down at once.
    """
    for rule in _RULES:
        decision = rule(state, look, plan)
        if decision is not None:
            return decision
    return _climb(state, look, plan)


def is_settling(before: State, after: State) -> bool:
    """Tells whether a look changes only how the run waits, not its weight: no move of its own."""
    waits = (Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED)
    return after.phase in waits and replace(after, phase=before.phase) == before


# -- rules, in the order in which they are asked ------------------------------------------------------------------------


def _without_canary(state: State, look: Look, plan: Plan) -> Decision | None:
    if plan.fingerprint and plan.percent > 0:
        return None
    reason = Reason.NO_CANARY if not plan.fingerprint else Reason.RETURNED_TO_STABLE
    stable = State(run=state.run, rolled_back=state.rolled_back)
    return Decision(state=stable, reason=reason, message="all traffic is on stable")


def _another_canary(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.fingerprint == plan.fingerprint:
        return None
    ended = next((one for one in state.rolled_back if one.fingerprint == plan.fingerprint), None)
    if ended is None or look.now >= ended.at + plan.cool_down_seconds:
        return _start(state, plan, look.now)
    refused = State(
        phase=Phase.ROLLED_BACK,
        fingerprint=plan.fingerprint,
        step_started_at=ended.at,
        cause=ended.cause,
        run=state.run,
        rolled_back=state.rolled_back,
    )
    return replace(_stay_back(refused, plan), reason=Reason.COOLING_DOWN)


def _after_a_rollback(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.phase is not Phase.ROLLED_BACK:
        return None
    cooled = look.now >= state.step_started_at + plan.cool_down_seconds
    if plan.held:
        return _stay_back(state, plan)
    if plan.retry == state.run_token + FORCE or (plan.retry == state.run_token and cooled):
        return _start(state, plan, look.now)
    return _stay_back(state, plan)


def _breached(state: State, look: Look, plan: Plan) -> Decision | None:
    breached = look.verdict.outcome is Outcome.BREACHED and state.weight_percent > 0
    if not breached or state.phase is Phase.PROMOTED or state.is_frozen_by_breach:
        return None
    if not plan.freezes_on_breach:
        cause = f"rolled back from {state.weight_percent} %: {look.verdict.message}"
        return _roll_back(state, cause, look.now)
    weight = min(state.weight_percent, plan.percent)
    frozen = replace(
        state,
        phase=Phase.FROZEN,
        weight_percent=weight,
        step_started_at=look.now,
        cause=f"frozen at {weight} %: {look.verdict.message}"[:_MOST_CHARACTERS],
    )
    return replace(_stay_frozen(frozen), reason=Reason.SLO_BREACH)


def _lowered(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.weight_percent <= plan.percent:
        return None
    phase = state.phase if state.is_frozen_by_breach else Phase.HOLDING
    return Decision(
        state=replace(state, phase=phase, weight_percent=plan.percent, step_started_at=look.now),
        reason=Reason.LOWERED,
        message=f"lowered to {plan.percent} % by spec.canary.percent",
    )


def _frozen_by_breach(state: State, look: Look, plan: Plan) -> Decision | None:
    if not state.is_frozen_by_breach:
        return None
    if plan.retry != state.run_token:
        return _stay_frozen(state)
    going_on = replace(
        state, phase=Phase.PROGRESSING, cause="", step_started_at=look.now, run=state.run + 1
    )
    message = f"goes on at {state.weight_percent} % by the annotation {ANNOTATION_RETRY}"
    return Decision(state=going_on, reason=Reason.RESUMED, message=message)


def _shared_incident(state: State, look: Look, plan: Plan) -> Decision | None:
    if state.weight_percent == 0 or state.phase is Phase.PROMOTED:
        return None
    if look.verdict.reason is Reason.SHARED_INCIDENT:
        frozen = replace(state, phase=Phase.FROZEN)
        message = f"frozen at {state.weight_percent} %: {look.verdict.message}"
        return _stay(frozen, Reason.SHARED_INCIDENT, message, coming="the end of the incident")
    if state.phase is not Phase.FROZEN:
        return None
    if look.quiet_seconds < QUIET_SECONDS:
        message = f"frozen at {state.weight_percent} %: both sides failed together not long ago"
        return _stay(state, Reason.SHARED_INCIDENT, message, coming="the end of the incident")
    resumed_step = replace(state, phase=Phase.PROGRESSING, step_started_at=look.now)
    message = f"the incident is over; the step at {state.weight_percent} % begins anew"
    return Decision(state=resumed_step, reason=Reason.RESUMED, message=message)


def _unmeasurable_for_too_long(state: State, look: Look, plan: Plan) -> Decision | None:
    if not plan.unmeasurable_rolls_back or not _cannot_be_measured(state, look, plan):
        return None
    cause = f"rolled back from {state.weight_percent} %: {_unmeasured(look, plan)}"
    return replace(_roll_back(state, cause, look.now), reason=Reason.UNMEASURABLE)


def _held(state: State, look: Look, plan: Plan) -> Decision | None:
    if plan.held:
        return _stay(state, Reason.HELD, f"stays at {state.weight_percent} %: {plan.held}")
    if plan.paused and state.phase is not Phase.PROMOTED:
        # what bakes has all traffic already
        paused = state if state.phase is Phase.BAKING else replace(state, phase=Phase.PAUSED)
        return _stay(paused, Reason.PAUSED, "paused by spec.paused", coming="spec.paused: false")
    return None


def _not_measured(state: State, look: Look, plan: Plan) -> Decision | None:
    if not _cannot_be_measured(state, look, plan):
        return None
    holding = replace(state, phase=Phase.HOLDING)
    message = f"holds at {state.weight_percent} %: {_unmeasured(look, plan)}"
    return _stay(holding, Reason.UNMEASURABLE, message)


def _cannot_be_measured(state: State, look: Look, plan: Plan) -> bool:
    unmeasurable = look.verdict.outcome is Outcome.UNMEASURABLE and plan.guarded
    too_long = look.unmeasurable_seconds >= plan.unmeasurable_seconds
    has_traffic = state.weight_percent > 0 and state.phase is not Phase.PROMOTED
    return unmeasurable and too_long and has_traffic


def _unmeasured(look: Look, plan: Plan) -> str:
    return f"nothing could be measured for {plan.unmeasurable_seconds:g} s: {look.verdict.message}"


_RULES: Final[tuple[Callable[[State, Look, Plan], Decision | None], ...]] = (
    _without_canary,
    _another_canary,
    _after_a_rollback,
    _breached,
    _lowered,
    _frozen_by_breach,
    _unmeasurable_for_too_long,
    _shared_incident,
    _held,
    _not_measured,
)
"""Taking weight away comes first, and waits for nothing."""


# -- the way up ---------------------------------------------------------------------------------------------------------


def _start(state: State, plan: Plan, now: float) -> Decision:
    weight = 0 if plan.paused else min(plan.step_percent, plan.percent)
    started = State(
        phase=Phase.PAUSED if plan.paused else Phase.PROGRESSING,
        weight_percent=weight,
        fingerprint=plan.fingerprint,
        step_index=1,
        step_started_at=now,
        run=state.run + 1,
        rolled_back=state.rolled_back,
    )
    return Decision(
        state=started,
        reason=Reason.STARTED,
        message=f"canary started at {weight} %, target {plan.percent} %",
    )


def _climb(state: State, look: Look, plan: Plan) -> Decision:
    if state.phase is Phase.PROMOTED and state.weight_percent == plan.percent:
        return _stay(state, Reason.PROMOTED, _PROMOTED)
    holding = replace(state, phase=Phase.HOLDING)
    if state.weight_percent == 0:
        # a run that began paused needs no evidence for its first step
        return _pass_step(state, look, plan)
    if not plan.guarded:
        message = f"at {state.weight_percent} %; without spec.analysis the weight is not raised automatically"
        return _stay(holding, Reason.NO_ANALYSIS, message)
    if state.weight_percent == plan.percent < 100:
        return _stay(holding, Reason.DESTINATION_REACHED, f"target of {plan.percent} % reached")
    if state.phase is Phase.BAKING:
        return _bake(state, look, plan)
    if not _step_passed(state, look, plan):
        return _overdue(state, look, plan) or _await_evidence(state, look, plan)
    if plan.needs_approval and plan.approval != state.step_token:
        return _overdue(state, look, plan) or _await_approval(holding)
    return _pass_step(state, look, plan)


def _step_passed(state: State, look: Look, plan: Plan) -> bool:
    long_enough = look.now - state.step_started_at >= plan.every_seconds
    return _is_healthy(look) and long_enough and look.step_requests >= plan.min_requests


def _is_healthy(look: Look) -> bool:
    return look.is_fresh and look.verdict.outcome is Outcome.HEALTHY


def _pass_step(state: State, look: Look, plan: Plan) -> Decision:
    if state.weight_percent < plan.percent:
        weight = min(state.weight_percent + plan.step_percent, plan.percent)
        risen = replace(
            state,
            phase=Phase.PROGRESSING,
            weight_percent=weight,
            step_index=state.step_index + 1,
            step_started_at=look.now,
        )
        message = f"raised from {state.weight_percent} to {weight} %"
        return Decision(state=risen, reason=Reason.STEP_PASSED, message=message)
    if plan.bake_seconds == 0:
        promoted = replace(state, phase=Phase.PROMOTED, step_started_at=look.now)
        return Decision(state=promoted, reason=Reason.PROMOTED, message=_PROMOTED)
    baking = replace(
        state, phase=Phase.BAKING, step_index=state.step_index + 1, step_started_at=look.now
    )
    return _bake(baking, look, plan)


def _bake(state: State, look: Look, plan: Plan) -> Decision:
    done = state.step_started_at + plan.bake_seconds
    if look.now >= done and _is_healthy(look):
        promoted = replace(state, phase=Phase.PROMOTED, step_started_at=look.now)
        return Decision(state=promoted, reason=Reason.PROMOTED, message=_PROMOTED)
    overdue = _overdue(state, look, plan, since=done)
    message = f"all traffic is on the canary; it counts as promoted not before {to_text(done)}"
    return overdue or _stay(
        state, Reason.BAKING, message, coming=f"promotion from {to_text(done)}", due=done
    )


def _await_evidence(state: State, look: Look, plan: Plan) -> Decision:
    """Names what the next step needs. No countdown and no count: a status that is read again stays true."""
    earliest = to_text(state.step_started_at + plan.every_seconds)
    missing = look.verdict.message
    if look.verdict.outcome is Outcome.HEALTHY:
        missing = (
            f"the next step needs {plan.min_requests} canary requests on this one, "
            f"and comes not before {earliest}"
        )
    weight = min(state.weight_percent + plan.step_percent, plan.percent)
    following = f"{weight} %" if state.weight_percent < plan.percent else "all traffic confirmed"
    return _stay(
        replace(state, phase=Phase.PROGRESSING),
        Reason.AWAITING_EVIDENCE,
        f"at {state.weight_percent} %: {missing}",
        coming=f"{following} from {earliest}",
    )


def _await_approval(state: State) -> Decision:
    message = (
        f"at {state.weight_percent} %: step {state.step_index} is passed; to raise the weight, annotate the route with "
        f"{ANNOTATION_APPROVE}={state.step_token}"
    )
    return _stay(state, Reason.AWAITING_APPROVAL, message, coming="approval by hand")


def _overdue(state: State, look: Look, plan: Plan, *, since: float = 0.0) -> Decision | None:
    """Ends the patience with a step that is not passed by its deadline."""
    deadline = max(state.step_started_at, since) + plan.deadline_seconds
    if look.now < deadline:
        return None
    what = f"step {state.step_index} was not passed by {to_text(deadline)}"
    if look.verdict.outcome is not Outcome.HEALTHY:
        what += f": {look.verdict.message}"
    if plan.deadline_rolls_back and look.is_fresh:
        cause = f"rolled back from {state.weight_percent} %: {what}"
        return replace(_roll_back(state, cause, look.now), reason=Reason.STEP_DEADLINE)
    phase = state.phase if state.phase is Phase.BAKING else Phase.HOLDING
    return _stay(
        replace(state, phase=phase),
        Reason.STEP_DEADLINE,
        f"holds at {state.weight_percent} %: {what}; it goes on if the step is passed after all",
    )


# -- staying ------------------------------------------------------------------------------------------------------------


def _roll_back(state: State, cause: str, now: float) -> Decision:
    others = [one for one in state.rolled_back if one.fingerprint != state.fingerprint]
    cause = cause[:_MOST_CHARACTERS]
    ended = RolledBack(fingerprint=state.fingerprint, at=now, cause=cause)
    back = replace(
        state,
        phase=Phase.ROLLED_BACK,
        weight_percent=0,
        step_started_at=now,
        cause=cause,
        rolled_back=(*others, ended)[-MOST_ROLLED_BACK:],
    )
    return Decision(state=back, reason=Reason.SLO_BREACH, message=cause)


def _stay_back(state: State, plan: Plan) -> Decision:
    cooled = state.step_started_at + plan.cool_down_seconds
    message = (
        f"{state.cause}; to try this canary again, not before {to_text(cooled)}, annotate the route with "
        f"{ANNOTATION_RETRY}={state.run_token} (or {state.run_token}{FORCE}, at once)"
    )
    waits = plan.retry == state.run_token
    coming = f"retry from {to_text(cooled)}" if waits else f"retry by hand from {to_text(cooled)}"
    return _stay(state, Reason.ROLLED_BACK, message, coming=coming, due=cooled if waits else 0.0)


def _stay_frozen(state: State) -> Decision:
    message = (
        f"{state.cause}; to go on, annotate the route with {ANNOTATION_RETRY}={state.run_token}, "
        "to go back, set spec.canary.percent to 0"
    )
    return _stay(state, Reason.FROZEN, message, coming="a decision by hand")


def _stay(
    state: State, reason: Reason, message: str, *, coming: str = "", due: float = 0.0
) -> Decision:
    return Decision(state=state, reason=reason, message=message, coming=coming, due=due)
