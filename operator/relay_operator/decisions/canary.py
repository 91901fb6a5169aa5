"""The state machine that moves a canary's weight. Total over phase and verdict; no clock, no I/O."""

from dataclasses import dataclass, replace
from enum import StrEnum

from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import Reason


class Phase(StrEnum):
    STABLE = "Stable"
    PROGRESSING = "Progressing"
    HOLDING = "Holding"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


# Where each phase may go. A new spec may return any phase to Stable or start a new run, so both stand in each row.
MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.STABLE: frozenset({Phase.STABLE, Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED}),
    Phase.PROGRESSING: frozenset(Phase),
    Phase.HOLDING: frozenset(Phase),
    Phase.PAUSED: frozenset(Phase),
    Phase.PROMOTED: frozenset(
        {Phase.PROMOTED, Phase.STABLE, Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED}
    ),
    Phase.ROLLED_BACK: frozenset(
        {Phase.ROLLED_BACK, Phase.STABLE, Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED}
    ),
}


_PROMOTED = "all traffic is on the canary and within its limits; make the canary the new stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The canary that a spec asks for. fingerprint is empty without one; percent is the target weight.

    held tells why the weight may not rise; it is empty while it may.
    """

    fingerprint: str = ""
    percent: int = 0
    step_percent: int = 100
    every_seconds: float = 0.0
    min_requests: int = 50
    guarded: bool = False
    paused: bool = False
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The position of a route's canary, kept in status (route_status.py) so that it survives a restart.

    step_started_at is seconds since the epoch; cause tells why a canary was rolled back, and is empty in every
    other phase.
    """

    phase: Phase = Phase.STABLE
    weight_percent: int = 0
    fingerprint: str = ""
    step_index: int = 0
    step_started_at: float = 0.0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A state with the reason for it: of the move that led there, or for staying."""

    state: State
    reason: Reason
    message: str


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
        return Decision(
            state=_rolled_back(state, cause, now), reason=Reason.SLO_BREACH, message=cause
        )
    raised = weight_in_force > state.weight_percent
    return Decision(
        state=replace(
            state,
            phase=state.phase if raised else Phase.HOLDING,
            weight_percent=weight_in_force,
            step_started_at=now,
        ),
        reason=Reason.STEP_PASSED if raised else Reason.LOWERED,
        message=f"at {weight_in_force} % as the relays already serve; the operator stopped before it recorded the move",
    )


def next_state(
    state: State, verdict: Verdict, *, plan: Plan, step_requests: float, now: float
) -> Decision:
    """Decides the next state. step_requests is the number of canary calls finished since the step began.

    The same input gives the same output. The weight goes up by at most one step a call, and down at once.
    """
    if not plan.fingerprint or plan.percent == 0:
        reason = Reason.NO_CANARY if not plan.fingerprint else Reason.RETURNED_TO_STABLE
        return Decision(state=State(), reason=reason, message="all traffic is on stable")
    if state.fingerprint != plan.fingerprint:
        return _start(plan, now)
    if state.phase is Phase.ROLLED_BACK:
        return _stay(state, Reason.ROLLED_BACK, state.cause)
    if (
        verdict.outcome is Outcome.BREACHED
        and state.phase is not Phase.PROMOTED
        and state.weight_percent > 0
    ):
        cause = f"rolled back from {state.weight_percent} %: {verdict.message}"
        return Decision(
            state=_rolled_back(state, cause, now), reason=Reason.SLO_BREACH, message=cause
        )
    if state.weight_percent > plan.percent:
        lowered = replace(
            state, phase=Phase.HOLDING, weight_percent=plan.percent, step_started_at=now
        )
        return Decision(
            state=lowered,
            reason=Reason.LOWERED,
            message=f"lowered to {plan.percent} % by spec.canary.percent",
        )
    if plan.held:
        return _stay(state, Reason.HELD, f"stays at {state.weight_percent} %: {plan.held}")
    if plan.paused:
        return _stay(replace(state, phase=Phase.PAUSED), Reason.PAUSED, "paused by spec.paused")
    return _climb(state, verdict, plan, step_requests, now)


def is_settling(before: State, after: State) -> bool:
    """Tells whether a look changes only how the run waits, not its weight: no move of its own."""
    waits = (Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED)
    return after.phase in waits and replace(after, phase=before.phase) == before


def _start(plan: Plan, now: float) -> Decision:
    weight = 0 if plan.paused else min(plan.step_percent, plan.percent)
    phase = Phase.PAUSED if plan.paused else Phase.PROGRESSING
    state = State(
        phase=phase,
        weight_percent=weight,
        fingerprint=plan.fingerprint,
        step_index=1,
        step_started_at=now,
    )
    return Decision(
        state=state,
        reason=Reason.STARTED,
        message=f"canary started at {weight} %, target {plan.percent} %",
    )


def _climb(
    state: State, verdict: Verdict, plan: Plan, step_requests: float, now: float
) -> Decision:
    if state.phase is Phase.PROMOTED and state.weight_percent == plan.percent:
        return _stay(state, Reason.PROMOTED, _PROMOTED)
    if not plan.guarded:
        holding = replace(state, phase=Phase.HOLDING)
        return _stay(
            holding,
            Reason.NO_ANALYSIS,
            f"at {state.weight_percent} %; without spec.analysis the weight is not raised automatically",
        )
    reached = state.weight_percent == plan.percent
    if reached and plan.percent < 100:
        return _stay(
            replace(state, phase=Phase.HOLDING),
            Reason.DESTINATION_REACHED,
            f"target of {plan.percent} % reached",
        )
    progressing = replace(state, phase=Phase.PROGRESSING)
    if not _step_passed(state, verdict, plan, step_requests, now):
        return _stay(
            progressing,
            Reason.AWAITING_EVIDENCE,
            f"at {state.weight_percent} %: {_missing(state, verdict, plan)}",
        )
    if reached:
        promoted = replace(state, phase=Phase.PROMOTED, step_started_at=now)
        return Decision(state=promoted, reason=Reason.PROMOTED, message=_PROMOTED)
    weight = min(state.weight_percent + plan.step_percent, plan.percent)
    risen = replace(
        progressing, weight_percent=weight, step_index=state.step_index + 1, step_started_at=now
    )
    return Decision(
        state=risen,
        reason=Reason.STEP_PASSED,
        message=f"raised from {state.weight_percent} to {weight} %",
    )


def _step_passed(
    state: State, verdict: Verdict, plan: Plan, step_requests: float, now: float
) -> bool:
    if state.weight_percent == 0:
        # a run that began paused needs no evidence for its first step
        return True
    enough = (
        step_requests >= plan.min_requests and now - state.step_started_at >= plan.every_seconds
    )
    return enough and verdict.outcome is Outcome.HEALTHY


def _missing(state: State, verdict: Verdict, plan: Plan) -> str:
    """Names what the next step needs. No countdown and no count: a status that is read again stays true."""
    if verdict.outcome is not Outcome.HEALTHY:
        return verdict.message
    earliest = to_text(state.step_started_at + plan.every_seconds)
    return f"the next step needs {plan.min_requests} canary requests on this one, and comes not before {earliest}"


def _rolled_back(state: State, cause: str, now: float) -> State:
    return replace(
        state, phase=Phase.ROLLED_BACK, weight_percent=0, step_started_at=now, cause=cause
    )


def _stay(state: State, reason: Reason, message: str) -> Decision:
    return Decision(state=state, reason=reason, message=message)
