"""Tells what callers may rely on of a model: only what every side that serves it now can do."""

from collections.abc import Iterator
from typing import Any

from relay.routing.routes import find_route
from relay.routing.snapshot import Destination, RoutePlan, Snapshot
from relay_contract.document import Capabilities

_SIZES = ("context_window", "max_output_tokens")


def of_model(snapshot: Snapshot, model: str) -> dict[str, Any]:
    """Returns the capabilities of a model by name; empty where a side that serves it says nothing."""
    routed = find_route(snapshot, model, None)
    if routed is None:
        return {}
    said = [_of_side(side, model) for side in _serving(routed.plan)]
    if not said or not all(said):
        return {}
    common = set.intersection(*(set(one) for one in said))
    return {
        name: (min if name in _SIZES else all)(one[name] for one in said) for name in sorted(common)
    }


def _serving(plan: RoutePlan) -> Iterator[Destination]:
    if plan.canary_percent < 100:
        yield plan.stable
    if plan.canary is not None and plan.canary_percent > 0:
        yield plan.canary


def _of_side(side: Destination, model: str) -> dict[str, Any]:
    name = side.model or model
    for one in side.upstream.provider.models:
        if one.name == name:
            return (one.capabilities or Capabilities()).model_dump(exclude_none=True)
    return {}
