"""Providers that were deleted and made again as another upstream, while routes in force send calls to what they were.

Until each of these routes has moved by a canary, or a person has allowed its jump, the tenant's relays keep what the Provider was:
its address, network access and key. A key of the new one must not reach the former address either.
"""

from relay_operator.api.provider import Provider
from relay_operator.decisions.providers import replacement
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState


def former_users(
    publication: Publication, name: str, watched_state: WatchedState
) -> tuple[str, ...]:
    """Names the routes that keep a Provider what it was for their tenant; none where it is what it was, or is gone."""
    watched, part = watched_state.providers.get(name), publication.providers.get(name)
    if watched is None or part is None or isinstance(watched.resource, Invalid):
        return ()
    provider = watched.resource
    if not replacement.is_another_upstream(part, provider):
        return ()
    return tuple(
        sorted(
            route
            for route in publication.fragments
            if _keeps(publication, route, provider, watched_state)
        )
    )


def is_held(publication: Publication, name: str, watched_state: WatchedState) -> bool:
    """Tells whether the tenant's relays keep what a Provider was before it was made again."""
    return bool(former_users(publication, name, watched_state))


def _keeps(
    publication: Publication, name: str, provider: Provider, watched_state: WatchedState
) -> bool:
    in_force = publication.fragments[name]
    if replacement.canary_is_former(in_force, provider):
        return True
    if not replacement.stable_is_former(in_force, provider):
        return False
    spec = watched_state.parsed_route(publication.base.namespace, name)
    stable = in_force.stable
    is_same = spec is not None and (spec.spec.stable.provider, spec.spec.stable.model) == (
        stable.provider,
        stable.model,
    )
    return spec is None or not is_same or not replacement.allows_jump(spec, stable=provider)
