"""What a canary has to show before it gets any weight: to probes of its relay pods, and to copies of calls."""

from dataclasses import replace
from typing import Final

from relay_operator.decisions.canary.copies import Shadowed
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import Decision, Phase, Plan, ShadowPlan, State
from relay_operator.decisions.canary.stays import roll_back
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import Reason

_PATIENCE_SECONDS: Final = 60.0
"""With failures that may pass by themselves, before a person is told."""
_PROBED: Final = (
    "relay pods probe the canary (address, key, model, streaming) before it gets any weight"
)


def is_unproven(state: State, look: Look, plan: Plan) -> bool:
    """Tells whether the canary has not shown yet what its first weight takes, whatever else that waits for."""
    if state.phase is Phase.SHADOWING:
        return shadowing(state, look, plan) is not None
    passed = look.probes is not None and look.probes.passed
    return state.phase is Phase.PREFLIGHT and not passed


def shadow_breached(state: State, look: Look, plan: Plan) -> Decision | None:
    """Ends a run whose copies break the limit of failed calls; there is no weight that could be frozen."""
    shadow = look.shadow
    if state.phase is not Phase.SHADOWING or shadow is None or not shadow.breach:
        return None
    return roll_back(state, f"ended before the canary had any weight: {shadow.breach}", look.now)


def begin_shadowing(state: State, look: Look, plan: Plan) -> Decision:
    """Begins the time in which calls are copied to the canary."""
    begun = replace(state, phase=Phase.SHADOWING, step_started_at=look.now)
    return _await_copies(begun, replace(look, shadow=None), plan.shadow or ShadowPlan(), plan)


def shadowing(state: State, look: Look, plan: Plan) -> Decision | None:
    """Keeps a canary without weight until its copies have shown what the spec asks for; None once they have."""
    wanted, shown = plan.shadow, look.shadow
    if wanted is None:
        return None
    done = state.step_started_at + wanted.min_seconds
    enough = (
        look.now >= done
        and shown is not None
        and shown.is_fresh
        and shown.compared() >= wanted.min_requests
    )
    differs = shown is not None and _differs(shown, wanted)
    broken = shown is not None and (shown.over_the_limit or shown.suspected)
    if enough and not broken and not differs:
        return None
    overdue = _overdue_at(look, plan, since=done)
    if look.now >= overdue:
        return _shadowed_too_long(state, look, plan, wanted)
    if enough and differs and shown is not None:
        return Decision(
            state=state,
            reason=Reason.SHADOW_DIFFERS,
            message=f"the canary gets no weight: {_difference(shown, wanted)}",
            coming=f"{_first_step(plan)} once the copies differ less",
            due=overdue,
        )
    return _await_copies(state, look, wanted, plan)


def stay_shadowed(state: State) -> Decision:
    """Tells that the copies have shown what was asked for, and that the spec asks for no weight."""
    message = "the shadow copies have shown what the spec asks for; to go on, raise spec.canary.percent above 0"
    return Decision(
        state=state, reason=Reason.SHADOWING, message=message, coming="spec.canary.percent above 0"
    )


def _overdue_at(look: Look, plan: Plan, *, since: float) -> float:
    """Returns when the patience ends; a time in which the run was held does not count."""
    return max(since, look.held_until) + plan.deadline_seconds


def _await_copies(state: State, look: Look, wanted: ShadowPlan, plan: Plan) -> Decision:
    shown = look.shadow
    done = state.step_started_at + wanted.min_seconds
    message = (
        f"calls are copied to the canary, which gets no weight before {to_text(done)} and before "
        f"{wanted.min_requests} copies are compared"
    )
    if shown is not None and shown.problem:
        message += f"; at present nothing can be read of them: {shown.problem}"
    elif shown is not None and (shown.over_the_limit or shown.suspected):
        message += f"; {shown.failures}"
    overdue = _overdue_at(look, plan, since=done)
    return Decision(
        state=state,
        reason=Reason.SHADOWING,
        message=message,
        coming=f"{_first_step(plan)} from {to_text(done)}",
        due=done if shown is not None and shown.compared() >= wanted.min_requests else overdue,
        earliest=done,
    )


