"""Acceptance of a route: refusals, what it waits for, and the weight of its canary."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from relay_contract import document
from relay_operator.api.custom_resource import Metadata
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import Match, RelayRoute, Shadow, Side, fingerprint
from relay_operator.decisions import brake
from relay_operator.decisions.analysis.verdict import Verdict
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Decision
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.decisions.providers import replacement
from relay_operator.names import ANNOTATION_ALLOW_JUMP, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Facts about the cluster that the acceptance of a route depends on.

    conflicts are those of the routes of its namespace. known are the Providers that the tenant may use, by name, and distant
    those out of its region, each with words that say so; of others it is told nothing. usable are those with a valid spec and a
    resolved address, reachable those that the tenant's network policy and keys already allow, and keyless those whose
    key a relay pod still lacks. in_force is the route as the relays have it; stored tells whether its weight would
    survive the operator. shortage says why the route does not fit into the tenant's document. replaced are the Providers that were
    made again as another upstream, with the routes that still send calls to what they were.
    """

    conflicts: Mapping[str, str]
    known: frozenset[str]
    usable: Mapping[str, Provider]
    reachable: frozenset[str]
    keyless: frozenset[str] = frozenset()
    in_force: document.Route | None = None
    stored: bool = True
    missing_keys: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    shortage: str = ""
    distant: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A route in use. decision stands for the present state; measured tells whether the SLO loop judges it.

    pending tells that relay pods still lack what a first weight would take.
    """

    decision: Decision
    verdict: Verdict
    measured: bool
    pending: bool = False


_NAMED = 8
_ALL = 100
_NO_SHADOW = Shadow(percent=0)

RouteOutcome = Refused | Waiting | Decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """An outcome, and the canary's weight to put in force with the route's spec; None leaves what is in force.

    preflight is the token under which the canary is to be probed, copies tells whether calls may be copied to it.
    """

    outcome: RouteOutcome
    weight_percent: int | None = None
    preflight: str | None = None
    copies: bool = True


def rule(route: RelayRoute, around: Surroundings, runs: CanaryRuns, *, now: float) -> Ruling:
    """Decides on a route. Synchronous, so that no older decision can overtake a newer one."""
    refusal = refusal_of(route, around)
    if refusal is not None:
        return Ruling(outcome=refusal)
    jump = _unguarded_change(route, around) or _former_in_use(route, around)
    if jump is not None:
        return Ruling(outcome=jump)
    if around.shortage:
        return Ruling(outcome=Refused(reason=Reason.DOCUMENT_FULL, message=around.shortage))
    closed = {side.provider for side in used_sides(route)} - around.reachable
    if closed:
        return Ruling(outcome=_closed(closed, around))
    run = runs.accept(route, around.usable, in_force=around.in_force, now=now)
    key = (route.metadata.namespace, route.metadata.name)
    waiting = _start_waits_for(route, around, run)
    if waiting is not None:
        runs.return_to_stable(key, message=waiting.message, now=now)
        return Ruling(outcome=waiting, weight_percent=0, copies=run.copies_calls)
    lacking = _lacked_key(route, around)
    runs.decide(key, now=now, stored=around.stored, lacking=lacking)
    pending = bool(lacking) and run.state.weight_percent == 0
    return Ruling(
        outcome=replace(decided(run), pending=pending),
        weight_percent=run.state.weight_percent,
        preflight=run.preflight_token,
        copies=run.copies_calls,
    )


def _closed(providers: Iterable[str], around: Surroundings) -> Waiting:
    """Says what providers lack that the tenant's relay cannot reach yet."""
    named = sorted(providers)
    lacking = [around.missing_keys[name] for name in named if name in around.missing_keys]
    if lacking:
        message = f"waiting for the key of a provider: {'; '.join(lacking)}"
        return Waiting(reason=Reason.SECRET_MISSING, message=message)
    message = (
        f"waiting for the network policy and key of provider {', '.join(named)}, "
        "which the operator is bringing to the relay pods"
    )
    return Waiting(reason=Reason.PROVISIONING, message=message)


