"""The route that takes a call, its two sides, and what each side tries in turn. Pure."""

from dataclasses import dataclass

import orjson

from relay.dialect.response_ids import ResponseId
from relay.routing.snapshot import Destination, RoutePlan, Snapshot


class Target:
    """A destination, and the name it knows the model by. provider is the destination's."""

    __slots__ = ("destination", "model", "model_json", "provider")

    def __init__(self, destination: Destination, model: str) -> None:
        self.destination = destination
        self.model = model
        self.model_json = orjson.dumps(model)
        self.provider = destination.upstream.name


@dataclass(frozen=True, slots=True)
class Routed:
    """A route for calls of one model.

    stable and canary are what a session of either side tries, in order: each target after the first only when the one
    before it provably did not process the call. canary is empty where the canary cannot serve the model.
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
    if plan.canary is None or plan.canary.upstream_model(model) is None:
        return Routed(plan, stable, ())
    return Routed(plan, stable, _targets((plan.canary, plan.stable, *plan.fallback), model))


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
    """Returns the destinations that have the model."""
    targets: list[Target] = []
    for destination in destinations:
        name = destination.upstream_model(model)
        if name is not None:
            targets.append(Target(destination, name))
    return tuple(targets)
