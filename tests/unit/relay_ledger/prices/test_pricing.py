"""The price of an attempt: by when it was sent, who answered and how it was served; without a price it has none, which is not 0."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.billing.token_buckets import BUCKETS, BilledUnits, TokenBuckets
from relay_ledger.money.amounts import usd_text
from relay_ledger.prices.price_file import read_price_list
from relay_ledger.prices.pricing import Priced, Unpriced, Use, price_of

PRICES = read_price_list("""
name: everything
currency: USD
entries:
- models: [sonnet]
  until: 2026-01-01
  prices: {input: '3', cacheRead: '0.3', cacheWrite: '3.75', cacheWriteHour: '6', output: '15'}
  perPiece: {webSearch: '0.01'}
- models: [sonnet]
  from: 2026-01-01
  until: 2027-01-01
  prices: {input: '2', output: '10'}
- models: [sonnet]
  aboveInputTokens: 200000
  until: 2026-01-01
  prices: {input: '6', output: '22.5'}
- models: [sonnet]
  serviceTier: batch
  until: 2026-01-01
  prices: {input: '1.5', output: '7.5'}
- models: [sonnet]
  region: us
  until: 2026-01-01
  prices: {input: '3.3', output: '16.5'}
- models: [sonnet]
  provider: cheap
  prices: {input: '1', output: '5'}
- models: [sonnet]
  provider: cheap
  hours: {start: '22:00', end: '06:00'}
  prices: {input: '0.5', output: '2.5'}
- models: [image]
  prices: {input: '0'}
  perPiece: {call: '0.04'}
""")
NEW_YEAR = 1_767_225_600_000_000
HOUR = 3600 * 10**6


def use(**changes: Any) -> Use:
    fields: dict[str, Any] = {
        "provider": "anthropic",
        "model": "sonnet",
        "dispatched_at": NEW_YEAR - 1,
        "tokens": TokenBuckets(input=1000, output=10),
        "units": BilledUnits(),
        **changes,
    }
    return Use(**fields)


def usd(**changes: Any) -> str:
    priced = price_of(use(**changes), PRICES)
    assert isinstance(priced, Priced)
    assert priced.version == PRICES.version
    return usd_text(priced.pico)


def test_the_moment_of_dispatch_decides_to_the_microsecond() -> None:
    assert usd(dispatched_at=NEW_YEAR - 1) == "0.00315"
    assert usd(dispatched_at=NEW_YEAR) == "0.0021"


def test_every_bucket_has_its_price() -> None:
    tokens = TokenBuckets(
        input=1, cache_read=10, cache_write=100, cache_write_hour=1000, output=2, reasoning=3
    )
    # 3 + 3 + 375 + 6000 + 30 + 45 micro-USD
    assert usd(tokens=tokens) == "0.006456"


def test_a_long_context_has_its_price_for_all_tokens() -> None:
    assert usd(tokens=TokenBuckets(input=200_000)) == "0.60"
    assert usd(tokens=TokenBuckets(input=100_000, cache_read=100_001)) == "1.200006"


def test_the_tier_and_the_region_as_served_decide() -> None:
    assert usd(service_tier="batch") == "0.001575"
    assert usd(service_tier="default") == usd(service_tier="auto") == usd(service_tier=None)
    assert usd(region="us") == "0.003465"
    assert usd(region="eu") == usd(region=None) == "0.00315"


def test_a_provider_that_is_named_has_its_own_prices_and_hours() -> None:
    noon = NEW_YEAR + 12 * HOUR
    assert usd(provider="cheap", dispatched_at=noon) == "0.00105"
    assert usd(provider="cheap", dispatched_at=NEW_YEAR + 22 * HOUR) == "0.000525"
    assert usd(provider="cheap", dispatched_at=NEW_YEAR + 6 * HOUR) == "0.00105"
    assert usd(provider="cheap", dispatched_at=NEW_YEAR + 6 * HOUR - 1) == "0.000525"


def test_pieces_and_calls_have_prices() -> None:
    assert usd(units=BilledUnits(web_search=3)) == "0.03315"
    assert usd(model="image", tokens=TokenBuckets(input=5)) == "0.04"


def test_names_of_models_are_exact_but_for_case() -> None:
    assert usd(model="Sonnet") == "0.00315"


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"model": "sonnet-2"}, "model", "sonnet-2"),
        ({"model": "sonne"}, "model", "sonne"),
        ({"dispatched_at": NEW_YEAR + 400 * 24 * HOUR}, "time", "sonnet"),
        ({"service_tier": "priority"}, "tier", "priority"),
        ({"tokens": TokenBuckets(audio_input=1)}, "dimension", "audio_input"),
        ({"units": BilledUnits(web_fetch=1)}, "dimension", "web_fetch"),
        ({"model": "image", "tokens": TokenBuckets(output=1)}, "dimension", "output"),
    ],
)
def test_what_has_no_price_says_what_is_missing(
    changes: dict[str, Any], reason: str, detail: str
) -> None:
    assert price_of(use(**changes), PRICES) == Unpriced(reason, detail, PRICES.version)  # type: ignore[arg-type]


def test_nothing_used_costs_nothing_which_is_a_price() -> None:
    assert usd(tokens=TokenBuckets()) == "0.00"


COUNTS = st.fixed_dictionaries({}, optional=dict.fromkeys(BUCKETS[:6], st.integers(0, 10_000)))


@given(counts=COUNTS, more=st.sampled_from(BUCKETS[:6]))
def test_more_tokens_never_cost_less(counts: dict[Any, int], more: Any) -> None:
    fewer = price_of(use(tokens=TokenBuckets(**counts)), PRICES)
    counts[more] = counts.get(more, 0) + 1
    greater = price_of(use(tokens=TokenBuckets(**counts)), PRICES)
    assert isinstance(fewer, Priced)
    assert isinstance(greater, Priced)
    assert fewer.pico <= greater.pico


@given(one=COUNTS, other=COUNTS)
def test_the_price_of_two_is_the_sum_of_their_prices(
    one: dict[Any, int], other: dict[Any, int]
) -> None:
    def pico(counts: dict[Any, int]) -> int:
        priced = price_of(use(tokens=TokenBuckets(**counts)), PRICES)
        assert isinstance(priced, Priced)
        return priced.pico

    both = {name: one.get(name, 0) + other.get(name, 0) for name in one | other}
    assert pico(both) == pico(one) + pico(other)
