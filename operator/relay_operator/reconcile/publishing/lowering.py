"""Documents that only take weight away from what relays have in force."""

from collections.abc import Iterable

from relay_contract.document import Document, Route
from relay_operator.reconcile.publishing.publication import Publication


def only_lowers(before: Document, after: Document) -> bool:
    """Tells whether a document changes nothing of another one but that canaries get less weight."""
    weights = {route.name: route.canary_percent for route in before.tenant.routes}
    if any(route.canary_percent > weights.get(route.name, 0) for route in after.tenant.routes):
        return False
    routes = tuple(
        route.model_copy(update={"canary_percent": weights.get(route.name, 0)})
        for route in after.tenant.routes
    )
    tenant = after.tenant.model_copy(update={"routes": routes})
    numbers = {"generation": before.generation, "epoch": before.epoch}
    return after.model_copy(update={"tenant": tenant, **numbers}) == before


def lowered(publication: Publication) -> Document | None:
    """Returns what relay pods certainly have in force, with the lower weights that were decided since; None without any.

    Of documents that differ it goes on from the newest, with the lowest weight that a canary has in any.
    """
    certain = list(publication.certain.values())
    base = publication.lowered or max(certain, key=lambda one: one.generation, default=None)
    if base is None:
        return None
    others = [*certain, *([publication.document] if publication.document else [])]
    routes = tuple(
        _lowest(route, _forms(route.name, publication, others)) for route in base.tenant.routes
    )
    if routes == base.tenant.routes:
        return None
    tenant = base.tenant.model_copy(update={"routes": routes})
    return base.model_copy(update={"tenant": tenant})


def taken_over(publication: Publication, kept: Document) -> list[Route]:
    """Returns the routes of a publication with the lower weights that their canaries have in a document which a pod keeps."""
    found = []
    for route in kept.tenant.routes:
        known = publication.fragments.get(route.name)
        if known is not None and (lower := _lowest(known, [route])) != known:
            found.append(lower)
    return found


def _forms(name: str, publication: Publication, documents: Iterable[Document]) -> list[Route]:
    forms = [route for one in documents for route in one.tenant.routes if route.name == name]
    fragment = publication.fragments.get(name)
    return forms if fragment is None else [*forms, fragment]


def _lowest(route: Route, others: Iterable[Route]) -> Route:
    """Returns a route with the lowest weight that its canary has in any of its forms."""
    if route.canary is None:
        return route
    known = route.canary.fingerprint
    percents = [
        one.canary_percent
        for one in others
        if one.canary is not None and one.canary.fingerprint == known
    ]
    lowest = min([route.canary_percent, *percents])
    return (
        route
        if lowest == route.canary_percent
        else route.model_copy(update={"canary_percent": lowest})
    )
