"""The conditions of a RelayRoute, computed from its outcome and the relay pods' acknowledgements."""

from typing import assert_never

from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary.state import Decision, Phase
from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.decisions.providers.capabilities import Compared
from relay_operator.decisions.route_acceptance import Decided, RouteOutcome
from relay_operator.decisions.route_status import Programmed
from relay_operator.names import ConditionType as Type
from relay_operator.names import Reason

_WITHIN_SLO: dict[Outcome, bool | None] = {
    Outcome.HEALTHY: True,
    Outcome.BREACHED: False,
    Outcome.INCONCLUSIVE: None,
    Outcome.UNMEASURABLE: None,
}
_BY_A_PERSON = (Reason.AWAITING_APPROVAL, Reason.COST_HIGHER, Reason.COST_UNKNOWN)
"""Reasons for which a canary that does well waits for a person."""


def conditions(
    outcome: RouteOutcome,
    programmed: Programmed,
    *,
    obstacle: Obstacle | None = None,
    compared: Compared | None = None,
    cost: Condition | None = None,
) -> list[Condition]:
    """Builds every condition of a route. obstacle is what kept a decided route from being stored or delivered, compared what the
    catalogues say of its canary, cost what the ledger's figures do.
    """
    capable = [] if compared is None else [_capable(compared)]
    costs = [] if cost is None else [cost]
    return [*_of_outcome(outcome, programmed, obstacle), *capable, *costs]


def _capable(compared: Compared) -> Condition:
    reason = Reason.CAPABILITIES_UNKNOWN if compared.holds is None else Reason.CAPABILITY_MISSING
    return condition(
        Type.CANARY_CAPABLE, compared.holds, Reason.CAPABILITIES_MATCH, reason, compared.message
    )


def _of_outcome(
    outcome: RouteOutcome, programmed: Programmed, obstacle: Obstacle | None
) -> list[Condition]:
    match outcome:
        case Refused() | Waiting():
            reason, message = outcome.reason, outcome.message
            return not_accepted(outcome, condition(Type.ACCEPTED, False, reason, reason, message))
        case Decided():
            return _decided(outcome, programmed, obstacle)
        case _:
            assert_never(outcome)


def _decided(
    outcome: Decided, programmed: Programmed, obstacle: Obstacle | None
) -> list[Condition]:
    """Ready also while the canary climbs; not while it takes a person to go on."""
    decision = outcome.decision
    phase, reason, message = decision.state.phase, decision.reason, decision.message
    rolled_back, promoted = phase is Phase.ROLLED_BACK, phase is Phase.PROMOTED
    stalled = _is_stalled(decision)
    acknowledged = programmed.pods > 0 and programmed.acknowledged == programmed.pods
    pods = _pods(programmed)
    table = [
        _ready(decision, acknowledged, pods),
        condition(
            Type.ACCEPTED,
            True,
            Reason.ACCEPTED,
            Reason.ACCEPTED,
            "the spec is valid and in use",
        ),
        condition(
            Type.PROGRAMMED, acknowledged, Reason.ACKNOWLEDGED, Reason.WAITING_FOR_PODS, pods
        ),
        *_analysis(outcome),
        condition(Type.PROMOTED, promoted, reason, reason, message),
        condition(Type.ROLLED_BACK, rolled_back, reason, reason, _rollback(decision)),
        condition(Type.STALLED, stalled, reason, reason, message),
        _reconciling(decision, acknowledged, pods),
    ]
    return table if obstacle is None else _interrupted(table, obstacle)


def _interrupted(table: list[Condition], obstacle: Obstacle) -> list[Condition]:
    kept = [one for one in table if one.type not in (Type.READY, Type.STALLED, Type.RECONCILING)]
    return [*not_accepted(obstacle), *kept]


def _ready(decision: Decision, acknowledged: bool, pods: str) -> Condition:
    if _is_stalled(decision) or decision.reason in _BY_A_PERSON:
        rolled_back = decision.state.phase is Phase.ROLLED_BACK
        reason = Reason.ROLLED_BACK if rolled_back else decision.reason
        return condition(Type.READY, False, reason, reason, decision.message)
    return condition(
        Type.READY,
        acknowledged,
        decision.reason,
        Reason.WAITING_FOR_PODS,
        decision.message if acknowledged else pods,
    )


def _reconciling(decision: Decision, acknowledged: bool, pods: str) -> Condition:
    """True also while the canary is probed: a matter of seconds, unlike the steps that follow."""
    stalled = _is_stalled(decision)
    if acknowledged and not stalled and decision.reason is Reason.PREFLIGHT:
        return condition(Type.RECONCILING, True, decision.reason, decision.reason, decision.message)
    return condition(
        Type.RECONCILING,
        not acknowledged and not stalled,
        Reason.WAITING_FOR_PODS,
        Reason.ACKNOWLEDGED,
        pods,
    )


def _is_stalled(decision: Decision) -> bool:
    """Tells whether GitOps is to see a failure: nothing goes on, or not within the time that was given."""
    phases = (Phase.ROLLED_BACK, Phase.FROZEN)
    reasons = (
        Reason.STEP_DEADLINE,
        Reason.UNMEASURABLE,
        Reason.PREFLIGHT_FAILED,
        Reason.SHADOW_DIFFERS,
    )
    return decision.state.phase in phases or decision.reason in reasons


def _analysis(outcome: Decided) -> list[Condition]:
    decision, verdict = outcome.decision, outcome.verdict
    if outcome.measured:
        available = verdict.outcome is not Outcome.UNMEASURABLE
        within = _WITHIN_SLO[verdict.outcome]
        return [
            condition(
                Type.ANALYSIS_AVAILABLE, available, verdict.reason, verdict.reason, verdict.message
            ),
            condition(Type.WITHIN_SLO, within, verdict.reason, verdict.reason, verdict.message),
        ]
    state = decision.state
    ended = state.phase is Phase.ROLLED_BACK or state.is_frozen_by_breach
    reason = state.cause_reason if ended else decision.reason
    # a deadline, or nothing to measure by, says nothing of the limits
    breached = ended and reason is Reason.SLO_BREACH
    return [
        condition(
            Type.ANALYSIS_AVAILABLE,
            None,
            decision.reason,
            decision.reason,
            "no canary is being measured",
        ),
        condition(
            Type.WITHIN_SLO,
            False if breached else None,
            reason,
            reason,
            state.cause if breached else decision.message,
        ),
    ]


def _rollback(decision: Decision) -> str:
    """Says why the canary was rolled back; what to do about it is in Ready."""
    state = decision.state
    if state.phase is Phase.ROLLED_BACK:
        return state.cause or decision.message
    return "this canary is not rolled back" if state.fingerprint else "the route has no canary"


def _pods(programmed: Programmed) -> str:
    return f"{programmed.acknowledged} of {programmed.pods} relay pods run this configuration"
