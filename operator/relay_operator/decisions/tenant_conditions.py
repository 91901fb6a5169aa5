"""The conditions of a Tenant, told from what its reconciler found."""

from dataclasses import dataclass

from relay_operator.decisions.conditions import Condition, Status
from relay_operator.names import ConditionType as Type
from relay_operator.names import Reason

_NEEDS_A_PERSON = frozenset({Reason.INVALID_SPEC, Reason.NAMESPACE_CONFLICT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found. refusal says why nothing could be provisioned; then the counts mean nothing."""

    refusal: Reason | None = None
    message: str = ""
    wanted_pods: int = 1
    ready_pods: int = 0
    pods: int = 0
    acknowledged_pods: int = 0
    missing_keys: tuple[str, ...] = ()
    suspended: bool = False


def conditions(findings: Findings) -> list[Condition]:
    """Every condition of a Tenant; Ready=True means accepted, programmed and serving, no person needed."""
    if findings.refusal is not None:
        return _refused(findings.refusal, findings.message)
    available = findings.ready_pods >= findings.wanted_pods
    programmed = 0 < findings.pods == findings.acknowledged_pods
    ready = available and programmed and not findings.missing_keys
    return [
        _ready(findings, available=available, programmed=programmed),
        Condition(
            type=Type.NAMESPACE_READY,
            status="True",
            reason=Reason.OWNED,
            message="the namespace carries this Tenant's UID",
        ),
        _credentials(findings),
        Condition(
            type=Type.ISOLATED,
            status="Unknown",
            reason=Reason.NOT_PROBED,
            message="policies are applied; whether the network enforces them is not probed yet",
        ),
        Condition(
            type=Type.RELAY_AVAILABLE,
            status=_status(available),
            reason=Reason.MINIMUM_REPLICAS_AVAILABLE if available else Reason.PROGRESSING,
            message=f"{findings.ready_pods} of {findings.wanted_pods} relay pods are ready",
        ),
        Condition(
            type=Type.PROGRAMMED,
            status=_status(programmed),
            reason=Reason.ACKNOWLEDGED if programmed else Reason.WAITING_FOR_PODS,
            message=_programmed(findings),
        ),
        Condition(
            type=Type.RECONCILING,
            status=_status(not ready and not findings.missing_keys),
            reason=Reason.PROVISIONING,
            message=_programmed(findings),
        ),
        Condition(
            type=Type.STALLED,
            status=_status(bool(findings.missing_keys)),
            reason=Reason.SECRET_MISSING,
            message="; ".join(findings.missing_keys),
        ),
    ]


def _ready(findings: Findings, *, available: bool, programmed: bool) -> Condition:
    if findings.missing_keys:
        message = "; ".join(findings.missing_keys)
        return Condition(
            type=Type.READY, status="False", reason=Reason.SECRET_MISSING, message=message
        )
    if not available:
        message = f"{findings.ready_pods} of {findings.wanted_pods} relay pods are ready"
        return Condition(
            type=Type.READY, status="False", reason=Reason.PROVISIONING, message=message
        )
    if not programmed:
        return Condition(
            type=Type.READY,
            status="False",
            reason=Reason.WAITING_FOR_PODS,
            message=_programmed(findings),
        )
    if findings.suspended:
        message = "suspended by spec.suspend: calls are refused, everything stays in place"
        return Condition(type=Type.READY, status="True", reason=Reason.SUSPENDED, message=message)
    return Condition(
        type=Type.READY, status="True", reason=Reason.AVAILABLE, message="the relay serves"
    )


def _credentials(findings: Findings) -> Condition:
    missing = "; ".join(findings.missing_keys)
    return Condition(
        type=Type.CREDENTIALS_READY,
        status=_status(not missing),
        reason=Reason.SECRET_MISSING if missing else Reason.SYNCED,
        message=missing or "API keys and provider keys are in place",
    )


def _refused(reason: Reason, message: str) -> list[Condition]:
    final = reason in _NEEDS_A_PERSON
    return [
        Condition(type=Type.READY, status="False", reason=reason, message=message),
        Condition(type=Type.NAMESPACE_READY, status="False", reason=reason, message=message),
        Condition(type=Type.STALLED, status=_status(final), reason=reason, message=message),
        Condition(type=Type.RECONCILING, status=_status(not final), reason=reason, message=message),
    ]


def _programmed(findings: Findings) -> str:
    return (
        f"{findings.acknowledged_pods} of {findings.pods} relay pods run the current configuration"
    )


def _status(true: bool) -> Status:
    return "True" if true else "False"
