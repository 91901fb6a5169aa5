"""RelayRoute: the provider that a tenant's calls go to, and the canary that they may move to."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from relay_contract.document import Signal
from relay_operator.api.custom_resource import Part, Resource
from relay_operator.api.quantities import Duration


class Match(Part):
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


class Side(Part):
    provider: str
    model: str | None = None


class Deadline(Part):
    """What happens when something takes longer than after, in seconds; None is the operator's own patience."""

    after: Duration | None = None
    action: Literal["Hold", "Rollback"] = "Hold"


class Progression(Part):
    step_percent: int
    every: Duration
    min_requests: int = 50
    approval: Literal["Automatic", "Manual"] = "Automatic"
    step_deadline: Deadline = Deadline()


class Shadow(Part):
    """Copies of calls. With min_duration or min_requests the canary gets no weight before they have shown something."""

    percent: int
    min_duration: Duration | None = None
    min_requests: int | None = None
    max_difference_percent: float | None = None


class Canary(Side):
    percent: int
    shadow: Shadow | None = None
    progression: Progression | None = None
    bake: Duration = 0.0


class ErrorRate(Part):
    max_percent: float
    max_increase_points: float | None = None


class Latency(Part):
    signal: Signal
    quantile: float = 0.99
    max_milliseconds: int
    max_increase_points: float | None = None


class Tokens(Part):
    max_drift_percent: float


class Cost(Part):
    """How much more than a call of stable one of the canary may cost, in percent; and what follows while that is not known."""

    max_increase_percent: float
    when_unknown: Literal["Hold", "Continue"] = "Hold"


class Unmeasurable(Part):
    after: Duration = 1800.0
    action: Literal["Hold", "Rollback"] = "Hold"


class Analysis(Part):
    window: Duration = 600.0
    min_requests: int = 50
    error_rate: ErrorRate | None = None
    latency: tuple[Latency, ...] = ()
    tokens: Tokens | None = None
    cost: Cost | None = None
    on_breach: Literal["Rollback", "Freeze"] = "Rollback"
    on_stable_breach: Literal["Hold", "Continue", "Evacuate"] = "Hold"
    unmeasurable: Unmeasurable = Unmeasurable()
    cool_down: Duration = 1800.0


class RelayRouteSpec(Part):
    match: Match = Match()
    stable: Side
    canary: Canary | None = None
    fallback: tuple[Side, ...] = ()
    analysis: Analysis | None = None
    paused: bool = False


class RelayRoute(Resource):
    spec: RelayRouteSpec
    status: dict[str, Any] = {}


def match_as_written(spec: Any) -> Match | None:
    """Reads what a route matches from a spec of which other parts cannot be used; None where that cannot be read either."""
    try:
        return Match.model_validate(spec.get("match") or {}) if isinstance(spec, Mapping) else None
    except ValidationError:
        return None


def fingerprint(side: Side, *, provider_uid: str) -> str:
    """Returns twelve hex digits that name what is measured: a provider's incarnation and a model.

    A provider that was deleted and made again is another upstream, so its UID takes part.
    """
    text = "\0".join((side.provider, provider_uid, side.model or ""))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
