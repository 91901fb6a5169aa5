"""What a canary has to show before it gets any weight: that its relay pods can use it."""

from typing import Final

from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import Decision, Phase, Plan, State
from relay_operator.decisions.canary.stays import roll_back
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import Reason

_PATIENCE_SECONDS: Final = 60.0
"""With failures that may pass by themselves, before a person is told."""
_PROBED: Final = (
    "relay pods probe the canary (address, key, model, streaming) before it gets any weight"
)


def is_unproven(state: State, look: Look) -> bool:
    """Tells whether the canary has not shown yet what its first weight takes, whatever else that waits for."""
    passed = look.probes is not None and look.probes.passed
    return state.phase is Phase.PREFLIGHT and not passed


def preflight(state: State, look: Look, plan: Plan) -> Decision | None:
    """Keeps a canary without weight until a relay pod has passed the probe of this very run; None once one has."""
    probes = look.probes or Probes(is_fresh=False)
    if probes.passed:
        return None
    deadline = state.step_started_at + plan.deadline_seconds
    if look.now >= deadline:
        return _overdue(state, look.now, plan, probes)
    if not probes.failure:
        return await_probe(state, plan, pods_ready=probes.pods_ready)
    patient_until = state.step_started_at + _PATIENCE_SECONDS
    message = f"the preflight of the canary failed, so it gets no weight: {_failure(probes)}"
    if probes.asks_for_a_person or look.now >= patient_until:
        return Decision(
            state=state,
            reason=Reason.PREFLIGHT_FAILED,
            message=f"{message}; the relay pods go on trying",
            coming=f"another try within a minute; once it passes, {_first_step(plan)}",
            due=deadline,
        )
    return Decision(
        state=state,
        reason=Reason.PREFLIGHT,
        message=f"{message}; the relay pods try again",
        coming=f"another try within seconds; once it passes, {_first_step(plan)}",
        due=min(patient_until, deadline),
    )


def await_probe(state: State, plan: Plan, *, pods_ready: bool = True) -> Decision:
    """Says that nothing is known of the canary yet."""
    message = _PROBED if pods_ready else f"{_PROBED}; no relay pod is ready yet"
    return Decision(
        state=state,
        reason=Reason.PREFLIGHT,
        message=message,
        coming=f"{_first_step(plan)} once a relay pod has passed the preflight",
        due=state.step_started_at + plan.deadline_seconds,
    )


def _overdue(state: State, now: float, plan: Plan, probes: Probes) -> Decision:
    """Ends the patience with a preflight that is not passed by its deadline."""
    deadline = to_text(state.step_started_at + plan.deadline_seconds)
    why = _failure(probes) if probes.failure else "no relay pod has told that it passed"
    what = f"the preflight was not passed by {deadline}: {why}"
    if plan.deadline_rolls_back and probes.is_fresh:
        cause = f"given up before the canary had any weight: {what}"
        return roll_back(state, cause, now, reason=Reason.STEP_DEADLINE)
    return Decision(
        state=state,
        reason=Reason.STEP_DEADLINE,
        message=f"{what}; the canary gets its first weight if it passes after all",
        coming=f"{_first_step(plan)} if the preflight is passed after all",
    )


def _failure(probes: Probes) -> str:
    return f"{probes.failure}: {probes.message}" if probes.message else probes.failure


def _first_step(plan: Plan) -> str:
    return f"{min(plan.step_percent, plan.percent)} %"