def _shadowed_too_long(state: State, look: Look, plan: Plan, wanted: ShadowPlan) -> Decision:
    """Ends the patience with copies that have not shown by the deadline what they have to."""
    shown = look.shadow
    done = state.step_started_at + wanted.min_seconds
    deadline = to_text(_overdue_at(look, plan, since=done))
    compared = shown.compared() if shown is not None else 0.0
    what = f"the shadow copies have not shown enough by {deadline}: {compared:.0f} of {wanted.min_requests} compared"
    if shown is not None:
        what += f", {shown.failures}"
        what += f"; {_difference(shown, wanted)}" if _differs(shown, wanted) else ""
        what += f"; {shown.problem}" if shown.problem else ""
    if plan.deadline_rolls_back and shown is not None and shown.is_fresh:
        cause = f"given up before the canary had any weight: {what}"
        return roll_back(state, cause, look.now, reason=Reason.STEP_DEADLINE)
    return Decision(
        state=state,
        reason=Reason.STEP_DEADLINE,
        message=f"{what}; the canary gets its first weight if they do after all",
        coming=f"{_first_step(plan)} if the copies show enough after all",
    )


def _differs(shown: Shadowed, wanted: ShadowPlan) -> bool:
    most = wanted.max_difference_percent
    return most is not None and shown.difference_percent > most


def _difference(shown: Shadowed, wanted: ShadowPlan) -> str:
    return (
        f"{shown.difference_percent:.2g} % more of the copies differ from stable's answers than two answers of stable "
        f"differ (limit {wanted.max_difference_percent:g} %, status.shadow.differences)"
    )


def preflight(state: State, look: Look, plan: Plan) -> Decision | None:
    """Keeps a canary without weight until a relay pod has passed the probe of this very run; None once one has."""
    probes = look.probes or Probes(is_fresh=False)
    if probes.passed:
        return None
    deadline = _overdue_at(look, plan, since=state.step_started_at)
    if look.now >= deadline:
        return _overdue(state, look, plan, probes)
    if not probes.failure:
        return replace(await_probe(state, plan, pods_ready=probes.pods_ready), due=deadline)
    patient_until = state.step_started_at + _PATIENCE_SECONDS
    message = f"the preflight of the canary failed, so it gets no weight: {_failure(probes)}"
    if probes.asks_for_a_person or look.now >= patient_until:
        return Decision(
            state=state,
            reason=Reason.PREFLIGHT_FAILED,
            message=f"{message}; the relay pods go on trying",
            coming=f"another try within a minute; once it passes, {_after_preflight(plan)}",
            due=deadline,
        )
    return Decision(
        state=state,
        reason=Reason.PREFLIGHT,
        message=f"{message}; the relay pods try again",
        coming=f"another try within seconds; once it passes, {_after_preflight(plan)}",
        due=min(patient_until, deadline),
    )


def await_probe(state: State, plan: Plan, *, pods_ready: bool = True) -> Decision:
    """Says that nothing is known of the canary yet."""
    message = _PROBED if pods_ready else f"{_PROBED}; no relay pod is ready yet"
    return Decision(
        state=state,
        reason=Reason.PREFLIGHT,
        message=message,
        coming=f"{_after_preflight(plan)} once a relay pod has passed the preflight",
        due=state.step_started_at + plan.deadline_seconds,
    )


def _overdue(state: State, look: Look, plan: Plan, probes: Probes) -> Decision:
    """Ends the patience with a preflight that is not passed by its deadline."""
    deadline = to_text(_overdue_at(look, plan, since=state.step_started_at))
    why = _failure(probes) if probes.failure else "no relay pod has told that it passed"
    what = f"the preflight was not passed by {deadline}: {why}"
    # what only goes on being probed, after a restart perhaps, has not failed
    if plan.deadline_rolls_back and probes.is_fresh and probes.failure:
        cause = f"given up before the canary had any weight: {what}"
        return roll_back(state, cause, look.now, reason=Reason.STEP_DEADLINE)
    return Decision(
        state=state,
        reason=Reason.STEP_DEADLINE,
        message=f"{what}; the canary gets its first weight if it passes after all",
        coming=f"{_after_preflight(plan)} if the preflight is passed after all",
    )


def _failure(probes: Probes) -> str:
    return f"{probes.failure}: {probes.message}" if probes.message else probes.failure


def _after_preflight(plan: Plan) -> str:
    return _first_step(plan) if plan.shadow is None else "copies of calls"


def _first_step(plan: Plan) -> str:
    if plan.percent == 0:
        return "a step, if spec.canary.percent is raised,"
    return f"{min(plan.step_percent, plan.percent)} %"
