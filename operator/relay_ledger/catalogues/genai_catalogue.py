"""Price lists from genai-prices, which has public prices with dates for thirty providers and needs no network.

Its models are found by rules, ours by exact names, and some of what it prices the ledger does not count. What cannot be carried
over is said, never guessed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Final

import genai_prices
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from relay_contract.billing.service_tiers import STANDARD
from relay_contract.billing.token_buckets import Bucket
from relay_ledger.money.amounts import MAX_PRICE_MICRO, rounded_micro_usd
from relay_ledger.prices.price_file import BILLED_LIKE
from relay_ledger.prices.price_list import (
    DailyHours,
    InvalidPrices,
    PieceName,
    PriceEntry,
    PriceList,
    normal_model,
)

_TOKENS: Final[dict[str, Bucket]] = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_hour",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
_PIECES: Final[dict[str, PieceName]] = {
    "web_searches_kcount": "web_search",
    "requests_kcount": "call",
}
_FREE: Final[dict[str, tuple[PieceName, ...]]] = {"anthropic": ("web_fetch",)}
"""What a provider does without a price of its own: fetching a page costs its tokens alone (docs of Anthropic's tool)."""
_TIERS: Final = {
    ("service_tier", "priority"): "priority",
    ("service_tier", "flex"): "flex",
    ("service_tier", "fast"): "fast",
    ("speed", "fast"): "fast",
    ("processing", "batch"): "batch",
}
_STANDARD: Final = frozenset({("service_tier", "default"), ("service_tier", "standard")})
Price = Decimal | TieredPrices


@dataclass(frozen=True, slots=True)
class Imported:
    """A price list, and what of its source is not in it."""

    prices: PriceList
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """A time and the prices in it."""

    starts_at: int | None
    ends_at: int | None
    hours: DailyHours | None
    prices: dict[str, Price]


def providers() -> list[str]:
    """Returns the names that genai-prices has for providers."""
    return sorted(provider.id for provider in get_snapshot().providers)


def genai_price_list(
    provider: str, *, name: str, models: Sequence[str] = (), checked_at: str = ""
) -> Imported:
    """Makes a list of a provider's prices, of these models or of all; raises InvalidPrices for a name that is not known.

    Their source is genai-prices, with the page that it names first. It does not say when that was compared: who has done so gives the
    day as checked_at, as 2026-03-01.
    """
    source = _provider(provider)
    wanted = {normal_model(model) for model in models}
    unknown = wanted - {normal_model(model.id) for model in source.models}
    if unknown:
        raise InvalidPrices(f"genai-prices knows no {', '.join(sorted(unknown))} of {provider}")
    warnings: list[str] = []
    entries: list[PriceEntry] = []
    taken: set[str] = set()
    for model in source.models:
        if wanted and normal_model(model.id) not in wanted:
            continue
        names = frozenset(_names(model, warnings)) - taken
        taken |= names
        found = list(_entries(source.id, model, names, warnings))
        if names and not found:
            warnings.append(f"{model.id}: left out, the ledger counts nothing that it is billed by")
        entries += found
    told = (replace(one, source=_told_source(source), checked_at=checked_at) for one in entries)
    return Imported(PriceList(name, tuple(told)), tuple(warnings))


def _told_source(provider: Provider) -> str:
    page = f": {provider.pricing_urls[0]}" if provider.pricing_urls else ""
    return f"genai-prices {genai_prices.__version__}{page}"[:256]


def _provider(name: str) -> Provider:
    for provider in get_snapshot().providers:
        if provider.id == name:
            return provider
    raise InvalidPrices(f"genai-prices knows no provider {name}: it knows {', '.join(providers())}")


def _names(model: ModelInfo, warnings: list[str]) -> set[str]:
    """Returns the exact names of a model; other rules only suggest what else may be meant."""
    names, others = {normal_model(model.id)}, 0
    for clause in _clauses(model.match):
        if isinstance(clause, ClauseEquals):
            names.add(normal_model(clause.equals))
        else:
            others += 1
    if others:
        warnings.append(
            f"{model.id}: {others} more names are known by a pattern alone; add those that your provider answers with"
        )
    return {name for name in names if name.isascii() and name.isprintable() and " " not in name}


def _clauses(match: MatchLogic) -> Iterator[MatchLogic]:
    if isinstance(match, ClauseOr):
        for clause in match.or_:
            yield from _clauses(clause)
    else:
        yield match


def _entries(
    provider: str, model: ModelInfo, names: frozenset[str], warnings: list[str]
) -> Iterator[PriceEntry]:
    if not names:
        return
    spans = list(_spans(model))
    for span in spans:
        yield from _tiered(provider, model, names, STANDARD, span, warnings)
    for tier, variant in _variants(model, warnings):
        since = _begin(variant.constraint)
        for span in spans:
            if span.ends_at is not None and since is not None and span.ends_at <= since:
                continue
            starts_at = max((t for t in (span.starts_at, since) if t is not None), default=None)
            overlaid = {**span.prices, **_present(variant.prices)}
            yield from _tiered(
                provider,
                model,
                names,
                tier,
                replace(span, starts_at=starts_at, prices=overlaid),
                warnings,
            )


def _variants(model: ModelInfo, warnings: list[str]) -> Iterator[tuple[str, PriceVariant]]:
    """Yields the variants that are service tiers, the first of each."""
    seen: set[str] = set()
    for variant in model.price_variants or ():
        when = tuple(variant.when.items())
        if len(when) == 1 and when[0] in _STANDARD and not _present(variant.prices):
            continue
        tier = _TIERS.get(when[0]) if len(when) == 1 else None
        if tier is None or isinstance(variant.constraint, TimeOfDateConstraint):
            warnings.append(f"{model.id}: prices for {dict(when)} are left out")
        elif tier not in seen:
            seen.add(tier)
            yield tier, variant


def _spans(model: ModelInfo) -> Iterator[_Span]:
    """Yields when which prices hold. Of genai-prices' conditions the last one that is met counts, and the first where none is."""
    if isinstance(model.prices, ModelPrice):
        yield _Span(None, None, None, _present(model.prices))
        return
    dated = [
        condition
        for condition in model.prices
        if not isinstance(condition.constraint, TimeOfDateConstraint)
    ]
    for place, condition in enumerate(dated):
        following = dated[place + 1] if place + 1 < len(dated) else None
        starts_at = _begin(condition.constraint) if place else None
        ends_at = _begin(following.constraint) if following is not None else None
        if starts_at != ends_at or starts_at is None:
            yield _Span(starts_at, ends_at, None, _present(condition.prices))
    yield from _hourly(model.prices)


def _hourly(conditions: Sequence[ConditionalPrice]) -> Iterator[_Span]:
    for place, condition in enumerate(conditions):
        if isinstance(condition.constraint, TimeOfDateConstraint):
            later = (_begin(other.constraint) for other in conditions[place + 1 :])
            ends_at = min((at for at in later if at is not None), default=None)
            yield _Span(None, ends_at, _hours(condition.constraint), _present(condition.prices))


def _begin(constraint: StartDateConstraint | TimeOfDateConstraint | None) -> int | None:
    if not isinstance(constraint, StartDateConstraint):
        return None
    day = datetime.combine(constraint.start_date, time(), UTC)
    return int(day.timestamp()) * 1_000_000


def _hours(constraint: TimeOfDateConstraint) -> DailyHours:
    def seconds(clock: time) -> int:
        offset = clock.utcoffset()
        shift = 0 if offset is None else int(offset.total_seconds())
        return (clock.hour * 3600 + clock.minute * 60 + clock.second - shift) % 86_400

    return DailyHours(seconds(constraint.start_time), seconds(constraint.end_time))


def _present(prices: ModelPrice) -> dict[str, Price]:
    return {
        key: price
        for key, price in vars(prices).items()
        if isinstance(price, Decimal | TieredPrices)
    }


def _tiered(
    provider: str,
    model: ModelInfo,
    names: frozenset[str],
    tier: str,
    span: _Span,
    warnings: list[str],
) -> Iterator[PriceEntry]:
    """Yields an entry for each length of input from which other prices hold for all tokens of a call."""
    left_out = sorted(span.prices.keys() - _TOKENS.keys() - _PIECES.keys())
    if left_out:
        note = f"{model.id}: the ledger counts nothing of {', '.join(left_out)}"
        if note not in warnings:
            warnings.append(note)
    starts = {0} | {
        step.start
        for price in span.prices.values()
        if isinstance(price, TieredPrices)
        for step in price.tiers
    }
    for start in sorted(starts):
        at_start = {key: _from(price, start) for key, price in span.prices.items()}
        tokens = _amounts(model.id, at_start, warnings)
        if tokens:
            yield PriceEntry(
                models=names,
                provider="",
                tier=tier,
                region="",
                above_input_tokens=start,
                starts_at=span.starts_at,
                ends_at=span.ends_at,
                hours=span.hours,
                tokens=tokens,
                pieces=_pieces(provider, model.id, at_start, warnings),
            )


def _from(price: Price, start: int) -> Decimal:
    """Returns the price of calls with more input than `start` tokens, and not so much more that another step holds."""
    if isinstance(price, Decimal):
        return price
    return next((step.price for step in reversed(price.tiers) if step.start <= start), price.base)


def _amounts(model: str, prices: dict[str, Decimal], warnings: list[str]) -> dict[Bucket, int]:
    tokens: dict[Bucket, int] = {}
    for key, bucket in _TOKENS.items():
        if key in prices:
            tokens[bucket] = _rounded(f"{model}: {key}", prices[key], warnings)
    if any(micro > MAX_PRICE_MICRO for micro in tokens.values()):
        warnings.append(f"{model}: left out, a price above 1,000 USD per million tokens is none")
        return {}
    for bucket, like in BILLED_LIKE:
        if bucket not in tokens and like in tokens:
            tokens[bucket] = tokens[like]
    return tokens


def _pieces(
    provider: str, model: str, prices: dict[str, Decimal], warnings: list[str]
) -> dict[PieceName, int]:
    pieces: dict[PieceName, int] = dict.fromkeys(_FREE.get(provider, ()), 0)
    for key, piece in _PIECES.items():
        if key in prices:
            pieces[piece] = _rounded(f"{model}: {key}", prices[key] / 1000, warnings)
    return pieces


def _rounded(what: str, usd: Decimal, warnings: list[str]) -> int:
    micro, changed = rounded_micro_usd(usd)
    if changed:
        note = f"{what} is {usd}, rounded to micro-USD"
        if note not in warnings:
            warnings.append(note)
    return micro
