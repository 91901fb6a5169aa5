"""The Providers that one route claims: those that its spec names unless it is refused, and those of its form in force."""

from relay_contract import document
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions import conditions, route_acceptance, route_status
from relay_operator.decisions.outcome import Refused
from relay_operator.decisions.route_acceptance import RouteOutcome
from relay_operator.manifests import composition
from relay_operator.names import ConditionType
from relay_operator.reconcile.watched_objects import Invalid, Watched


def told(route: Watched[RelayRoute]) -> set[str]:
    """Returns what a route claims as far as its status says, before it is looked at in this life of the operator.

    A new route claims nothing before it is accepted.
    """
    status = route.status
    in_force = route_status.from_status(status).in_force
    sides = (in_force.stable, in_force.canary) if in_force is not None else ()
    claimed = {side.partition("/")[0] for side in sides if side}
    return claimed | _named(route.resource) if _is_taken(route) else claimed


def ruled(
    route: RelayRoute | Invalid, outcome: RouteOutcome, in_force: document.Route | None
) -> set[str]:
    """Returns what a route claims after it was looked at."""
    sides = composition.sides(in_force) if in_force is not None else ()
    claimed = {side.provider for side in sides}
    return claimed if isinstance(outcome, Refused) else claimed | _named(route)


def _named(route: RelayRoute | Invalid) -> set[str]:
    if isinstance(route, Invalid):
        return set()
    return {side.provider for side in route_acceptance.sides(route)}


def _is_taken(route: Watched[RelayRoute]) -> bool:
    """Tells whether status says of the present spec that it is not refused."""
    status = route.status
    accepted = conditions.find(status, ConditionType.ACCEPTED).get("status")
    is_refused = conditions.find(status, ConditionType.STALLED).get("status") == "True"
    is_told = status.get("observedGeneration") == route.metadata.get("generation", 1)
    return is_told and (accepted == "True" or (accepted == "False" and not is_refused))
