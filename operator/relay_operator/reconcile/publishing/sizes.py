"""Sizes of what a tenant's document is made of."""

from dataclasses import dataclass, field

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.manifests import composable, composition, document_size
from relay_operator.manifests.document_size import Claim


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
