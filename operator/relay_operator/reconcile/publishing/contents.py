"""Routes and Providers as one tenant's next document is to have them, and what changed since the last one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from relay_contract import document
from relay_operator.api.equal_parts import equal_part
from relay_operator.api.provider import Provider
from relay_operator.manifests import composition
from relay_operator.manifests.document_size import Claim
from relay_operator.reconcile.publishing.sizes import Sizes


class Contents:
    """What the document of a namespace is composed of, but for the tenant's own part.

    unpublished are the routes, and what tells of Providers is whether any, that changed since the last composition;
    takes_away tells whether one of those changes takes calls away from a canary, a route or a Provider. uncounted are the routes
    that changed since the room for them was last looked at. part_revision is a number that changes with the Providers,
    room_revision one that changes when a route in force gives back room, or may do so. tools_size is what tools take.
    """

    def __init__(
        self,
        namespace: str,
        routes: Iterable[document.Route] = (),
        providers: Iterable[document.Provider] = (),
    ) -> None:
        self.namespace = namespace
        self.sizes = Sizes()
        self.takes_away = False
        self.providers_changed = False
        self.part_revision = self.room_revision = self.tools_size = 0
        self.unpublished: set[str] = set()
        self.uncounted: set[str] = set()
        self._fragments: dict[str, document.Route] = {}
        self._providers = {one.name: one for one in providers}
        self._sources: dict[str, tuple[Provider, float, document.Provider]] = {}
        self._uses: Counter[str] = Counter()
        for route in routes:
            self.put(route)
        self.note_published()

    @property
    def fragments(self) -> Mapping[str, document.Route]:
        """The last good form of each route, with the weight in force."""
        return MappingProxyType(self._fragments)

    @property
    def providers(self) -> Mapping[str, document.Provider]:
        """Every Provider that was ever used, as it was last composed."""
        return MappingProxyType(self._providers)

    @property
    def is_changed(self) -> bool:
        """Tells whether the last composition is not of what stands here."""
        return self.providers_changed or bool(self.unpublished)

    def note_published(self) -> None:
        """Takes in that a composition has everything that stands here."""
        self.unpublished.clear()
        self.providers_changed = self.takes_away = False

    def put(self, route: document.Route) -> None:
        """Puts a route in the place of its last form."""
        before = self._fragments.get(route.name)
        if before != route:
            self.takes_away |= before is not None and _takes_away(before, route)
            self._fragments[route.name] = equal_part(route)
            self._note(before, route)

    def drop(self, name: str) -> None:
        """Takes a route out."""
        before = self._fragments.pop(name, None)
        if before is not None:
            self.takes_away = True
            self._note(before, None)

    def part(self, provider: Provider, *, share: float) -> document.Provider:
        """Composes a Provider's part, once for each form and share of it."""
        name = provider.metadata.name
        known = self._sources.get(name)
        if known is None or known[0] is not provider or known[1] != share:
            part = equal_part(composition.provider_part(provider, share=share))
            known = self._sources[name] = provider, share, part
        return known[2]

    def put_provider(self, part: document.Provider) -> None:
        """Puts a Provider in the place of its last form."""
        before = self._providers.get(part.name)
        if before != part:
            self.takes_away |= part.closed and before is not None and not before.closed
            self._providers[part.name] = part
            self.providers_changed = True
            self.part_revision += 1

    def note_tools(self, size: int) -> None:
        """Keeps the bytes that tools take of the document: routes have what is left."""
        if size != self.tools_size:
            self.tools_size = size
            self.part_revision += 1
            self.room_revision += 1

    def used_providers(self) -> set[str]:
        """Returns the providers that the routes can send to."""
        return set(self._uses)

    def uses(self, provider: str) -> bool:
        """Tells whether a route can send to the provider."""
        return provider in self._uses

    def held(self, route: str) -> Claim | None:
        """Returns what a route in force takes."""
        fragment = self._fragments.get(route)
        return None if fragment is None else self.sizes.fragment(fragment)

    def _note(self, before: document.Route | None, after: document.Route | None) -> None:
        self.room_revision += before is not None
        for route, change in ((before, -1), (after, 1)):
            if route is None:
                continue
            self.unpublished.add(route.name)
            self.uncounted.add(route.name)
            for provider in {side.provider for side in composition.sides(route)}:
                self._uses[provider] += change
                if not self._uses[provider]:
                    del self._uses[provider]


def _takes_away(before: document.Route, after: document.Route) -> bool:
    """Tells whether the canary of a route gets fewer calls than it had."""
    if before.canary is None or not before.canary_percent:
        return False
    is_another = after.canary is None or after.canary.fingerprint != before.canary.fingerprint
    return is_another or after.canary_percent < before.canary_percent
