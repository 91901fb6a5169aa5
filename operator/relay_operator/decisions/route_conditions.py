"""The conditions of a RelayRoute, told from its decision, verdict and acknowledgements."""

from relay_operator.decisions.canary import Decision, Phase
from relay_operator.decisions.conditions import Condition, Status
from relay_operator.decisions.verdict import Outcome, Verdict
from relay_operator.names import ConditionType as Type
from relay_operator.names import Reason


def refused(reason: Reason, message: str, *, final: bool) -> list[Condition]:
    """A route that is not accepted; final when only a person can help. What was in force stays in force."""
    return [
        Condition(type=Type.READY, status="False", reason=reason, message=message),
        Condition(type=Type.ACCEPTED, status="False", reason=reason, message=message),
        Condition(
            type=Type.STALLED, status="True" if final else "False", reason=reason, message=message
        ),
        Condition(
            type=Type.RECONCILING,
            status="False" if final else "True",
            reason=reason,
            message=message,
        ),
    ]


def accepted(
    decision: Decision, verdict: Verdict, *, measured: bool, pods: int, acknowledged: int
) -> list[Condition]:
    """An accepted route. Ready also while its canary climbs; not once it was rolled back."""
    programmed = pods > 0 and acknowledged == pods
    rolled_back = decision.state.phase is Phase.ROLLED_BACK
    return [
        _ready(decision, programmed=programmed, pods=pods, acknowledged=acknowledged),
        Condition(
            type=Type.ACCEPTED,
            status="True",
            reason=Reason.ACCEPTED,
            message="the spec is valid and in use",
        ),
        Condition(
            type=Type.PROGRAMMED,
            status=_status(programmed),
            reason=Reason.ACKNOWLEDGED if programmed else Reason.WAITING_FOR_PODS,
            message=f"{acknowledged} of {pods} relay pods run this configuration",
        ),
        *_analysis(decision, verdict, measured=measured),
        Condition(
            type=Type.PROMOTED,
            status=_status(decision.state.phase is Phase.PROMOTED),
            reason=decision.reason,
            message=decision.message,
        ),
        Condition(
            type=Type.ROLLED_BACK,
            status=_status(rolled_back),
            reason=decision.reason,
            message=decision.message,
        ),
        Condition(
            type=Type.STALLED,
            status=_status(rolled_back),
            reason=decision.reason,
            message=decision.message,
        ),
        Condition(
            type=Type.RECONCILING,
            status=_status(not programmed and not rolled_back),
            reason=Reason.WAITING_FOR_PODS,
            message=f"{acknowledged} of {pods} relay pods run this configuration",
        ),
    ]


def _ready(decision: Decision, *, programmed: bool, pods: int, acknowledged: int) -> Condition:
    if decision.state.phase is Phase.ROLLED_BACK:
        return Condition(
            type=Type.READY, status="False", reason=Reason.ROLLED_BACK, message=decision.message
        )
    if not programmed:
        message = f"{acknowledged} of {pods} relay pods run this configuration"
        return Condition(
            type=Type.READY, status="False", reason=Reason.WAITING_FOR_PODS, message=message
        )
    return Condition(
        type=Type.READY, status="True", reason=decision.reason, message=decision.message
    )


def _analysis(decision: Decision, verdict: Verdict, *, measured: bool) -> list[Condition]:
    if not measured:
        reason = Reason.SLO_BREACH if decision.state.phase is Phase.ROLLED_BACK else decision.reason
        within: Status = "False" if decision.state.phase is Phase.ROLLED_BACK else "Unknown"
        message = "nothing is being measured"
        return [
            Condition(
                type=Type.ANALYSIS_AVAILABLE,
                status="Unknown",
                reason=decision.reason,
                message=message,
            ),
            Condition(type=Type.WITHIN_SLO, status=within, reason=reason, message=decision.message),
        ]
    available = verdict.outcome is not Outcome.UNMEASURABLE
    known: dict[Outcome, Status] = {Outcome.HEALTHY: "True", Outcome.BREACHED: "False"}
    return [
        Condition(
            type=Type.ANALYSIS_AVAILABLE,
            status=_status(available),
            reason=verdict.reason,
            message=verdict.message,
        ),
        Condition(
            type=Type.WITHIN_SLO,
            status=known.get(verdict.outcome, "Unknown"),
            reason=verdict.reason,
            message=verdict.message,
        ),
    ]


def _status(true: bool) -> Status:
    return "True" if true else "False"
