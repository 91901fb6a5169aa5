"""A route: where its calls go, what moved it there, and on which evidence."""

from dataclasses import dataclass

from kubectl_relay.views import raw
from kubectl_relay.views.raw import ConditionView, Object
from relay_operator.names import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """A route in short. canary_percent is in force, target_percent what the spec asks for, None without a canary.

    next_at is RFC 3339, empty while no move is in sight. cost says what a thousand calls of each side cost, empty where that was not told
    or there is no ledger. is_observed tells whether all this is about the newest spec.
    """

    name: str
    namespace: str
    ready: ConditionView
    is_observed: bool
    phase: str
    stable: str
    canary: str
    canary_percent: int
    target_percent: int | None
    verdict: str
    next: str
    next_at: str
    pods: int
    pods_acknowledged: int
    cost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """A decision that changed something. certified is None where that is no question."""

    at: str
    route: str
    reason: str
    message: str
    canary_percent: int
    certified: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """Both sides' figures against one limit on the present step, and the evidence that it is broken."""

    name: str
    canary: str
    stable: str
    limit: str
    evidence: str
    certified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowView:
    """Counts what shadow copies have shown. differences are kind and counts of canary and stable."""

    started_at: str
    compared: int
    matched: int
    failed: int
    stable_compared: int
    stable_matched: int
    differences: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """Tells what moved a route, and what that rests on. cause is why a canary was rolled back or frozen; commands are those by which a
    person decides, where one has to.
    """

    route: RouteView
    cause: str
    cause_reason: str
    moves: tuple[MoveView, ...]
    verdict: str
    verdict_reason: str
    verdict_message: str
    measured_at: str
    stable_finding: str
    throttled: str
    metrics: tuple[MetricView, ...]
    preflight: str
    shadow: ShadowView | None
    troubles: tuple[ConditionView, ...]
    commands: tuple[str, ...]


def route_view(body: Object) -> RouteView:
    """Reads a route in short."""
    spec, status = raw.part(body, "spec"), raw.part(body, "status")
    canary, in_force = raw.part(spec, "canary"), raw.part(status, "inForce")
    programmed = raw.part(status, "programmed")
    return RouteView(
        name=raw.name_of(body),
        namespace=raw.text(raw.part(body, "metadata"), "namespace"),
        ready=raw.condition(body, "Ready"),
        is_observed=raw.is_observed(body),
        phase=raw.text(status, "phase"),
        stable=raw.text(in_force, "stable") or raw.side(raw.part(spec, "stable")),
        canary=raw.text(in_force, "canary") or raw.side(canary),
        canary_percent=raw.number(raw.part(status, "weights"), "canaryPercent"),
        target_percent=raw.number(canary, "percent") if canary else None,
        verdict=raw.text(raw.part(status, "analysis"), "verdict"),
        next=raw.text(status, "next"),
        next_at=raw.text(raw.part(status, "step"), "nextAt"),
        pods=raw.number(programmed, "pods"),
        pods_acknowledged=raw.number(programmed, "acknowledged"),
        cost=_cost(raw.part(status, "cost")),
    )


def _cost(told: Object) -> str:
    """Returns what is told of the cost. That a platform has no ledger is news only to whoever limits a cost: the plan has it."""
    is_told = raw.text(told, "reason") != Reason.NO_LEDGER
    return raw.text(told, "summary") if is_told else ""


def moves(body: Object) -> tuple[MoveView, ...]:
    """Reads the last decisions, oldest first."""
    return tuple(
        MoveView(
            at=raw.text(one, "at"),
            route=raw.name_of(body),
            reason=raw.text(one, "reason"),
            message=raw.text(one, "message"),
            canary_percent=raw.number(one, "canaryPercent"),
            certified=one["certified"] if isinstance(one.get("certified"), bool) else None,
        )
        for one in raw.entries(raw.part(body, "status"), "history")
    )


def why_view(body: Object) -> WhyView:
    """Reads what moved a route, and its evidence."""
    status = raw.part(body, "status")
    analysis, preflight = raw.part(status, "analysis"), raw.part(status, "preflight")
    return WhyView(
        route=route_view(body),
        cause=raw.text(status, "cause"),
        cause_reason=raw.text(status, "causeReason"),
        moves=moves(body),
        verdict=raw.text(analysis, "verdict"),
        verdict_reason=raw.text(analysis, "reason"),
        verdict_message=raw.text(analysis, "message"),
        measured_at=raw.text(analysis, "measuredAt"),
        stable_finding=raw.text(analysis, "stable"),
        throttled=raw.text(analysis, "throttled"),
        metrics=tuple(_metric(one) for one in raw.entries(analysis, "metrics")),
        preflight=": ".join(
            filter(None, (raw.text(preflight, "reason"), raw.text(preflight, "message")))
        ),
        shadow=_shadow(raw.part(status, "shadow")),
        troubles=raw.troubles(body),
        commands=_commands(body),
    )


def _commands(body: Object) -> tuple[str, ...]:
    """Returns the commands by which a person decides where one has to."""
    ready = raw.condition(body, "Ready")
    where = f"{raw.name_of(body)} -n {raw.text(raw.part(body, 'metadata'), 'namespace')}"
    return tuple(f"kubectl relay {one} {where}" for one in _by_hand(body, ready.reason))


def _by_hand(body: Object, reason: str) -> tuple[str, ...]:
    """Returns what a person can do where the canary does not go on by itself."""
    status = raw.part(body, "status")
    phase, is_breach = raw.text(status, "phase"), bool(raw.text(status, "cause"))
    if reason == "AwaitingApproval":
        return ("approve", "back")
    if phase == "Frozen" and is_breach:
        return ("retry", "back")
    return {"RolledBack": ("retry",), "Paused": ("resume",)}.get(phase, ())


def _metric(row: Object) -> MetricView:
    return MetricView(
        name=raw.text(row, "name"),
        canary=raw.text(row, "canary"),
        stable=raw.text(row, "stable"),
        limit=raw.text(row, "limit"),
        evidence=raw.text(row, "evidence"),
        certified=row.get("certified") is True,
    )


def _shadow(found: Object) -> ShadowView | None:
    if not found:
        return None
    stable = raw.part(found, "stable")
    return ShadowView(
        started_at=raw.text(found, "startedAt"),
        compared=raw.number(found, "compared"),
        matched=raw.number(found, "matched"),
        failed=raw.number(found, "failed"),
        stable_compared=raw.number(stable, "compared"),
        stable_matched=raw.number(stable, "matched"),
        differences=tuple(
            (raw.text(one, "kind"), raw.number(one, "canary"), raw.number(one, "stable"))
            for one in raw.entries(found, "differences")
        ),
    )
