"""The conditions of a Tenant, computed from the outcome of its reconcile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from relay_operator.decisions.api_keys.in_force import ApiKeys, story
from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.isolation.finding import NOT_PROBED
from relay_operator.decisions.isolation.finding import Finding as IsolationFinding
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.decisions.relay_pods.certificate import ClientTls, Finding, Next, judge
from relay_operator.decisions.rollouts.changes import NOT_SEEN
from relay_operator.decisions.rollouts.changes import Finding as RolloutFinding
from relay_operator.decisions.tools.tenant_tools import GrantedTools
from relay_operator.names import ConditionType as Type
from relay_operator.names import Reason

_WITHOUT_TLS = Finding(holds=True, reason=Reason.CERTIFICATE_SERVED, message="", next=Next.NOBODY)
_NAMESPACE_REASONS = frozenset(
    {Reason.NAMESPACE_CONFLICT, Reason.NAMESPACE_MISSING, Reason.NAMESPACE_TERMINATING}
)

_NO_ADDRESS = (
    "the load balancer of Service relay has no address yet: whatever makes load balancers of its class gives it one "
    "(kubectl describe service relay, in the tenant's namespace); calls from within the cluster are served"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """A reconcile that applied everything the tenant owns. pods counts the relay pods that are not terminating.

    orphans says which Providers are gone although routes in force use them; those routes say so as well. outgrown names
    Providers that have become too large for the tenant's document. api_keys is what the last look at the tenant's own API
    keys found. troubles says why relay pods are missing. tls is None
    for a tenant without TLS. withheld says why no key of a Provider is handed out. rollout is how
    new relay pods take the place of former ones. awaits_entry tells of a load balancer that has no address yet. tools is None
    for a tenant whose spec does not speak of them. unbounded says what of its budgets a platform without a ledger does not hold.
    """

    wanted_pods: int = 1
    ready_pods: int = 0
    pods: int = 0
    acknowledged_pods: int = 0
    missing_keys: tuple[str, ...] = ()
    api_keys: ApiKeys = field(default_factory=ApiKeys)
    orphans: tuple[str, ...] = ()
    outgrown: tuple[str, ...] = ()
    suspended: bool = False
    is_adopted: bool = False
    troubles: tuple[str, ...] = ()
    awaits_entry: bool = False
    tls: ClientTls | None = None
    isolation: IsolationFinding = NOT_PROBED
    isolation_is_required: bool = True
    withheld: str = ""
    rollout: RolloutFinding = NOT_SEEN
    tools: GrantedTools | None = None
    unbounded: str = ""

    @property
    def is_exposed(self) -> bool:
        """Tells whether a person has to act on what the probes found."""
        return self.isolation_is_required and self.isolation.holds is False

    @property
    def is_stuck(self) -> bool:
        """Tells whether new relay pods will not come up by themselves."""
        return self.rollout.is_stuck

    @property
    def quota(self) -> str:
        """The trouble of a pod that a quota keeps from being made; empty without one."""
        return next((one for one in self.troubles if "exceeded quota" in one), "")

    @property
    def available(self) -> bool:
        return self.ready_pods >= self.wanted_pods

    @property
    def programmed(self) -> bool:
        return 0 < self.pods == self.acknowledged_pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """A reconcile that the API server stopped half-way: what the obstacle names is not in force, the rest may be.

    was_ready tells whether this generation of the spec was in force before. owned is None while the namespace itself
    could not be read.
    """

    obstacle: Obstacle
    was_ready: bool
    owned: bool | None
    found: Provisioned = field(default_factory=Provisioned)


TenantOutcome = Refused | Waiting | Interrupted | Provisioned


def conditions(outcome: TenantOutcome) -> list[Condition]:
    """Builds every condition of a Tenant; Ready=True means accepted, programmed and serving, no person needed."""
    match outcome:
        case Refused() | Waiting():
            return not_accepted(outcome, _namespace(outcome))
        case Interrupted():
            return _interrupted(outcome)
        case Provisioned():
            return _provisioned(outcome)
        case _:
            assert_never(outcome)


def was_ready(status: Mapping[str, Any], *, generation: int) -> bool:
    """Reads from a status whether this generation of the spec was Ready when status was written."""
    return any(
        one.get("type") == Type.READY.value
        and one.get("status") == "True"
        and one.get("observedGeneration") == generation
        for one in status.get("conditions", ())
    )


def _namespace(obstacle: Obstacle) -> Condition:
    # any other obstacle says nothing about the namespace
    holds = False if obstacle.reason in _NAMESPACE_REASONS else None
    return condition(
        Type.NAMESPACE_READY, holds, obstacle.reason, obstacle.reason, obstacle.message
    )


def _interrupted(outcome: Interrupted) -> list[Condition]:
    obstacle, found = outcome.obstacle, outcome.found
    reason, message = obstacle.reason, obstacle.message
    # what was in force stays so; a refusal needs a person all the same
    serves = isinstance(obstacle, Waiting) and outcome.was_ready and _ready(found).status == "True"
    owned = (
        _owned(found)
        if outcome.owned
        else condition(Type.NAMESPACE_READY, None, reason, reason, message)
    )
    ready = _ready(found) if serves else condition(Type.READY, False, reason, reason, message)
    return [
        ready,
        owned,
        condition(Type.CREDENTIALS_READY, None, reason, reason, message),
        # what was measured holds whatever else is not known
        _isolated(found)
        if found.isolation.holds is not None
        else condition(Type.ISOLATED, None, reason, reason, message),
        *_relay(found),
        *_certificate(found),
        *_tools(found),
        *_budget(found),
        *not_accepted(obstacle)[1:],
    ]


def _provisioned(found: Provisioned) -> list[Condition]:
    stalled = _stalled(found)
    # what waits for a person is not on its way: GitOps tools would wait for it too, instead of telling the failure
    on_its_way = [] if stalled.status == "True" else [_reconciling(found)]
    return [
        _ready(found),
        _owned(found),
        _credentials(found),
        _isolated(found),
        *_relay(found),
        *_certificate(found),
        *_tools(found),
        *_budget(found),
        *on_its_way,
        stalled,
    ]


def _credentials(found: Provisioned) -> Condition:
    keys = found.api_keys
    lacking = "; ".join(one for one in (*found.missing_keys, keys.obstacle, *keys.problems) if one)
    if found.withheld and not lacking:
        # not yet known is no failure
        holds = False if found.is_exposed else None
        reason = Reason.NOT_ENFORCED if found.is_exposed else Reason.NOT_PROBED
        message = "; ".join(one for one in (found.withheld, story(keys)) if one)
        return condition(Type.CREDENTIALS_READY, holds, reason, reason, message)
    told = (lacking or "API keys and provider keys are in place", *found.orphans, story(keys))
    return condition(
        Type.CREDENTIALS_READY,
        not lacking,
        Reason.SYNCED,
        _lack(found),
        "; ".join(one for one in told if one),
    )


def _lack(found: Provisioned) -> Reason:
    """Returns the reason for which credentials are not as they should be."""
    if found.missing_keys:
        return Reason.SECRET_MISSING
    return Reason.SECRET_IMMUTABLE if found.api_keys.obstacle else Reason.API_KEY_INVALID


def _invalid(found: Provisioned) -> str:
    return "; ".join(found.api_keys.problems)


def _isolated(found: Provisioned) -> Condition:
    isolation = found.isolation
    return condition(
        Type.ISOLATED, isolation.holds, Reason.PROBED, isolation.reason, isolation.message
    )


def _reconciling(found: Provisioned) -> Condition:
    tls = _tls(found)
    if tls.next is Next.TIME:
        return condition(Type.RECONCILING, True, tls.reason, tls.reason, tls.message)
    is_served = found.available and found.programmed
    is_waiting = not is_served or found.awaits_entry
    holds = is_waiting and not (found.missing_keys or found.is_stuck)
    message = _configured(found) if found.available else _ready_pods(found)
    if is_served and found.awaits_entry:
        message = _NO_ADDRESS
    return condition(Type.RECONCILING, holds, Reason.PROVISIONING, Reason.AVAILABLE, message)


def _stalled(found: Provisioned) -> Condition:
    missing, full, tls = "; ".join(found.missing_keys), _outgrown(found), _tls(found)
    rows = (
        (found.is_exposed, Reason.NOT_ENFORCED, found.isolation.message),
        (bool(missing), Reason.SECRET_MISSING, missing),
        (bool(found.api_keys.obstacle), Reason.SECRET_IMMUTABLE, found.api_keys.obstacle),
        (bool(found.api_keys.problems), Reason.API_KEY_INVALID, _invalid(found)),
        (bool(full), Reason.DOCUMENT_FULL, full),
        _lacking_tools(found),
        (bool(found.unbounded), Reason.NO_LEDGER, found.unbounded),
        (tls.next is Next.PERSON, tls.reason, tls.message),
        (found.is_stuck, Reason.ROLLOUT_STUCK, found.rollout.message),
    )
    holds, reason, message = next((row for row in rows if row[0]), (False, Reason.SYNCED, ""))
    return condition(Type.STALLED, holds, reason, reason, message)


def _tls(found: Provisioned) -> Finding:
    return judge(found.tls) if found.tls is not None else _WITHOUT_TLS


def _certificate(found: Provisioned) -> list[Condition]:
    if found.tls is None:
        return []
    tls = _tls(found)
    return [condition(Type.CERTIFICATE_READY, tls.holds, tls.reason, tls.reason, tls.message)]


def _tools(found: Provisioned) -> list[Condition]:
    return [] if found.tools is None else [found.tools.condition]


def _budget(found: Provisioned) -> list[Condition]:
    """Returns what is said of budgets without a ledger; with one it tells (decisions/ledger)."""
    if not found.unbounded:
        return []
    no_ledger = Reason.NO_LEDGER
    return [condition(Type.WITHIN_BUDGET, None, no_ledger, no_ledger, found.unbounded)]


def _lacking_tools(found: Provisioned) -> tuple[bool, Reason, str]:
    """Returns whether somebody has to act on the tenant's grants, with reason and words."""
    if found.tools is None or not found.tools.is_stuck:
        return False, Reason.GRANTED, ""
    told = found.tools.condition
    return True, told.reason, told.message


