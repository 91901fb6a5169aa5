"""A canary compared with its stable side by what their Providers' catalogues say that the models can do.

It warns and refuses nothing: catalogues are written by hand, and many callers use nothing of what differs. Preflight, shadow
copies and the verdict see what really happens.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relay_operator.api.provider import Capabilities, Provider
from relay_operator.api.relay_route import RelayRoute, Side

_NAMED = 5
_SIZES = (("contextWindow", "context_window"), ("maxOutputTokens", "max_output_tokens"))
_FLAGS = (
    ("tools", "tools"),
    ("vision", "vision"),
    ("audio", "audio"),
    ("structuredOutput", "structured_output"),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Tells whether a canary can do all that its stable side can; None where its catalogue does not say. message has the evidence."""

    holds: bool | None
    message: str


def compare(route: RelayRoute, providers: Mapping[str, Provider]) -> Compared | None:
    """Compares the canary of a route with its stable side; None without a canary, or if nothing is said of stable's models."""
    stable, canary = route.spec.stable, route.spec.canary
    if canary is None or stable.provider not in providers or canary.provider not in providers:
        return None
    lacks: list[str] = []
    unsaid: list[str] = []
    is_said = False
    for model in _models(route, providers[stable.provider]):
        has = _of(stable, model, providers)
        if has is None:
            continue
        is_said = True
        offers = _of(canary, model, providers)
        if offers is None:
            unsaid.append(model)
        else:
            lacks += (f"{model}: {what}" for what in _lacking(has, offers))
    if not is_said:
        return None
    names = f"canary {canary.provider} lacks what stable {stable.provider} has"
    if lacks:
        return Compared(False, f"{names}: {_listed(lacks)}; calls that need it will fail there")
    if unsaid:
        return Compared(
            None,
            f"the catalogue of Provider {canary.provider} says nothing of what it can do for {_listed(unsaid)}; "
            "set models[].capabilities there",
        )
    return Compared(True, f"canary {canary.provider} has all that stable {stable.provider} has")


def _models(route: RelayRoute, stable: Provider) -> Iterable[str]:
    if route.spec.match.models:
        return route.spec.match.models
    side = route.spec.stable
    return (side.model,) if side.model else tuple(model.name for model in stable.spec.models)


def _of(side: Side, asked: str, providers: Mapping[str, Provider]) -> Capabilities | None:
    name = side.model or asked
    models = providers[side.provider].spec.models
    return next((model.capabilities for model in models if model.name == name), None)


def _lacking(has: Capabilities, offers: Capabilities) -> Iterator[str]:
    for name, field in _SIZES:
        wanted, offered = getattr(has, field), getattr(offers, field)
        if wanted is not None and offered is not None and offered < wanted:
            yield f"{name} {offered} instead of {wanted}"
    for name, field in _FLAGS:
        # what a catalogue that says something leaves out is no promise
        if getattr(has, field) and not getattr(offers, field):
            yield f"no {name}"


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
