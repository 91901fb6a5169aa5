"""The way up: the first step, what each step needs, and the last one."""

from dataclasses import replace
from typing import Final

from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary import before_weight
from relay_operator.decisions.canary.incidents import throttled
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.state import Decision, Phase, Plan, State
from relay_operator.decisions.canary.stays import roll_back, stay, stay_in_line
from relay_operator.decisions.ledger.cost_hold import costly
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import ANNOTATION_APPROVE, Reason

_PROMOTED: Final = (
    "all traffic is on the canary and within its limits; make the canary the new stable"
)


def start(state: State, plan: Plan, now: float) -> Decision:
    """Begins a run, without weight yet."""
    begun = State(
        phase=Phase.PAUSED if plan.paused else Phase.PREFLIGHT,
        fingerprint=plan.fingerprint,
        step_started_at=now,
        run=state.run + 1,
        rolled_back=state.rolled_back,
    )
    if plan.paused:
        message = "the canary begins paused, by spec.paused"
        return Decision(state=begun, reason=Reason.PAUSED, message=message)
    return before_weight.await_probe(begun, plan)


def take_first_step(state: State, look: Look, plan: Plan) -> Decision:
    """Gives the canary its first weight, which needs no evidence from calls, once it is its turn."""
    if plan.turn:
        return stay_in_line(state, plan)
    weight = min(plan.step_percent, plan.percent)
    started = replace(
        state,
        phase=Phase.PROGRESSING,
        weight_percent=weight,
        step_index=1,
        step_started_at=look.now,
    )
    message = f"canary started at {weight} %, target {plan.percent} %"
    return Decision(state=started, reason=Reason.STARTED, message=message)


def climb(state: State, look: Look, plan: Plan) -> Decision:
    if state.phase is Phase.PROMOTED and state.weight_percent == plan.percent:
        return stay(state, Reason.PROMOTED, _PROMOTED)
    if state.weight_percent == 0:
        return _before_weight(state, look, plan)
    if not plan.guarded:
        message = f"at {state.weight_percent} %; without spec.analysis the weight is not raised automatically"
        return stay(replace(state, phase=Phase.HOLDING), Reason.NO_ANALYSIS, message)
    if state.weight_percent == plan.percent < 100:
        message = f"at its target of {plan.percent} %; raise spec.canary.percent to go on"
        return stay(replace(state, phase=Phase.HOLDING), Reason.DESTINATION_REACHED, message)
    if state.phase is Phase.BAKING:
        return _bake(state, look, plan)
    if look.verdict.throttled or not _step_passed(state, look, plan):
        return (
            _overdue(state, look, plan)
            or throttled(state, look)
            or _still_passed(state, look, plan)
            or _await_evidence(state, look, plan)
        )
    if plan.needs_approval and plan.approval != state.step_token:
        return _overdue(state, look, plan) or _await_approval(replace(state, phase=Phase.HOLDING))
    return _pass_step(state, look, plan)


def _before_weight(state: State, look: Look, plan: Plan) -> Decision:
    if state.phase is Phase.SHADOWING:
        awaited = before_weight.shadowing(state, look, plan)
        return awaited or _once_proven(state, look, plan)
    if state.phase is not Phase.PREFLIGHT:
        # the run was paused
        begun = replace(state, phase=Phase.PREFLIGHT, step_started_at=look.now)
        return before_weight.await_probe(begun, plan)
    probed = before_weight.preflight(state, look, plan)
    if probed is None and plan.shadow is not None:
        return before_weight.begin_shadowing(state, look, plan)
    return probed or _once_proven(state, look, plan)


def _once_proven(state: State, look: Look, plan: Plan) -> Decision:
    if plan.percent == 0:
        return before_weight.stay_shadowed(state)
    return take_first_step(state, look, plan)


def _step_passed(state: State, look: Look, plan: Plan) -> bool:
    lasted = look.now - look.unseen_seconds - state.step_started_at
    long_enough = lasted >= plan.every_seconds
    return _is_healthy(look) and long_enough and look.step_requests >= plan.min_requests


def _is_healthy(look: Look) -> bool:
    return look.is_fresh and look.verdict.outcome is Outcome.HEALTHY


def _pass_step(state: State, look: Look, plan: Plan) -> Decision:
    if state.weight_percent < plan.percent:
        held = costly(state, look, plan)
        if held is not None:
            return held
        if plan.turn:
            return stay_in_line(state, plan)
        weight = min(state.weight_percent + plan.step_percent, plan.percent)
        risen = replace(
            state,
            phase=Phase.PROGRESSING,
            weight_percent=weight,
            step_index=state.step_index + 1,
            step_started_at=look.now,
        )
        raised = f"raised from {state.weight_percent} to {weight} %"
        return Decision(
            state=risen,
            reason=Reason.STEP_PASSED,
            message=f"{raised}: {_grounds(look)}",
            certified=look.verdict.certified,
        )
    if plan.bake_seconds == 0:
        return _promote(state, look)
    baking = replace(
        state, phase=Phase.BAKING, step_index=state.step_index + 1, step_started_at=look.now
    )
    return _bake(baking, look, plan)


