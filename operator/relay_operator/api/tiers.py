"""Tiers: named sets of values of the platform, for what a Tenant's spec leaves out.

The chart hands them over as a file, which is checked when the operator starts: every tenant of a tier would be refused later
for what is wrong with it. What a field means, and its bounds, is said in the custom resource.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import StringConstraints as Text
from pydantic.alias_generators import to_camel

from relay_operator.api.custom_resource import first_problem
from relay_operator.api.durations import seconds
from relay_operator.api.quantities import amount
from relay_operator.api.tenant import (
    DEFAULT_LIMITS,
    DEFAULT_REQUESTS,
    Autoscaling,
    Origin,
    Queue,
)
from relay_operator.errors import InvalidSpec, TiersUnusable
from relay_operator.names import Reason

Values = Mapping[str, Any]
Path = tuple[str, ...]

_PRODUCTION_REPLICAS = 2
_MOST_NAMED = 20
_RESOURCES = ("relay", "resources")
_DEFAULTS: dict[Path, Any] = {
    ("queue", "concurrency"): Queue().concurrency,
    ("queue", "guaranteedSeats"): Queue().guaranteed_seats,
    ("relay", "autoscaling", "minReplicas"): Autoscaling(max_replicas=1).min_replicas,
}


def _amount(value: str | int) -> str | int:
    amount(value)
    return value


def _duration(value: str) -> str:
    seconds(value)
    return value


TierName = Annotated[str, Text(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
Amount = Annotated[
    Annotated[str, Text(max_length=32)] | Annotated[int, Field(ge=0)], AfterValidator(_amount)
]
Rate = Annotated[int, Field(ge=1, le=100_000_000)]
TokenRate = Annotated[int, Field(ge=1, le=1_000_000_000)]
Replicas = Annotated[int, Field(ge=1, le=50)]


class _Part(BaseModel):
    """A frozen part of a tier: camelCase, no conversions, unknown fields refused. None leaves a field out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", alias_generator=to_camel)


class _Amounts(_Part):
    cpu: Amount | None = None
    memory: Amount | None = None


class _Resources(_Part):
    requests: _Amounts | None = None
    limits: _Amounts | None = None


class _Autoscaling(_Part):
    min_replicas: Replicas | None = None
    max_replicas: Replicas
    cpu_percent: Annotated[int, Field(ge=1, le=100)] | None = None


class _Relay(_Part):
    replicas: Replicas | None = None
    autoscaling: _Autoscaling | None = None
    resources: _Resources | None = None


class _Queue(_Part):
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_depth: Annotated[int, Field(ge=0, le=100_000)] | None = None
    max_wait: (
        Annotated[
            str, Text(pattern=r"^([0-9]+(ms|s|m))+$", max_length=16), AfterValidator(_duration)
        ]
        | None
    ) = None
    weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    guaranteed_seats: Annotated[int, Field(ge=0, le=10_000)] | None = None


class _ModelLimit(_Part):
    name: Annotated[str, Text(pattern=r"^[!-~]+$", min_length=1, max_length=128)]
    requests_per_minute: Rate | None = None
    tokens_per_minute: TokenRate | None = None


class _Limits(_Part):
    requests_per_minute: Rate | None = None
    tokens_per_minute: TokenRate | None = None
    burst_seconds: Annotated[int, Field(ge=1, le=3600)] | None = None
    models: Annotated[tuple[_ModelLimit, ...], Field(max_length=64)] | None = None


class Tier(_Part):
    """Values of one tier. With production a tenant has two relay pods at least, unless something else is said."""

    production: bool = False
    relay: _Relay | None = None
    queue: _Queue | None = None
    limits: _Limits | None = None

    @property
    def values(self) -> Values:
        """Returns what the tier supplies, as a spec spells it."""
        return self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"production"}
        )


_FILE = TypeAdapter(Annotated[dict[TierName, Tier], Field(max_length=64)])


@dataclass(frozen=True, slots=True)
class Effective:
    """A spec with what its tier supplies, and what of it comes from where."""

    spec: dict[str, Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Tiers:
    """The platform's tiers by name."""

    known: Mapping[str, Tier] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | bytes) -> "Tiers":
        """Reads the file of tiers, in JSON. Raises TiersUnusable that names the tier and the field."""
        try:
            tiers = cls(_FILE.validate_json(text))
        except ValidationError as error:
            raise TiersUnusable(first_problem(error)) from error
        for name in tiers.known:
            try:
                tiers.fill_in({"tier": name})
            except InvalidSpec as error:
                raise TiersUnusable(f"{name}: {error}") from error
        return tiers

    def fill_in(self, spec: Values) -> Effective:
        """Supplies what the spec leaves out. Raises InvalidSpec for an unknown tier, and for values that do not go together."""
        name = str(spec.get("tier") or "")
        tier = self._find(name) if name else Tier()
        supplied = _without_the_other_way_to_scale(tier.values, spec)
        filled, from_tier = _filled(spec, supplied)
        if tier.production:
            from_tier += _make_redundant(filled)
        _complete_resources(filled)
        _Sources(spec=spec, filled=filled, tier=name, from_tier=frozenset(from_tier)).check()
        origin = Origin(
            from_tier=tuple(".".join(path) for path in sorted(from_tier)), pods=_digest(spec)
        )
        return Effective(spec=filled, origin=origin)

    def _find(self, name: str) -> Tier:
        tier = self.known.get(name)
        if tier is not None:
            return tier
        named = sorted(self.known)
        known = ", ".join(named[:_MOST_NAMED]) + (", ..." if len(named) > _MOST_NAMED else "")
        ways = f"choose one of {known}" if known else "the platform has none; leave spec.tier out"
        raise InvalidSpec(
            f"spec.tier: there is no tier {name}; {ways}", reason=Reason.TIER_NOT_FOUND
        )


