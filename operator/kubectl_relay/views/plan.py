"""The steps that lie ahead of a route, each with its earliest moment, and what they wait for."""

from dataclasses import dataclass

from kubectl_relay.views import raw
from kubectl_relay.views.raw import Object
from kubectl_relay.views.route import RouteView, route_view
from relay_operator.api.durations import seconds
from relay_operator.decisions.canary.schedule import ahead
from relay_operator.decisions.canary.state import Phase, Plan, ShadowPlan, State
from relay_operator.decisions.timestamps import to_text

_DEFAULT_REQUESTS = 50
"""Of progression, analysis and shadow alike, as the custom resource says."""
_DEFAULT_COOL_DOWN = "30m"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A move that can come: Weight, Shadowing, Baking or Promoted; earliest is RFC 3339."""

    kind: str
    canary_percent: int
    earliest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """Lists what lies ahead. takes says what each step needs; waits_for is what holds the canary at present, empty if nothing does:
    then the steps are those that follow once that ends, if it ended now.

    cost says what a thousand calls of each side cost, and what the canary's may; empty without spec.analysis.cost.
    """

    route: RouteView
    steps: tuple[StepView, ...]
    takes: tuple[str, ...]
    cost: str
    waits_for: str
    ends: str


def plan_view(body: Object, now: float) -> PlanView:
    """Makes the plan of a route."""
    plan, state = plan_of(body), state_of(body)
    route = route_view(body)
    steps = tuple(
        StepView(
            kind=one.kind.value, canary_percent=one.canary_percent, earliest=to_text(one.earliest)
        )
        for one in (ahead(state, plan, now) if plan.fingerprint else ())
    )
    return PlanView(
        route=route,
        steps=steps,
        takes=_takes(body, plan) if steps else (),
        cost=_cost(body),
        waits_for=_waits_for(body, state, plan),
        ends=_ends(state, plan),
    )


def plan_of(body: Object) -> Plan:
    """Reads from a spec what the schedule needs, with the defaults of the custom resource."""
    spec = raw.part(body, "spec")
    canary, analysis = raw.part(spec, "canary"), raw.part(spec, "analysis")
    if not canary:
        return Plan()
    progression = raw.part(canary, "progression")
    least = raw.number(analysis, "minRequests") or _DEFAULT_REQUESTS
    of_step = raw.number(progression, "minRequests") or _DEFAULT_REQUESTS
    alone = least if analysis else 0
    return Plan(
        # which one it is says status; here it is only that there is one
        fingerprint=_fingerprint(body) or "canary",
        percent=raw.number(canary, "percent"),
        step_percent=raw.number(progression, "stepPercent") or 100,
        every_seconds=seconds(progression.get("every", 0)),
        min_requests=of_step if progression else alone,
        guarded=bool(spec.get("analysis") is not None),
        paused=spec.get("paused") is True,
        bake_seconds=seconds(canary.get("bake", 0)),
        needs_approval=progression.get("approval") == "Manual",
        freezes_on_breach=analysis.get("onBreach") == "Freeze",
        cool_down_seconds=seconds(analysis.get("coolDown", _DEFAULT_COOL_DOWN)),
        shadow=_shadow_plan(raw.part(canary, "shadow")),
    )


def state_of(body: Object) -> State:
    """Reads the canary's position. A phase that only a newer operator knows holds."""
    status = raw.part(body, "status")
    step, phase = raw.part(status, "step"), raw.text(status, "phase")
    if not _fingerprint(body):
        return State(run=raw.number(status, "run"))
    return State(
        phase=Phase(phase) if phase in set(Phase) else Phase.HOLDING,
        weight_percent=raw.number(raw.part(status, "weights"), "canaryPercent"),
        fingerprint=_fingerprint(body),
        step_index=raw.number(step, "index"),
        step_started_at=raw.seconds_of(step, "startedAt"),
        cause=raw.text(status, "cause"),
        run=raw.number(status, "run"),
    )


def _fingerprint(body: Object) -> str:
    return raw.text(raw.part(body, "status"), "canaryFingerprint")


def _shadow_plan(shadow: Object) -> ShadowPlan | None:
    """Reads what copies have to show; they hold nothing unless the spec says how long or how many."""
    if "minDuration" not in shadow and "minRequests" not in shadow:
        return None
    return ShadowPlan(
        min_seconds=seconds(shadow.get("minDuration", 0)),
        min_requests=raw.number(shadow, "minRequests") or _DEFAULT_REQUESTS,
    )


def _takes(body: Object, plan: Plan) -> tuple[str, ...]:
    """Says what each move needs beside its moment."""
    needs = ["a preflight that a relay pod has passed"] if not state_of(body).weight_percent else []
    if plan.shadow is not None and not state_of(body).weight_percent:
        needs.append(f"{plan.shadow.min_requests} shadow copies compared")
    if plan.guarded:
        needs.append(f"for each step, a healthy verdict and {plan.min_requests} canary calls")
    if plan.needs_approval:
        needs.append("for each step that is passed, an approval by hand (kubectl relay approve)")
    return tuple(needs)


def _cost(body: Object) -> str:
    """Says what calls of each side cost beside the limit of the spec, in the operator's words, also where that is not known."""
    limit = raw.part(body, "spec", "analysis", "cost")
    if not limit:
        return ""
    told = raw.text(raw.part(body, "status", "cost"), "summary") or "not known yet"
    return f"{told}; the canary may cost {limit.get('maxIncreasePercent', 0):g} % more"


def _waits_for(body: Object, state: State, plan: Plan) -> str:
    """Says what holds the canary, in the operator's words where it tells them."""
    ready = raw.condition(body, "Ready")
    if not plan.fingerprint:
        return ""
    if not raw.is_observed(body):
        return "the operator, which has not looked at the newest spec yet"
    accepted = raw.condition(body, "Accepted")
    if accepted.status == "False":
        return accepted.message
    held = raw.part(body, "status", "step").get("held") is True
    stays = state.phase in (Phase.ROLLED_BACK, Phase.FROZEN, Phase.PAUSED) or plan.paused
    return ready.message if held or stays or ready.status == "False" else ""


def _ends(state: State, plan: Plan) -> str:
    """Says where the plan ends."""
    if not plan.fingerprint:
        return "the route has no canary: all calls go to stable"
    if state.phase is Phase.PROMOTED:
        return "the canary serves all traffic; make it the new stable"
    if not plan.percent:
        return "spec.canary.percent is 0: the canary gets no weight"
    if not plan.guarded:
        return "without spec.analysis the canary stays at its first step"
    if plan.percent < 100:
        return f"it stays at its target of {plan.percent} %; raise spec.canary.percent to go on"
    return ""