def _start_waits_for(route: RelayRoute, around: Surroundings, run: Run) -> Waiting | None:
    """Finds what a canary has to wait for before its first weight. None also for one that runs, or is to have none."""
    canary = route.spec.canary
    if canary is None or canary.percent == 0 or run.state.fingerprint == run.plan.fingerprint:
        return None
    lacking = _lacked_key(route, around)
    if lacking:
        return Waiting(reason=Reason.PROVISIONING, message=lacking)
    if not around.stored:
        message = "the canary starts when the API server has stored the last weight of this route"
        return Waiting(reason=Reason.HELD, message=message)
    return None


def _lacked_key(route: RelayRoute, around: Surroundings) -> str:
    """Says which key relay pods lack: without it a pod could only fail the canary's calls (ADR 5). Empty if none."""
    canary = route.spec.canary
    if canary is not None and canary.provider in around.replaced:
        return f"waiting until relay pods have what Provider {canary.provider} is since it was made again"
    if canary is None or canary.provider not in around.keyless:
        return ""
    return f"waiting until every relay pod holds the key of provider {canary.provider}"


def decided(run: Run) -> Decided:
    """Reads the outcome, in the words that status has, from a run for which a decision stands."""
    return Decided(decision=run.told_decision, verdict=run.told, measured=run.is_measured)


def refusal_of(route: RelayRoute, around: Surroundings) -> Refused | None:
    """Checks a route against its siblings and the Providers it names; None when it can be used."""
    older = around.conflicts.get(route.metadata.name)
    if older is not None:
        message = f"route {older} already matches the same calls; the older route keeps them"
        return Refused(reason=Reason.CONFLICTED, message=message)
    refusals = (_check(side, route.spec.match.models, around) for side in sides(route))
    return next((refusal for refusal in refusals if refusal is not None), None)


def _unguarded_change(route: RelayRoute, around: Surroundings) -> Refused | None:
    """Finds that all traffic of the stable side in force would go at once to a side that did not serve it before.

    The same provider and model is no other side, although its Provider was made again; but for one that leads elsewhere now.
    """
    in_force, stable = around.in_force, route.spec.stable
    if in_force is None:
        return None
    is_same = (stable.provider, stable.model) == (in_force.stable.provider, in_force.stable.model)
    provider = around.usable[stable.provider]
    wanted = fingerprint(stable, provider_uid=provider.metadata.uid)
    if is_same and (
        stable.provider not in around.replaced or in_force.stable.fingerprint == wanted
    ):
        return None
    canary = in_force.canary
    is_promoted = (
        canary is not None and canary.fingerprint == wanted and in_force.canary_percent == _ALL
    )
    if is_promoted or replacement.allows_jump(route, stable=provider):
        return None
    token = replacement.jump_token(route, stable=provider)
    to = f"stable {_named(in_force.stable)} to {_named(stable)}"
    advice = "make it the canary first"
    if is_same:
        to = (
            f"what Provider {stable.provider} was to what it is since it was deleted and made again"
        )
        advice = "make it as it was, with a second Provider and a canary for the new upstream"
    message = (
        f"all traffic would go at once from {to}, which no canary has proved; "
        f"{advice}, or allow this jump with the annotation {ANNOTATION_ALLOW_JUMP}={token}"
    )
    return Refused(reason=Reason.UNGUARDED_CHANGE, message=message)


def _former_in_use(route: RelayRoute, around: Surroundings) -> Refused | None:
    """Finds that a side would be what its Provider was before it was made again: other routes of the tenant still go there."""
    for side in used_sides(route):
        others = [
            one for one in around.replaced.get(side.provider, ()) if one != route.metadata.name
        ]
        if others:
            message = (
                f"Provider {side.provider} was deleted and made again as another upstream, and relays keep what it was for "
                f"route {_listed(others)}; make it as it was, or allow their jump as their conditions say"
            )
            return Refused(reason=Reason.UNGUARDED_CHANGE, message=message)
    return None


