"""The price of an attempt: which entry holds, and tokens times prices. A price that is not there is never 0."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from relay_contract.billing.service_tiers import normal_tier
from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.money.amounts import PICOS_PER_MICRO
from relay_ledger.prices.price_list import NO_ENTRY, PriceEntry, PriceList, normal_model

WithoutPrice = Literal["model", "time", "tier", "dimension", "tool"]
"""model: no entry names it. time: none did then. tier: not in the service tier it was served in. dimension: tokens or pieces
of a kind that the entry has no price for. tool: no price covers it, and others of its server have one."""


@dataclass(frozen=True, slots=True)
class Use:
    """Describes what is priced: who answered, when the attempt was sent (microseconds since 1970), and what it used."""

    provider: str
    model: str
    dispatched_at: int
    tokens: TokenBuckets
    units: BilledUnits
    service_tier: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Priced:
    """An amount in pico-USD, the version of the list that it comes from, and the place of the entry in it whose prices make the amount."""

    pico: int
    version: str
    entry: int = NO_ENTRY


@dataclass(frozen=True, slots=True)
class Unpriced:
    """An attempt that this version of the list has no price for; detail names what is missing."""

    reason: WithoutPrice
    detail: str
    version: str


def price_of(use: Use, prices: PriceList) -> Priced | Unpriced:
    """Prices an attempt by the entries that held when it was sent."""
    entries = prices.by_model.get(normal_model(use.model))
    if entries is None:
        return Unpriced("model", use.model, prices.version)
    entries = _of_provider(entries, use.provider)
    held = [entry for entry in entries if entry.is_in_force(use.dispatched_at)]
    if not held:
        return Unpriced("time" if entries else "model", use.model, prices.version)
    tier = normal_tier(use.service_tier)
    served = [entry for entry in held if entry.tier == tier]
    if not served:
        return Unpriced("tier", tier, prices.version)
    entry = _most_specific(served, use)
    if entry is None:
        return Unpriced("dimension", "region or aboveInputTokens", prices.version)
    return _cost(use, entry, prices.version)


def price_of_token(use: Use, prices: PriceList) -> int | None:
    """Returns what the tokens of a use cost, in pico-USD, without what a call costs beside its tokens; None without a price.

    For sums of many calls: times one token this is the price of all, which no call costs once more.
    """
    found = price_of(use, prices)
    call = price_of(replace(use, tokens=TokenBuckets(), units=BilledUnits()), prices)
    if isinstance(found, Priced) and isinstance(call, Priced):
        return found.pico - call.pico
    return None


def _of_provider(entries: Sequence[PriceEntry], provider: str) -> tuple[PriceEntry, ...]:
    """Returns the entries that name the provider, or else those for all."""
    named = tuple(entry for entry in entries if entry.provider == provider)
    return named or tuple(entry for entry in entries if not entry.provider)


def _most_specific(entries: Sequence[PriceEntry], use: Use) -> PriceEntry | None:
    """Returns the entry for the region, else the one for all; of those the highest threshold passed; of those the hours."""
    region = use.region or ""
    regional = [entry for entry in entries if entry.region == region]
    fitting = [
        entry
        for entry in regional or [entry for entry in entries if not entry.region]
        if not entry.above_input_tokens or use.tokens.total_input > entry.above_input_tokens
    ]
    return max(
        fitting,
        key=lambda entry: (entry.above_input_tokens, entry.hours is not None),
        default=None,
    )


def _cost(use: Use, entry: PriceEntry, version: str) -> Priced | Unpriced:
    pico = 0
    for bucket, tokens in use.tokens.counts():
        price = entry.tokens.get(bucket)
        if tokens and price is None:
            return Unpriced("dimension", bucket, version)
        pico += tokens * (price or 0)
    for unit, number in use.units.counts():
        price = entry.pieces.get(unit)
        if number and price is None:
            return Unpriced("dimension", unit, version)
        pico += number * (price or 0) * PICOS_PER_MICRO
    pico += entry.pieces.get("call", 0) * PICOS_PER_MICRO
    return Priced(pico, version, entry.place)
