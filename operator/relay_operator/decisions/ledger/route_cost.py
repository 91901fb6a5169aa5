"""What a thousand calls of each side of a route cost, as status tells it: exact sums, and one quotient that is rounded once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_contract.billing.route_costs import RouteCost
from relay_operator.decisions import timestamps
from relay_operator.decisions.judgement.means.cost_test import MOST_UNKNOWN_PERCENT
from relay_operator.decisions.ledger.usd import exact_usd_text
from relay_operator.names import Reason

_PICOS_PER_MICRO: Final = 10**6
_THOUSAND: Final = 1000
_MICROSECONDS: Final = 1_000_000
CURRENCY: Final = "USD"
Fields = dict[str, Any]

NO_LEDGER: Final[Fields] = {
    "reason": Reason.NO_LEDGER.value,
    "summary": "not known: the platform has no ledger",
    **dict.fromkeys(("currency", "from", "until", "stable", "canary")),
}
"""What is told where there is none. A field of None is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCost:
    """Sums of one side at one provider: of attempts, calls that got their answer, their cost, and what that lacks."""

    provider: str
    attempts: int = 0
    calls: int = 0
    cost_pico: int = 0
    unpriced: int = 0
    unknown: int = 0
    held_pico: int = 0

    @property
    def reason(self) -> Reason:
        """Says why a mean would be none of all calls; KNOWN where it is."""
        if self.unpriced > 0:
            return Reason.UNPRICED
        if self.unknown * 100 > self.attempts * MOST_UNKNOWN_PERCENT:
            return Reason.USAGE_UNKNOWN
        return Reason.KNOWN if self.calls > 0 else Reason.NO_CALLS

    @property
    def per_thousand(self) -> str:
        """Returns the cost of a thousand calls in USD, to a micro-USD, half up; empty where it is not known. Never 0 for what costs something."""
        if self.reason is not Reason.KNOWN:
            return ""
        micro = (2 * self.cost_pico * _THOUSAND + self.calls * _PICOS_PER_MICRO) // (
            2 * self.calls * _PICOS_PER_MICRO
        )
        if micro == 0 < self.cost_pico:
            return "0.000001"
        return exact_usd_text(micro * _PICOS_PER_MICRO)


def side_of(costs: Iterable[RouteCost], side: str, provider: str) -> SideCost:
    """Adds up what was told of a side at a provider; what the side was before at another one is left out."""
    found = [one for one in costs if (one.side, one.provider) == (side, provider)]
    sums = {
        name: sum(getattr(one, name) for one in found)
        for name in ("attempts", "calls", "cost_pico", "unpriced", "unknown", "held_pico")
    }
    return SideCost(provider=provider, **sums)


def to_fields(stable: SideCost, canary: SideCost | None, *, since: int, until: int) -> Fields:
    """Lays out what status tells of a route's cost; times are microseconds since 1970."""
    sides = {"stable": stable} if canary is None else {"stable": stable, "canary": canary}
    reasons = [one.reason for one in sides.values()]
    lacking = next((one for one in reasons if one is not Reason.KNOWN), Reason.KNOWN)
    return {
        "reason": lacking.value,
        "summary": ", ".join(f"{name} {_short(one)}" for name, one in sides.items()),
        "currency": CURRENCY,
        "from": timestamps.to_text(since / _MICROSECONDS),
        "until": timestamps.to_text(until / _MICROSECONDS),
        "stable": _side_fields(stable),
        "canary": None if canary is None else _side_fields(canary),
    }


def is_told(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Tells whether both say the same of the calls, whatever their times."""
    names = ("reason", "summary", "currency", "stable", "canary")
    return all(_present(before.get(name)) == _present(now.get(name)) for name in names)


def _side_fields(side: SideCost) -> Fields:
    return {
        "provider": side.provider,
        "reason": side.reason.value,
        "perThousandCalls": side.per_thousand or None,
        "calls": side.calls,
        "attempts": side.attempts,
        "cost": exact_usd_text(side.cost_pico),
        "unpricedAttempts": side.unpriced or None,
        "unknownAttempts": side.unknown or None,
        "unknownAtMost": exact_usd_text(side.held_pico) if side.unknown else None,
    }


def _short(side: SideCost) -> str:
    match side.reason:
        case Reason.KNOWN:
            return f"{side.per_thousand} {CURRENCY}"
        case Reason.UNPRICED:
            return "unpriced"
        case Reason.USAGE_UNKNOWN:
            return "usage unknown"
        case _:
            return "no calls"


def _present(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: one for name, one in value.items() if one is not None}