def _named(side: Side | document.Side) -> str:
    return f"{side.provider} ({side.model})" if side.model else side.provider


def with_what_is_in_force(obstacle: Obstacle, in_force: document.Route | None) -> Obstacle:
    """Adds the canary that is in force, if any, to the reason why the spec is not."""
    if in_force is None:
        return obstacle
    words = brake.words_in_force(in_force)
    if obstacle.reason is Reason.CONFLICTED:
        words += "; calls that an older route matches are that route's"
    return replace(obstacle, message=obstacle.message + words)


def as_served(route: RelayRoute, around: Surroundings) -> RelayRoute:
    """Returns the route without a canary that gets no calls and cannot be reached: no pod is to wait for its key."""
    canary = route.spec.canary
    if canary is None or canary.provider in around.reachable:
        return route
    return route.model_copy(update={"spec": route.spec.model_copy(update={"canary": None})})


def sides(route: RelayRoute) -> tuple[Side, ...]:
    """Lists every side that the spec names."""
    spec = route.spec
    return (spec.stable, *([spec.canary] if spec.canary else []), *spec.fallback)


def used_sides(route: RelayRoute) -> tuple[Side, ...]:
    """Lists every side that calls can go to: a canary of 0 percent without shadow copies needs no key and no policy."""
    canary = route.spec.canary
    is_idle = (
        canary is not None and canary.percent == 0 and not (canary.shadow or _NO_SHADOW).percent
    )
    return tuple(side for side in sides(route) if side is not canary or not is_idle)


Age = tuple[str, str]
Claim = tuple[str, str]
"""A model and a task; empty stands for any."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A route as far as it takes calls from others: since when it is there, and what it matches, each once."""

    age: Age
    claims: tuple[Claim, ...]


def age(metadata: Metadata) -> Age:
    """Returns what orders routes: the older first, and by name within a second."""
    return str(metadata.creation_timestamp), metadata.name


def claimant(metadata: Metadata, match: Match | document.Match) -> Claimant:
    pairs = [(model, task) for model in match.models or ("",) for task in match.tasks or ("",)]
    return Claimant(age(metadata), tuple(dict.fromkeys(pairs)))


def conflicts(claimants: Mapping[str, Claimant]) -> dict[str, str]:
    """Finds the routes that match what an older one already does: name -> the older route's name.

    A route without models or tasks matches everything left over, which is one claim like any other.
    """
    held: dict[Claim, str] = {}
    losers: dict[str, str] = {}
    for name, one in sorted(claimants.items(), key=lambda pair: pair[1].age):
        taken = next((held[claim] for claim in one.claims if claim in held), None)
        if taken is not None:
            losers[name] = taken
            continue
        held.update(dict.fromkeys(one.claims, name))
    return losers


def _check(side: Side, models: Iterable[str], around: Surroundings) -> Refused | None:
    name = side.provider
    if name in around.distant:
        return Refused(reason=Reason.PROVIDER_NOT_ALLOWED, message=around.distant[name])
    if name not in around.known:
        # one that is not open to the tenant and one that does not exist are the same to it
        message = (
            f"this Tenant can use no Provider {name}: none of that name exists, or its allowedTenants does not select the "
            f"Tenant; it can use: {_listed(around.known) or 'none'}"
        )
        return Refused(reason=Reason.PROVIDER_NOT_FOUND, message=message)
    provider = around.usable.get(name)
    if provider is None:
        message = f"Provider {name} cannot be used yet: {around.unusable.get(name, 'it was not looked at yet')}"
        return Refused(reason=Reason.PROVIDER_NOT_FOUND, message=message)
    offered = {model.name for model in provider.spec.models}
    wanted = [side.model] if side.model else list(models)
    missing = [model for model in wanted if offered and model not in offered]
    if missing:
        message = f"Provider {name} has no model {missing[0]}; it has {_listed(offered)}"
        return Refused(reason=Reason.MODEL_NOT_FOUND, message=message)
    return None


def _listed(names: Collection[str]) -> str:
    """Lists names for a message, which has an end: a platform may have any number of them."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
