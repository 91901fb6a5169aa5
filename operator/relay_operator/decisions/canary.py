"""The canary's state machine: how the weight of a route moves. Total over phase and verdict; no clock, no I/O."""

from dataclasses import dataclass, replace
from enum import StrEnum

from relay_operator.decisions.verdict import Outcome, Verdict
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the spec asks for. fingerprint is empty without a canary; percent is the destination."""

    fingerprint: str = ""
    percent: int = 0
    step_percent: int = 100
    every_seconds: float = 0.0
    min_requests: int = 50
    guarded: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a route stands; everything a restarted operator needs, kept in status.

    step_started_at is seconds since the epoch; cause is the message of the move that led here.
    """

    phase: Phase = Phase.STABLE
    weight_percent: int = 0
    fingerprint: str = ""
    step_index: int = 0
    step_started_at: float = 0.0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    state: State
    reason: Reason
    message: str


def resumed(state: State, *, fingerprint_in_force: str, weight_in_force: int, now: float) -> State:
    """The state a restarted operator goes on from: status corrected by the document the relays obey.

    The weight is brought out before status is written, so after a crash between the two the document is right. A
    weight that fell to zero was a rollback and stays one: a restart never raises a weight.
    """
    if state.fingerprint != fingerprint_in_force or state.weight_percent == weight_in_force:
        return state
    if weight_in_force == 0:
        cause = f"rolled back from {state.weight_percent} %; the operator stopped before it could tell why"
        return replace(
            state, phase=Phase.ROLLED_BACK, weight_percent=0, step_started_at=now, cause=cause
        )
    return replace(state, weight_percent=weight_in_force, step_started_at=now)


def next_state(
    state: State, verdict: Verdict, *, plan: Plan, step_requests: float, now: float
) -> Decision:
    """The next state. step_requests is the number of canary calls finished since the step began.

    The same input gives the same output; applying it twice changes nothing more. Weight goes up by at most one
    step a call, down at once.
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
        rolled_back = replace(
            state, phase=Phase.ROLLED_BACK, weight_percent=0, step_started_at=now, cause=cause
        )
        return Decision(state=rolled_back, reason=Reason.SLO_BREACH, message=cause)
    if state.weight_percent > plan.percent:
        lowered = replace(
            state, phase=Phase.HOLDING, weight_percent=plan.percent, step_started_at=now
        )
        return Decision(
            state=lowered, reason=Reason.LOWERED, message=f"lowered to {plan.percent} % as asked"
        )
    if plan.paused:
        return _stay(replace(state, phase=Phase.PAUSED), Reason.PAUSED, "paused by spec.paused")
    return _climb(state, verdict, plan, step_requests, now)


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
        message=f"canary started at {weight} %, bound for {plan.percent} %",
    )


def _climb(
    state: State, verdict: Verdict, plan: Plan, step_requests: float, now: float
) -> Decision:
    if state.phase is Phase.PROMOTED and state.weight_percent == plan.percent:
        return _stay(state, Reason.PROMOTED, "the canary serves everything; make it the new stable")
    if not plan.guarded:
        holding = replace(state, phase=Phase.HOLDING)
        return _stay(
            holding,
            Reason.NO_ANALYSIS,
            f"at {state.weight_percent} %; without spec.analysis nothing climbs by itself",
        )
    arrived = state.weight_percent == plan.percent
    if arrived and plan.percent < 100:
        return _stay(
            replace(state, phase=Phase.HOLDING),
            Reason.DESTINATION_REACHED,
            f"at its destination of {plan.percent} %",
        )
    progressing = replace(state, phase=Phase.PROGRESSING)
    if not _step_passed(state, verdict, plan, step_requests, now):
        return _stay(
            progressing,
            Reason.AWAITING_EVIDENCE,
            f"at {state.weight_percent} %: {_missing(state, verdict, plan, step_requests, now)}",
        )
    if arrived:
        promoted = replace(state, phase=Phase.PROMOTED, step_started_at=now)
        return Decision(
            state=promoted,
            reason=Reason.PROMOTED,
            message="promoted: the canary serves everything; make it the new stable",
        )
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
        # a run that began paused has nothing to prove before its first step
        return True
    enough = (
        step_requests >= plan.min_requests and now - state.step_started_at >= plan.every_seconds
    )
    return enough and verdict.outcome is Outcome.HEALTHY


def _missing(state: State, verdict: Verdict, plan: Plan, step_requests: float, now: float) -> str:
    if verdict.outcome is not Outcome.HEALTHY:
        return verdict.message
    remaining = plan.every_seconds - (now - state.step_started_at)
    if remaining > 0:
        return f"{remaining:.0f} s of this step remain"
    return f"{step_requests:.0f} of {plan.min_requests} canary requests on this step"


def _stay(state: State, reason: Reason, message: str) -> Decision:
    return Decision(state=state, reason=reason, message=message)
