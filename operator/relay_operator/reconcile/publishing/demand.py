"""What all routes of a tenant would take in its document together, kept up at the cost of what changes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from relay_operator.decisions.route_acceptance import Surroundings
from relay_operator.manifests.document_size import Claim, Room
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.watched_state import WatchedState

_NEVER = -1


@dataclass(slots=True)
class Demand:
    """One a tenant. shortages are what each route lacks, computed once for all the facts that they follow from."""

    _room: Room | None = None
    _counted: dict[str, Claim] = field(default_factory=dict)
    _revision: int = _NEVER
    _sized_by: tuple[int, ...] = ()
    _shortages: tuple[tuple[int, ...], dict[str, str]] = ((), {})
    _is_news: bool = True

    def is_scarce(
        self, contents: Contents, around: Surroundings, watched_state: WatchedState
    ) -> bool:
        """Tells whether not all routes of the namespace would fit, whatever else is to be said of them."""
        sized_by = (*watched_state.provider_revisions, contents.part_revision)
        changed = watched_state.routes.changed_since(contents.namespace, self._revision)
        if self._room is None or changed is None or sized_by != self._sized_by:
            self._room, self._counted, self._sized_by = (
                Room(provider_size(contents, around), tools_size=contents.tools_size),
                {},
                sized_by,
            )
            changed = {
                *watched_state.routes.names(namespace=contents.namespace),
                *contents.fragments,
            }
            contents.sizes.forget_all_but(changed)
        for name in changed | contents.uncounted:
            self._count(name, self._room, contents, watched_state)
        contents.uncounted.clear()
        self._revision = watched_state.routes.revision(contents.namespace)
        return self._room.is_overdrawn

    def shortages(
        self,
        contents: Contents,
        watched_state: WatchedState,
        compute: Callable[[], dict[str, str]],
    ) -> dict[str, str]:
        """Returns what compute() does; the same as before while nothing changed that it follows from.

        A route that comes into force takes the room that was counted for it.
        """
        facts = (
            *watched_state.provider_revisions,
            contents.part_revision,
            contents.room_revision,
            watched_state.routes.revision(contents.namespace),
        )
        if self._shortages[0] != facts:
            self._shortages, self._is_news = (facts, compute()), True
        return self._shortages[1]

    def take_news(self) -> bool:
        """Tells whether the shortages were computed anew since the last call."""
        is_news, self._is_news = self._is_news, False
        return is_news

    def _count(
        self, name: str, room: Room, contents: Contents, watched_state: WatchedState
    ) -> None:
        route, held = watched_state.parsed_route(contents.namespace, name), contents.held(name)
        claim = None if route is None else contents.sizes.spec(route)
        wanted = held if claim is None or (held is not None and held.covers(claim)) else claim
        before = self._counted.pop(name, None)
        if before is not None and wanted is None:
            room.give_back(before)
        elif wanted is not None:
            self._counted[name] = wanted
            if wanted != before:
                room.take(wanted, instead_of=before)


def provider_size(contents: Contents, around: Surroundings) -> Callable[[str], int]:
    """Returns the size of each Provider: of its part in the document or as its spec has it, whichever is larger."""

    def size(name: str) -> int:
        part, provider = contents.providers.get(name), around.usable.get(name)
        sizes = contents.sizes
        return max(sizes.part(part) if part else 0, sizes.provider(provider) if provider else 0)

    return size