def _outgrown(found: Provisioned) -> str:
    """Says which Providers are not in force as their specs have them; empty without any."""
    if not found.outgrown:
        return ""
    return (
        f"Provider {', '.join(found.outgrown)} has become too large for the tenant's configuration: it stays in force "
        "as it last was, but for its limits and key; remove models from it, or routes of this Tenant"
    )


def _ready(found: Provisioned) -> Condition:
    """Builds Ready from the first row that applies."""
    missing = "; ".join(found.missing_keys)
    tls = _tls(found)
    is_loading = tls.reason is Reason.CERTIFICATE_LOADING
    lacks_tools, tools_reason, tools_message = _lacking_tools(found)
    suspended = "spec.suspend is true: calls are refused, everything stays in place"
    rows = (
        (found.is_exposed, False, Reason.NOT_ENFORCED, found.isolation.message),
        (bool(missing), False, Reason.SECRET_MISSING, missing),
        (bool(found.api_keys.obstacle), False, Reason.SECRET_IMMUTABLE, found.api_keys.obstacle),
        (bool(found.api_keys.problems), False, Reason.API_KEY_INVALID, _invalid(found)),
        (bool(found.outgrown), False, Reason.DOCUMENT_FULL, _outgrown(found)),
        (lacks_tools, False, tools_reason, tools_message),
        (bool(found.unbounded), False, Reason.NO_LEDGER, found.unbounded),
        (not tls.holds and not is_loading, False, tls.reason, tls.message),
        (found.is_stuck, False, Reason.ROLLOUT_STUCK, found.rollout.message),
        (not found.available, False, Reason.PROVISIONING, _ready_pods(found)),
        (not found.programmed, False, Reason.WAITING_FOR_PODS, _configured(found)),
        (not tls.holds, False, tls.reason, tls.message),
        (found.awaits_entry, False, Reason.PROVISIONING, _NO_ADDRESS),
        (found.suspended, True, Reason.SUSPENDED, suspended),
        (True, True, Reason.AVAILABLE, "the relay serves"),
    )
    _, holds, reason, message = next(row for row in rows if row[0])
    return condition(Type.READY, holds, reason, reason, message)


