"""Which route takes a call, which side of it, and what is tried next. Pure."""

from dataclasses import dataclass

import orjson

from relay.accounting.usage_event import Subject
from relay.dialect.endpoints import Endpoint
from relay.routing.snapshot import Destination, RoutePlan, Snapshot


class Leg:
    """A destination, and the name it knows the model by.

    subjects is the memory of who books attempts at it, by endpoint and API key.
    """

    __slots__ = ("destination", "model", "model_json", "subjects")

    def __init__(self, destination: Destination, model: str) -> None:
        self.destination = destination
        self.model = model
        self.model_json = orjson.dumps(model)
        self.subjects: dict[tuple[Endpoint, str], Subject] = {}


@dataclass(frozen=True, slots=True)
class Routed:
    """A route as one model takes it.

    stable and canary are what a session of either side tries, in order: each leg after the first only when the one before
    it provably did not process the call. canary is empty where the canary cannot serve the model.
    """

    plan: RoutePlan
    stable: tuple[Leg, ...]
    canary: tuple[Leg, ...]


def find_route(snapshot: Snapshot, model: str, task: str | None) -> Routed | None:
    """The most specific route: model and task, then model, then task, then the one that takes everything.

    None when no route takes the model, also when the route that would has a catalogue without it.
    """
    routes = snapshot.routes
    plan = routes.get((model, task)) or routes.get((model, None))
    plan = plan or routes.get((None, task)) or routes.get((None, None))
    if plan is None or plan.stable.upstream_model(model) is None:
        return None
    stable = _legs((plan.stable, *plan.fallback), model)
    if plan.canary is None or plan.canary.upstream_model(model) is None:
        return Routed(plan, stable, ())
    return Routed(plan, stable, _legs((plan.canary, plan.stable, *plan.fallback), model))


def takes_canary(routed: Routed, *, point: float) -> bool:
    """Whether a session at this point, 0 <= point < 100, belongs to the canary.

    Monotone: a session that is on the canary at one percentage is on it at every higher one.
    """
    return bool(routed.canary) and point < routed.plan.canary_percent


def _legs(destinations: tuple[Destination, ...], model: str) -> tuple[Leg, ...]:
    """The destinations that have the model."""
    legs: list[Leg] = []
    for destination in destinations:
        name = destination.upstream_model(model)
        if name is not None:
            legs.append(Leg(destination, name))
    return tuple(legs)
