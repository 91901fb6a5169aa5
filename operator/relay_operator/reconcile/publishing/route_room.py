"""Room for routes in the tenants' documents: those in force keep theirs, the others get what is left by age.

Nothing of it is remembered: the routes in force are in the ConfigMap, and ages are in the objects. So every life of the
operator refuses the same routes.
"""

from collections.abc import Callable, Iterator

from relay_contract import document
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions import route_acceptance
from relay_operator.decisions.route_acceptance import Surroundings
from relay_operator.manifests import document_size
from relay_operator.manifests.document_size import Claim, Room
from relay_operator.manifests.tools.tool_use import ToolUse
from relay_operator.reconcile.publishing import demand
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_state import WatchedState

_ADVICE = "older routes keep their place; delete or shorten routes, or move some to another Tenant"


def common(namespace: str, reachable: frozenset[str], watched_state: WatchedState) -> Surroundings:
    """Returns the facts that all routes of a tenant share."""
    tenant = watched_state.tenant_of_namespace(namespace) or ""
    offer = watched_state.openness.offer(watched_state.labels(tenant))
    return Surroundings(
        conflicts=watched_state.conflicts(namespace),
        known=offer.near,
        distant=offer.distant,
        usable=watched_state.usable_providers(),
        reachable=reachable,
    )


def shortage(
    served: document.Route,
    publication: Publication,
    around: Surroundings,
    watched_state: WatchedState,
) -> str:
    """Says why a route, as it would be served, does not fit into the document; empty where it does."""
    held = publication.contents.held(served.name)
    if held is not None and held.covers(document_size.claim_of(served)):
        return ""
    lacks = (_scarcity(publication, around, watched_state) or {}).get(served.name, "")
    return f"{lacks}; {_ADVICE}" if lacks else ""


def fitting(
    publication: Publication, around: Surroundings, watched_state: WatchedState
) -> list[str]:
    """Returns those of the routes without room for which there is some now; none while nothing changed since the last call."""
    found = _scarcity(publication, around, watched_state)
    if found is not None and not publication.demand.take_news():
        return []
    return [name for name in publication.without_room if found is None or found.get(name) == ""]


def grown_too_large(part: document.Provider, contents: Contents) -> bool:
    """Tells whether a Provider in use has become larger than what the document has room for."""
    before = contents.providers.get(part.name)
    if before is None or document_size.size_of(part) <= contents.sizes.part(before):
        return False
    growth = document_size.size_of(part) - contents.sizes.part(before)
    nothing = Claim(size=0, providers=frozenset())
    more = Claim(size=growth, providers=frozenset())
    room = _taken(contents, _part_size(contents), contents.tools_size)
    return bool(room.lacks(more, instead_of=nothing))


def fits_tools(use: ToolUse, contents: Contents) -> bool:
    """Tells whether a document has room for these tools beside the routes in force; what becomes smaller always has."""
    size = document_size.size_of_tools(use)
    return (
        size <= contents.tools_size or not _taken(contents, _part_size(contents), size).is_overdrawn
    )


def _part_size(contents: Contents) -> Callable[[str], int]:
    return lambda name: contents.sizes.part(contents.providers[name])


def _scarcity(
    publication: Publication, around: Surroundings, watched_state: WatchedState
) -> dict[str, str] | None:
    """Says of the routes that need more room than they have what they lack, if anything; None while all would fit."""
    contents = publication.contents
    if not publication.demand.is_scarce(contents, around, watched_state):
        return None
    return publication.demand.shortages(
        contents, watched_state, lambda: dict(_by_age(contents, around, watched_state))
    )


def _by_age(
    contents: Contents, around: Surroundings, watched_state: WatchedState
) -> Iterator[tuple[str, str]]:
    """Gives the room that is left to one route after the other; yields the name of each, and what it lacks."""
    room = _taken(contents, demand.provider_size(contents, around), contents.tools_size)
    for route in watched_state.routes_by_age(contents.namespace):
        name = route.metadata.name
        claim, held = contents.sizes.spec(route), contents.held(name)
        if held is not None and held.covers(claim):
            continue
        lacks = room.lacks(claim, instead_of=held)
        if not lacks:
            if not _may_be_used(route, around, watched_state):
                continue
            room.take(claim, instead_of=held)
        yield name, lacks


def _may_be_used(route: RelayRoute, around: Surroundings, watched_state: WatchedState) -> bool:
    """Tells whether nothing else refuses a route, as far as the operator can know since its start."""
    if watched_state.unresolved(side.provider for side in route_acceptance.sides(route)):
        return True
    return route_acceptance.refusal_of(route, around) is None


def _taken(contents: Contents, provider_size: Callable[[str], int], tools_size: int) -> Room:
    room = Room(provider_size, tools_size=tools_size)
    for fragment in contents.fragments.values():
        room.take(contents.sizes.fragment(fragment))
    return room
