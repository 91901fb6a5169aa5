"""Tells of a Provider that was deleted and made again whether calls would go elsewhere than before.

The endpoint of a Provider and its names of models are immutable, so that no edit moves traffic without a canary. To delete it
and create another one under its name would do that, for every route at once.
"""

from relay_contract import document
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute, Side, fingerprint
from relay_operator.names import ANNOTATION_ALLOW_JUMP


def is_another_upstream(part: document.Provider, provider: Provider) -> bool:
    """Tells whether calls would go to another address, or there to another model, than by the part that relays have."""
    before = {model.name: model.upstream_name for model in part.models}
    after = {model.name: model.upstream_name or model.name for model in provider.spec.models}
    renamed = any(
        before.get(name, name) != after.get(name, name) for name in before.keys() | after.keys()
    )
    return part.url != provider.url or renamed


def stable_is_former(route: document.Route, provider: Provider) -> bool:
    """Tells whether the stable side in force is what a Provider was before it was made again."""
    return _is_former(route.stable, provider)


def canary_is_former(route: document.Route, provider: Provider) -> bool:
    """Tells whether a canary that has calls is what a Provider was before it was made again."""
    canary = route.canary
    return canary is not None and route.canary_percent > 0 and _is_former(canary, provider)


def allows_jump(route: RelayRoute, *, stable: Provider) -> bool:
    """Tells whether a person has allowed that all calls of the stable side go elsewhere at once, for this very spec."""
    return route.metadata.annotations.get(ANNOTATION_ALLOW_JUMP) == jump_token(route, stable=stable)


def jump_token(route: RelayRoute, *, stable: Provider) -> str:
    """Names the stable side of a spec and its generation, so that what is left over does not act when the same side comes again."""
    wanted = fingerprint(route.spec.stable, provider_uid=stable.metadata.uid)
    return f"{wanted}/{route.metadata.generation}"


def _is_former(side: document.Side, provider: Provider) -> bool:
    if side.provider != provider.metadata.name:
        return False
    named = Side(provider=side.provider, model=side.model)
    return side.fingerprint != fingerprint(named, provider_uid=provider.metadata.uid)
