"""Room for routes in the tenants' documents: those in force keep theirs, the others get what is left by age.

Nothing of it is remembered: the routes in force are in the ConfigMap, and ages are in the objects. So every life of the
operator refuses the same routes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions import route_acceptance
from relay_operator.decisions.route_acceptance import Surroundings
from relay_operator.manifests import composable, composition, document_size
from relay_operator.manifests.document_size import Claim, Room
from relay_operator.reconcile.watched_state import WatchedState

_ADVICE = "older routes keep their place; delete or shorten routes, or move some to another Tenant"


@dataclass(slots=True)
class Sizes:
    """Sizes of what one tenant's document is made of, each computed once for each form of it."""

    _fragments: dict[str, tuple[document.Route, Claim]] = field(default_factory=dict)
    _specs: dict[str, tuple[RelayRoute, Claim]] = field(default_factory=dict)
    _parts: dict[str, tuple[document.Provider, int]] = field(default_factory=dict)
    _providers: dict[str, tuple[Provider, int]] = field(default_factory=dict)

    def fragment(self, route: document.Route) -> Claim:
        """Returns what a route takes as the document has it."""
        known = self._fragments.get(route.name)
        if known is None or known[0] is not route:
            known = self._fragments[route.name] = route, document_size.claim_of(route)
        return known[1]

    def spec(self, route: RelayRoute) -> Claim:
        """Returns what a route takes if all of its spec is in the document."""
        name = route.metadata.name
        known = self._specs.get(name)
        if known is None or known[0] is not route:
            claim = document_size.claim_of(composable.fragment(route))
            known = self._specs[name] = route, claim
        return known[1]

    def part(self, provider: document.Provider) -> int:
        """Returns the bytes of a Provider as the document has it."""
        known = self._parts.get(provider.name)
        if known is None or known[0] is not provider:
            known = self._parts[provider.name] = provider, document_size.size_of(provider)
        return known[1]

    def provider(self, provider: Provider) -> int:
        """Returns the bytes of a Provider as its spec has it."""
        name = provider.metadata.name
        known = self._providers.get(name)
        if known is None or known[0] is not provider:
            part = composition.provider_part(provider, share=1)
            known = self._providers[name] = provider, document_size.size_of(part)
        return known[1]

    def forget_all_but(self, routes: set[str]) -> None:
        """Drops what is known of routes that are gone."""
        for kept in (self._fragments, self._specs):
            for gone in kept.keys() - routes:
                del kept[gone]


@dataclass(frozen=True, slots=True)
class Contents:
    """Routes and Providers of a tenant's document, and their sizes."""

    namespace: str
    fragments: dict[str, document.Route]
    providers: dict[str, document.Provider]
    sizes: Sizes

    def held(self, route: str) -> Claim | None:
        """Returns what a route in force takes."""
        fragment = self.fragments.get(route)
        return None if fragment is None else self.sizes.fragment(fragment)


def common(namespace: str, reachable: frozenset[str], watched_state: WatchedState) -> Surroundings:
    """Returns the facts that all routes of a tenant share."""
    return Surroundings(
        conflicts=watched_state.conflicts(namespace),
        known=frozenset(watched_state.providers.names()),
        usable=watched_state.usable_providers(),
        reachable=reachable,
    )


def named_providers(
    contents: Contents, around: Surroundings, watched_state: WatchedState
) -> set[str]:
    """Returns the providers that routes name for which there is room: also of those that are refused while there is
    enough for all.
    """
    routes = watched_state.parsed_routes(contents.namespace)
    if _is_scarce(contents, around, watched_state):
        found = _by_age(contents, around, watched_state)
        routes = {name: routes[name] for name, lacks in found if not lacks}
    return {side.provider for route in routes.values() for side in route_acceptance.sides(route)}


def shortage(
    served: document.Route, contents: Contents, around: Surroundings, watched_state: WatchedState
) -> str:
    """Says why a route, as it would be served, does not fit into the document; empty where it does."""
    held = contents.held(served.name)
    if held is not None and held.covers(document_size.claim_of(served)):
        return ""
    if not _is_scarce(contents, around, watched_state):
        return ""
    found = _by_age(contents, around, watched_state)
    lacks = next((lacks for name, lacks in found if name == served.name), "")
    return f"{lacks}; {_ADVICE}" if lacks else ""


def fitting(
    candidates: set[str], contents: Contents, around: Surroundings, watched_state: WatchedState
) -> list[str]:
    """Returns those of the routes for which there is room now."""
    contents.sizes.forget_all_but(
        {*watched_state.routes.names(namespace=contents.namespace), *contents.fragments}
    )
    found = _by_age(contents, around, watched_state)
    return [name for name, lacks in found if name in candidates and not lacks]


def grown_too_large(part: document.Provider, contents: Contents) -> bool:
    """Tells whether a Provider in use has become larger than what the document has room for."""
    before = contents.providers.get(part.name)
    if before is None or document_size.size_of(part) <= contents.sizes.part(before):
        return False
    growth = document_size.size_of(part) - contents.sizes.part(before)
    nothing = Claim(size=0, providers=frozenset())
    more = Claim(size=growth, providers=frozenset())
    room = _taken(contents, lambda name: contents.sizes.part(contents.providers[name]))
    return bool(room.lacks(more, instead_of=nothing))


def _is_scarce(contents: Contents, around: Surroundings, watched_state: WatchedState) -> bool:
    """Tells whether not all routes of the namespace would fit, whatever else is to be said of them."""
    room = _taken(contents, _provider_size(contents, around))
    for route in watched_state.parsed_routes(contents.namespace).values():
        claim, held = contents.sizes.spec(route), contents.held(route.metadata.name)
        if held is None or not held.covers(claim):
            room.take(claim, instead_of=held)
    return room.is_overdrawn


def _by_age(
    contents: Contents, around: Surroundings, watched_state: WatchedState
) -> Iterator[tuple[str, str]]:
    """Gives the room that is left to one route after the other; yields the name of each, and what it lacks."""
    room = _taken(contents, _provider_size(contents, around))
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


def _taken(contents: Contents, provider_size: Callable[[str], int]) -> Room:
    room = Room(provider_size)
    for fragment in contents.fragments.values():
        room.take(contents.sizes.fragment(fragment))
    return room


def _provider_size(contents: Contents, around: Surroundings) -> Callable[[str], int]:
    """Returns the size of each Provider: of its part in the document or as its spec has it, whichever is larger."""

    def size(name: str) -> int:
        part, provider = contents.providers.get(name), around.usable.get(name)
        sizes = contents.sizes
        return max(sizes.part(part) if part else 0, sizes.provider(provider) if provider else 0)

    return size