def _without_the_other_way_to_scale(values: Values, spec: Values) -> Values:
    """Drops what the tier says of the number of pods where the spec says it in another way."""
    relay, own = values.get("relay"), spec.get("relay")
    if relay is None or not isinstance(own, Mapping):
        return values
    dropped = {
        "autoscaling" if own.get("replicas") is not None else "",
        "replicas" if own.get("autoscaling") is not None else "",
    }
    kept = {name: value for name, value in relay.items() if name not in dropped}
    return {**values, "relay": kept}


def _filled(spec: Values, values: Values, path: Path = ()) -> tuple[dict[str, Any], list[Path]]:
    """Returns the spec with the values it leaves out, and the paths of those; maps are filled in entry by entry."""
    filled: dict[str, Any] = dict(spec)
    supplied: list[Path] = []
    for name, value in values.items():
        own = spec.get(name)
        if own is None:
            filled[name] = value
            supplied += _leaves(value, (*path, name))
        elif isinstance(value, Mapping) and isinstance(own, Mapping):
            filled[name], below = _filled(own, value, (*path, name))
            supplied += below
    return filled, supplied


def _leaves(value: Any, path: Path) -> Iterator[Path]:
    if not isinstance(value, Mapping):
        yield path
        return
    for name, below in value.items():
        yield from _leaves(below, (*path, name))


def _make_redundant(filled: dict[str, Any]) -> list[Path]:
    """Asks for two pods where nothing says how many; returns the path of what was added."""
    relay = filled.get("relay") or {}
    if not isinstance(relay, Mapping):
        return []
    scaling = relay.get("autoscaling")
    if isinstance(scaling, Mapping):
        if scaling.get("minReplicas") is not None:
            return []
        added = {"autoscaling": {**scaling, "minReplicas": _PRODUCTION_REPLICAS}}
        filled["relay"] = {**relay, **added}
        return [("relay", "autoscaling", "minReplicas")]
    if relay.get("replicas") is not None:
        return []
    filled["relay"] = {**relay, "replicas": _PRODUCTION_REPLICAS}
    return [("relay", "replicas")]


def _complete_resources(filled: dict[str, Any]) -> None:
    """Adds the defaults of single resources that neither spec nor tier names: a quota counts pods that name all of them."""
    resources = _at(filled, _RESOURCES)
    if not isinstance(resources, Mapping):
        return
    complete = dict(resources)
    for name, defaults in (("requests", DEFAULT_REQUESTS), ("limits", DEFAULT_LIMITS)):
        if isinstance(complete.get(name), Mapping):
            complete[name] = {**defaults, **complete[name]}
    filled["relay"] = {**filled["relay"], "resources": complete}


def _at(values: Any, path: Path) -> Any:
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _digest(spec: Values) -> str:
    """Identifies what of the spec, as somebody wrote it, shapes the relay pods.

    As long as that is the same, pods change because the platform does.
    """
    relay = spec.get("relay")
    own = {
        "tier": spec.get("tier"),
        "resources": _plain(relay.get("resources")) if isinstance(relay, Mapping) else None,
        "tls": _plain(_at(spec, ("network", "tls"))),
    }
    text = json.dumps(own, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(below) for name, below in value.items()}
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """A filled spec that knows where each of its values comes from."""

    spec: Values
    filled: Values
    tier: str
    from_tier: frozenset[Path]

    def check(self) -> None:
        """Raises InvalidSpec for values that do not go together; the message has both, and where they come from."""
        self._at_most(("queue", "guaranteedSeats"), ("queue", "concurrency"))
        for name in ("cpu", "memory"):
            self._at_most((*_RESOURCES, "requests", name), (*_RESOURCES, "limits", name))
        scaling: Path = ("relay", "autoscaling")
        if _at(self.filled, scaling) is None:
            return
        self._at_most((*scaling, "minReplicas"), (*scaling, "maxReplicas"))
        if _at(self.filled, ("relay", "replicas")) is not None:
            raise InvalidSpec(
                "relay.replicas and relay.autoscaling exclude each other; remove one of them"
            )
        request: Path = (*_RESOURCES, "requests", "cpu")
        if _number(self._value(request)) == 0:
            raise InvalidSpec(
                f"{self._told(request)} leaves nothing that relay.autoscaling could compare the use of CPU with; "
                "request some CPU, or set relay.replicas instead"
            )

    def _at_most(self, low: Path, high: Path) -> None:
        lower, upper = _number(self._value(low)), _number(self._value(high))
        if lower is not None and upper is not None and lower > upper:
            raise InvalidSpec(
                f"{self._told(low)} is above {self._told(high)}; lower the first or raise the second"
            )

    def _value(self, path: Path) -> Any:
        found = _at(self.filled, path)
        if found is not None:
            return found
        if path[:3] == (*_RESOURCES, "requests"):
            return DEFAULT_REQUESTS.get(path[3])
        if path[:3] == (*_RESOURCES, "limits"):
            return DEFAULT_LIMITS.get(path[3])
        return _DEFAULTS.get(path)

    def _told(self, path: Path) -> str:
        source = "the default"
        if path in self.from_tier:
            source = f"tier {self.tier}"
        elif _at(self.spec, path) is not None:
            source = "spec"
        return f"{'.'.join(path)} of {self._value(path)} ({source})"


def _number(value: Any) -> Decimal | None:
    """Returns the number that a value stands for; None for one that is refused for itself later."""
    try:
        return amount(value)
    except ValueError:
        return None