def _owned(found: Provisioned) -> Condition:
    reason = Reason.ADOPTED if found.is_adopted else Reason.OWNED
    message = "the namespace carries this Tenant's UID"
    if found.is_adopted:
        message += "; it was there before, and stays when the Tenant goes"
    return condition(Type.NAMESPACE_READY, True, reason, reason, message)


def _relay(found: Provisioned) -> list[Condition]:
    return [
        condition(
            Type.RELAY_AVAILABLE,
            found.available and not found.quota,
            Reason.MINIMUM_REPLICAS_AVAILABLE,
            Reason.QUOTA_EXCEEDED if found.quota else Reason.PROGRESSING,
            _ready_pods(found),
        ),
        found.rollout.condition,
        condition(
            Type.PROGRAMMED,
            found.programmed,
            Reason.ACKNOWLEDGED,
            Reason.WAITING_FOR_PODS,
            _configured(found),
        ),
    ]


def _ready_pods(found: Provisioned) -> str:
    text = f"{found.ready_pods} of {found.wanted_pods} relay pods are ready"
    troubles = (found.quota,) if found.available and found.quota else found.troubles
    return "; ".join((text, *troubles)) if not found.available or found.quota else text


def _configured(found: Provisioned) -> str:
    return f"{found.acknowledged_pods} of {found.pods} relay pods run the current configuration"
