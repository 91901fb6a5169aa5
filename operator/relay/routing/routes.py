"""The route that takes a call, its two sides, and what each side tries in turn. Pure."""

from dataclasses import dataclass
from typing import Final

import orjson

from relay.dialect.response_ids import ResponseId
from relay.routing.snapshot import Destination, RoutePlan, Snapshot

_USAGE_PARAMETERS: Final = frozenset({b"stream_options", b"stream_options.include_usage"})


class Target:
    """A destination, and the name it knows the model by. provider is the destination's.

    dropped_parameters are taken out of the calls that it gets; usage of streams is asked for with takes_usage_option alone.
    """

    __slots__ = (
        "destination",
        "dropped_parameters",
        "model",
        "model_json",
        "provider",
        "takes_usage_option",
    )

    def __init__(
        self, destination: Destination, model: str, dropped_parameters: tuple[bytes, ...] = ()
    ) -> None:
        self.destination = destination
        self.model = model
        self.model_json = orjson.dumps(model)
        self.provider = destination.upstream.name
        self.dropped_parameters = dropped_parameters
        self.takes_usage_option = (
            destination.upstream.provider.stream_usage
            and _USAGE_PARAMETERS.isdisjoint(dropped_parameters)
        )


def target_at(destination: Destination, model: str) -> Target | None:
    """Returns the target for calls of this model; None if the destination's catalogue does not have it, or its provider is
    closed to the tenant.
    """
    name = destination.upstream_model(model)
    if name is None or destination.upstream.provider.closed:
        return None
    return Target(destination, name, destination.dropped_parameters(model))


@dataclass(frozen=True, slots=True)
class Routed:
    """A route for calls of one model.

    stable and canary are what a session of either side tries, in order: each target after the first only as
    relay.calls.attempts.hop_rules says. canary is empty where the canary cannot serve the model, stable where every provider
    that could is closed to the tenant.
    """

    plan: RoutePlan
    stable: tuple[Target, ...]
    canary: tuple[Target, ...]


def find_route(snapshot: Snapshot, model: str, task: str | None) -> Routed | None:
    """Finds the most specific route: model and task, then model, then task, then the one that takes everything.

    None when no route takes the model, also when the route that would has a catalogue without it.
    """
    routes = snapshot.routes
    plan = routes.get((model, task)) or routes.get((model, None))
    plan = plan or routes.get((None, task)) or routes.get((None, None))
    if plan is None or plan.stable.upstream_model(model) is None:
        return None
    stable = _targets((plan.stable, *plan.fallback), model)
    if plan.canary is None or target_at(plan.canary, model) is None:
        return Routed(plan, stable, ())
    canary = _targets((plan.canary, plan.stable, *plan.fallback), model)
    if not stable and plan.canary_percent == 100:
        return Routed(plan, canary, canary)
    return Routed(plan, stable, canary)


def takes_canary(routed: Routed, *, point: float) -> bool:
    """Says if a session at this point, 0 <= point < 100, belongs to the canary.

    Monotone: a session that is on the canary at one percentage is on it at every higher one.
    """
    return bool(routed.canary) and point < routed.plan.canary_percent


def creator(routed: Routed, previous: ResponseId) -> Target:
    """Returns the target that stores this response: its side while the route has it, else its provider, else stable.

    An id without a mark was made by the stable of a time without a canary, or by no relay.
    """
    if previous.mark:
        targets = (*routed.stable, *routed.canary)
        for target in targets:
            if previous.is_of_side(target.destination.fingerprint):
                return target
        for target in targets:
            if previous.is_of_provider(target.provider):
                return target
    return routed.stable[0]


def _targets(destinations: tuple[Destination, ...], model: str) -> tuple[Target, ...]:
    """Returns the destinations that have the model and are open to the tenant."""
    targets: list[Target] = []
    for destination in destinations:
        target = target_at(destination, model)
        if target is not None:
            targets.append(target)
    return tuple(targets)