def _bake(state: State, look: Look, plan: Plan) -> Decision:
    done = state.step_started_at + plan.bake_seconds
    if look.now - look.unseen_seconds >= done and _is_healthy(look) and not look.verdict.throttled:
        return _promote(state, look)
    overdue = _overdue(state, look, plan, since=done)
    message = f"all traffic is on the canary; it counts as promoted not before {to_text(done)}{_longer(look)}"
    return (
        overdue
        or throttled(state, look)
        or stay(state, Reason.BAKING, message, coming=f"promotion from {to_text(done)}", due=done)
    )


def _promote(state: State, look: Look) -> Decision:
    promoted = replace(state, phase=Phase.PROMOTED, step_started_at=look.now)
    return Decision(
        state=promoted,
        reason=Reason.PROMOTED,
        message=_PROMOTED,
        certified=look.verdict.certified,
    )


def _grounds(look: Look) -> str:
    """Says what a step was passed on."""
    if look.verdict.certified:
        return f"{look.verdict.message}; that proves that the canary keeps to every limit"
    return (
        f"{look.verdict.message}; no limit is broken, but these requests do not prove "
        "that the canary keeps to every limit (certified: false)"
    )


def _await_evidence(state: State, look: Look, plan: Plan) -> Decision:
    """Names what the next step needs. No countdown and no count: a status that is read again stays true."""
    at = state.step_started_at + plan.every_seconds
    earliest = to_text(at)
    missing = look.verdict.message
    if look.verdict.outcome is Outcome.HEALTHY:
        missing = (
            f"the next step needs {plan.min_requests} canary requests on this one, "
            f"and does not come before {earliest}{_longer(look)}"
        )
    weight = min(state.weight_percent + plan.step_percent, plan.percent)
    following = f"{weight} %" if state.weight_percent < plan.percent else "all traffic confirmed"
    return stay(
        replace(state, phase=Phase.PROGRESSING),
        Reason.AWAITING_EVIDENCE,
        f"at {state.weight_percent} %: {missing}",
        coming=f"{following} from {earliest}",
        earliest=at,
    )


def _longer(look: Look) -> str:
    """Says of a step of which some time was not measured that it lasts longer. No figure: a status that is read again stays true."""
    return (
        ", and later by the time in which nothing could be measured" if look.unseen_seconds else ""
    )


def _await_approval(state: State) -> Decision:
    message = (
        f"at {state.weight_percent} %: step {state.step_index} is passed; to raise the weight, annotate the route with "
        f"{ANNOTATION_APPROVE}={state.step_token}"
    )
    return stay(state, Reason.AWAITING_APPROVAL, message, coming="approval by hand")


def _still_passed(state: State, look: Look, plan: Plan) -> Decision | None:
    """Keeps what was told of a passed step while there is nothing to take it back: after a restart, and while nothing can be measured."""
    outcome = look.verdict.outcome
    remembered = outcome is Outcome.HEALTHY and not look.is_fresh
    unseen = outcome is Outcome.UNMEASURABLE and look.told_passed
    if state.phase is not Phase.HOLDING or not (remembered or unseen):
        return None
    is_approved = not plan.needs_approval or plan.approval == state.step_token
    if is_approved and state.weight_percent < plan.percent:
        held = costly(state, look, plan)
        if held is not None:
            return held
    if is_approved and plan.turn and state.weight_percent < plan.percent:
        return stay_in_line(state, plan)
    return _await_approval(state) if plan.needs_approval else None


def _overdue(state: State, look: Look, plan: Plan, *, since: float = 0.0) -> Decision | None:
    """Ends the patience with a step that is not passed by its deadline."""
    deadline = max(state.step_started_at, since, look.held_until) + plan.deadline_seconds
    if look.now - look.unseen_seconds < deadline:
        return None
    what = f"step {state.step_index} was not passed by {to_text(deadline)}"
    if look.verdict.outcome is not Outcome.HEALTHY:
        what += f": {look.verdict.message}"
    if plan.deadline_rolls_back and look.is_fresh:
        cause = f"rolled back from {state.weight_percent} %: {what}"
        return roll_back(state, cause, look.now, reason=Reason.STEP_DEADLINE)
    phase = state.phase if state.phase is Phase.BAKING else Phase.HOLDING
    return stay(
        replace(state, phase=phase),
        Reason.STEP_DEADLINE,
        f"holds at {state.weight_percent} %: {what}; it goes on if the step is passed after all",
    )
