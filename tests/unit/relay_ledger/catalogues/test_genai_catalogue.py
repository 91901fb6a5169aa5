"""Prices from genai-prices: the same money as its own calculator makes, for every model it has; what differs is explained here.

Disagreements, all of them on our side, and each asserted below:
- rounding: what it publishes with more than six digits (thirds, noise of floats) is rounded once at import, with a warning.
- tier: it prices a service tier that it has no prices for as the standard one; we have no price then.
- dimension: it prices sound and searches without a price as text or as nothing; we have no price then.
- model: it has models that are billed by images, pages or hours alone, which the ledger does not count.
"""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider, Usage

from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.catalogues.genai_catalogue import genai_price_list, providers
from relay_ledger.prices.price_file import read_price_list, write_price_list
from relay_ledger.prices.price_list import InvalidPrices
from relay_ledger.prices.pricing import Priced, Unpriced, Use, price_of

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
CONTEXTS: dict[str, dict[str, str]] = {
    "priority": {"service_tier": "priority"},
    "flex": {"service_tier": "flex"},
    "batch": {"processing": "batch"},
}


def drawn(chance: random.Random, tier: str | None) -> tuple[datetime, TokenBuckets, int]:
    most = 10**6 if chance.random() < 0.3 else 3000

    def count() -> int:
        return chance.choice([0, chance.randrange(1, most)])

    names = ("input", "cache_read", "cache_write", "cache_write_hour", "output", "reasoning")
    counts = {name: count() for name in names}
    if tier is None and chance.random() < 0.2:
        counts |= {"audio_input": count(), "audio_output": count()}
    at = FIRST + timedelta(seconds=chance.randrange(3 * 365 * 86400))
    return at, TokenBuckets(**counts), chance.choice([0, 0, 0, 2])


def theirs(
    model: ModelInfo,
    provider: Provider,
    at: datetime,
    tokens: TokenBuckets,
    searches: int,
    tier: str | None,
) -> Decimal:
    usage = Usage(
        input_tokens=tokens.total_input,
        output_tokens=tokens.total - tokens.total_input,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_hour,
        cache_write_1h_tokens=tokens.cache_write_hour,
        output_reasoning_tokens=tokens.reasoning,
        input_audio_tokens=tokens.audio_input,
        output_audio_tokens=tokens.audio_output,
        cache_audio_read_tokens=0,
        web_searches=searches,
    )
    context = CONTEXTS[tier] if tier is not None else None
    return model.calc_price(
        usage, provider, genai_request_timestamp=at, price_context=context
    ).total_price


def has_tier(model: ModelInfo, tier: str | None) -> bool:
    wanted = CONTEXTS[tier] if tier is not None else None
    return any(variant.when == wanted for variant in model.price_variants or ())


def test_every_model_costs_what_its_own_calculator_says() -> None:
    chance = random.Random(15)
    seen: Counter[str] = Counter()
    for provider in get_snapshot().providers:
        imported = genai_price_list(provider.id, name="all")
        rounded = {text.split(": ")[0] for text in imported.warnings if "rounded" in text}
        for model in provider.models:
            for tier in (None, None, *CONTEXTS):
                at, tokens, searches = drawn(chance, tier)
                use = Use(
                    provider.id,
                    model.id,
                    int(at.timestamp()) * 10**6,
                    tokens,
                    BilledUnits(web_search=searches),
                    tier,
                )
                ours = price_of(use, imported.prices)
                if isinstance(ours, Unpriced):
                    seen[ours.reason] += 1
                    explain(ours, model, tier)
                    continue
                expected = theirs(model, provider, at, tokens, searches, tier)
                if Decimal(ours.pico).scaleb(-12) == expected:
                    seen["same"] += 1
                else:
                    seen["rounding"] += 1
                    assert model.id in rounded
                    # half a micro-USD per million tokens at most
                    assert abs(Decimal(ours.pico) - expected * 10**12) <= tokens.total
    assert seen.keys() == {"same", "rounding", "model", "tier", "dimension"}
    assert seen["same"] > 2500
    assert seen["rounding"] < 100


def explain(ours: Unpriced, model: ModelInfo, tier: str | None) -> None:
    """Asserts that an attempt without a price has none for one of the reasons above."""
    match ours.reason:
        case "tier":
            # or its variant begins later
            variants = [v for v in model.price_variants or () if v.when == CONTEXTS[tier or ""]]
            assert not variants or all(variant.constraint for variant in variants)
        case "dimension":
            assert ours.detail in (
                "web_search",
                "audio_input",
                "audio_output",
                *("output", "reasoning"),
            )
            if ours.detail in ("output", "reasoning"):
                assert "output_mtok" not in str(vars(_any_price(model)).keys())
        case "model":
            assert (
                not vars(_any_price(model)).keys() & {"input_mtok", "output_mtok"}
                or " " in model.id
            )
        case "time":
            pytest.fail(f"{model.id} has prices for every time")


def _any_price(model: ModelInfo) -> Any:
    return model.prices[0].prices if isinstance(model.prices, list) else model.prices


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek", "google"])
def test_a_list_that_was_imported_is_a_file_like_any_other(provider: str) -> None:
    imported = genai_price_list(provider, name=provider).prices
    read = read_price_list(write_price_list(imported, comments=("from genai-prices",)))
    assert read == imported
    assert read.version == imported.version


def test_models_can_be_chosen_and_hours_come_along() -> None:
    prices = genai_price_list("deepseek", name="d", models=["DeepSeek-Chat"]).prices
    assert {name for entry in prices.entries for name in entry.models} == {
        "deepseek-chat",
        "deepseek-chat-v3-0324",
    }
    usual, peak = prices.entries
    assert usual.hours is None
    assert peak.hours is not None
    assert (peak.hours.start, peak.hours.end) == (1800, 59_400)


def test_what_is_not_known_is_said_with_what_is() -> None:
    with pytest.raises(InvalidPrices, match="no provider nobody: it knows anthropic, "):
        genai_price_list("nobody", name="n")
    with pytest.raises(InvalidPrices, match="knows no gpt-0 of openai"):
        genai_price_list("openai", name="n", models=["gpt-0"])
    assert {"openai", "anthropic"} <= set(providers())


def test_a_fetched_page_has_no_price_of_its_own_at_anthropic() -> None:
    prices = genai_price_list("anthropic", name="a", models=["claude-sonnet-4-5"]).prices
    use = Use("anthropic", "claude-sonnet-4-5", 0, TokenBuckets(input=1), BilledUnits(web_fetch=1))
    assert price_of(use, prices) == Priced(3_000_000, prices.version, entry=0)
