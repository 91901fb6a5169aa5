"""Which route takes a call, which side of it, and what is tried next. Pure."""

from relay.snapshot import Destination, RoutePlan, Snapshot


def find_route(snapshot: Snapshot, model: str, task: str | None) -> RoutePlan | None:
    """The most specific route: model and task, then model, then task, then the one that takes everything.

    None when no route takes the model, also when the route that would has a catalogue without it.
    """
    routes = snapshot.routes
    plan = None
    if task is not None:
        plan = routes.get((model, task))
    plan = plan or routes.get((model, None))
    if plan is None and task is not None:
        plan = routes.get((None, task))
    plan = plan or routes.get((None, None))
    if plan is None or plan.stable.upstream_model(model) is None:
        return None
    return plan


def chain(plan: RoutePlan, model: str, *, canary: bool) -> tuple[Destination, ...]:
    """The destinations in the order they are tried; each after the first only when the one before it provably did
    not process the call. A canary falls back to stable first."""
    first = (plan.canary, plan.stable) if canary and plan.canary is not None else (plan.stable,)
    return tuple(
        destination
        for destination in (*first, *plan.fallback)
        if destination.upstream_model(model) is not None
    )


def takes_canary(plan: RoutePlan, model: str, *, point: float) -> bool:
    """Whether a session at this point, 0 <= point < 100, belongs to the canary.

    Monotone: a session that is on the canary at one percentage is on it at every higher one.
    """
    return (
        plan.canary is not None
        and point < plan.canary_percent
        and plan.canary.upstream_model(model) is not None
    )
