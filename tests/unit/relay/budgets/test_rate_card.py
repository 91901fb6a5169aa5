"""A call is reserved and counted at the rate that holds for its provider, its time and its input."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.budgets.rate_card import PICOS_PER_MICRO, Counts, RateCard
from relay_contract.billing.token_buckets import BUCKETS, UNITS, BilledUnits, TokenBuckets
from relay_contract.spending import Rate
from relay_ledger.prices.price_file import price_list_of
from relay_ledger.prices.pricing import Priced, Use, price_of
from relay_operator.manifests.ledger.books import charge_prices
from relay_operator.manifests.ledger.spending import charge_rates

PLAIN = Rate(model="gpt-4.1", input=3, cached=1, output=12)


def cost(*rates: Rate, **changes: Any) -> int:
    asked: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-4.1",
        "asked_model": "gpt",
        "at": 100,
        "input_tokens": 10,
        "cached_tokens": 0,
        "output_tokens": 5,
    }
    asked |= changes
    provider, model, name, at = (
        asked.pop(field) for field in ("provider", "model", "asked_model", "at")
    )
    cached = asked.pop("cached_tokens")
    used = TokenBuckets(
        input=asked.pop("input_tokens") - cached,
        cache_read=cached,
        output=asked.pop("output_tokens"),
        **asked.pop("used", {}),
    )
    return RateCard(rates).cost(provider, model, name, at, counts(used), **asked)


def counts(tokens: TokenBuckets, units: BilledUnits | None = None) -> Counts:
    return tuple(number for _, number in (*tokens.counts(), *(units or BilledUnits()).counts()))


def most(*rates: Rate, **changes: Any) -> int:
    asked = {"input_tokens": 10, "output_tokens": 5, "sound": False} | changes
    return RateCard(rates).most("openai", "gpt-4.1", "gpt", 100, **asked)


def test_tokens_cost_what_their_rate_says() -> None:
    assert cost(PLAIN) == 10 * 3 + 5 * 12
    assert cost(PLAIN, cached_tokens=4) == 6 * 3 + 4 * 1 + 5 * 12
    per_call = PLAIN.model_copy(update={"call": 7})
    assert cost(per_call, input_tokens=0, output_tokens=0) == 7 * PICOS_PER_MICRO


def test_a_model_without_a_rate_costs_nothing_that_is_known() -> None:
    assert cost() == -1
    assert cost(PLAIN, model="gpt-5", asked_model="gpt-5") == -1


def test_the_providers_model_counts_before_the_callers_and_in_any_case() -> None:
    asked = Rate(model="gpt", input=1, cached=1, output=1)
    assert cost(PLAIN, asked, model="GPT-4.1") == cost(PLAIN)
    assert cost(asked, model="azure-deployment-7") == 15


def test_a_rate_of_the_provider_counts_before_one_for_all() -> None:
    own = PLAIN.model_copy(update={"provider": "openai", "input": 30})
    assert cost(PLAIN, own) == cost(own)
    assert cost(PLAIN, own, provider="azure") == cost(PLAIN)
    assert cost(own, provider="azure") == -1


def test_a_change_of_price_counts_for_calls_that_are_sent_after_it() -> None:
    before = PLAIN.model_copy(update={"ends_at": 100})
    after = PLAIN.model_copy(update={"starts_at": 100, "input": 30})
    assert cost(before, after, at=99) == cost(PLAIN)
    assert cost(before, after, at=100) == 10 * 30 + 5 * 12
    assert cost(before, at=100) == -1


def test_much_input_has_a_price_of_its_own() -> None:
    long = PLAIN.model_copy(update={"above_input_tokens": 10, "input": 6})
    assert cost(PLAIN, long) == cost(PLAIN)
    assert cost(PLAIN, long, input_tokens=11) == 11 * 6 + 5 * 12


def test_what_is_written_into_a_cache_and_thought_has_a_price_of_its_own() -> None:
    dear = PLAIN.model_copy(update={"cache_write": 4, "reasoning": 20})
    assert cost(dear, used={"cache_write": 2, "cache_write_hour": 1, "reasoning": 1}) == (
        cost(PLAIN) + 3 * 4 + 20
    )
    # without one they cost as providers bill them
    assert cost(PLAIN, used={"cache_write": 2, "tool_prompt": 1, "reasoning": 1}) == (
        cost(PLAIN) + 3 * 3 + 12
    )
    assert cost(PLAIN, used={"audio_input": 1}) == -1


def test_a_call_is_reckoned_in_the_tier_region_and_hour_that_it_was_served_in() -> None:
    priority = PLAIN.model_copy(update={"tier": "priority", "input": 30})
    near = PLAIN.model_copy(update={"region": "eu", "input": 300})
    night = PLAIN.model_copy(update={"hours": (0, 60), "input": 1})
    rates = (PLAIN, priority, near, night)
    day = 3600 * 10**6
    assert cost(*rates, at=day) == cost(PLAIN)
    assert cost(*rates, at=day, tier="Default") == cost(PLAIN)
    assert cost(*rates, at=day, tier="priority") == 10 * 30 + 5 * 12
    assert cost(*rates, at=day, tier="flex") == -1
    assert cost(*rates, at=day, region="eu") == 10 * 300 + 5 * 12
    assert cost(*rates, at=day, region="us") == cost(PLAIN)
    assert cost(*rates, at=0) == 10 * 1 + 5 * 12


def test_reserved_is_the_dearest_that_a_call_may_be_served_as() -> None:
    written = PLAIN.model_copy(update={"cache_write": 4, "cache_write_hour": 6})
    assert most(PLAIN) == cost(PLAIN)
    assert most(written) == 10 * 6 + 5 * 12
    priority = PLAIN.model_copy(update={"tier": "priority", "output": 24})
    near = PLAIN.model_copy(update={"region": "eu", "input": 9})
    assert most(PLAIN, priority) == 10 * 3 + 5 * 24
    assert most(PLAIN, priority, may_be_served_in="standard".__eq__) == cost(PLAIN)
    assert most(PLAIN, near) == 10 * 9 + 5 * 12
    loud = PLAIN.model_copy(update={"audio_input": 40, "audio_output": 80})
    assert (most(loud), most(loud, sound=True)) == (cost(PLAIN), 10 * 40 + 5 * 80)
    # who is served as usual has no price there
    assert most(priority) == -1
    assert most(near) == -1


def test_pieces_are_reserved_and_have_to_have_a_price() -> None:
    searched = PLAIN.model_copy(update={"web_search": 7})
    assert most(searched, searches=3) == cost(PLAIN) + 3 * 7 * PICOS_PER_MICRO
    assert most(searched, searches=3, fetches=1) == -1
    assert most(PLAIN, searches=1) == -1
    free = PLAIN.model_copy(update={"web_search": 0, "web_fetch": 0})
    assert most(free, searches=3, fetches=1) == cost(PLAIN)


def test_what_a_rate_has_no_price_for_is_not_free() -> None:
    embeddings = Rate(model="gpt-4.1", input=3)
    assert (most(embeddings, output_tokens=0), cost(embeddings, output_tokens=0)) == (30, 30)
    assert (most(embeddings), cost(embeddings)) == (-1, -1)
    spoken = Rate(model="gpt-4.1", output=12)
    assert (most(spoken), cost(spoken)) == (-1, -1)
    assert cost(Rate(model="gpt-4.1", input=3, output=12), cached_tokens=4) == -1
    # a cache that is only written costs nothing that is read from it
    assert most(Rate(model="gpt-4.1", input=3, output=12, cache_write=5)) == 10 * 5 + 5 * 12


AMOUNTS = st.integers(min_value=0, max_value=90).map(str)
OPTIONAL = dict.fromkeys(
    ("input", "output", "cacheRead", "cacheWrite", "cacheWriteHour", "reasoning", "toolPrompt"),
    AMOUNTS,
)
PRICES = st.fixed_dictionaries(
    {
        "perMillionTokens": st.fixed_dictionaries(
            {"audioInput": AMOUNTS, "audioOutput": AMOUNTS}, optional=OPTIONAL
        ),
        "perPiece": st.fixed_dictionaries(
            {"webSearch": AMOUNTS, "webFetch": st.just("1")},
            optional={"call": st.just("0.01")},
        ),
    },
    optional={
        "serviceTier": st.sampled_from(["priority", "flex", "Default"]),
        "region": st.sampled_from(["eu", "us"]),
        "aboveInputTokens": st.sampled_from([100, 1000]),
        "hours": st.sampled_from(
            [{"start": "00:30", "end": "08:30"}, {"start": "16:30", "end": "00:30"}]
        ),
    },
)


def _dimensions(price: dict[str, Any]) -> str:
    named = ("serviceTier", "region", "aboveInputTokens")
    return str([price.get(name) for name in named]).replace("'Default'", "None")


NAMED: dict[str, st.SearchStrategy[Any]] = {
    "name": st.just("gpt-4.1"),
    "prices": st.lists(PRICES, min_size=1, max_size=4, unique_by=_dimensions),
}
MODELS = st.lists(
    st.fixed_dictionaries(NAMED, optional={"provider": st.just("openai")}),
    min_size=1,
    max_size=2,
    unique_by=lambda model: str(model.get("provider")),
)
USED = st.fixed_dictionaries({name: st.integers(0, 2000) for name in BUCKETS})


@given(
    MODELS,
    USED,
    st.fixed_dictionaries({name: st.integers(0, 3) for name in UNITS}),
    st.sampled_from([None, "priority", "auto", "flex", "batch"]),
    st.sampled_from([None, "eu", "asia"]),
    st.integers(0, 86_399),
)
def test_relays_reckon_what_the_ledger_books_and_reserve_no_less(
    models: list[dict[str, Any]],
    used: dict[str, int],
    pieces: dict[str, int],
    tier: str | None,
    region: str | None,
    second: int,
) -> None:
    spec = {"currency": "USD", "models": models}
    prices = price_list_of(charge_prices("retail", spec, 10))
    tokens, units, at = TokenBuckets(**used), BilledUnits(**pieces), second * 10**6
    use = Use("openai", "gpt-4.1", at, tokens, units, tier, region)
    booked = price_of(use, prices)
    card = RateCard(charge_rates(spec, 10)[0])
    reckoned = card.cost(
        "openai", "gpt-4.1", "", at, counts(tokens, units), tier=tier, region=region
    )
    assert reckoned == (booked.pico if isinstance(booked, Priced) else -1)
    spoken = tokens.output + tokens.reasoning + tokens.audio_output
    reserved = card.most(
        *("openai", "gpt-4.1", "", at),
        input_tokens=tokens.total_input,
        output_tokens=spoken,
        searches=units.web_search,
        fetches=units.web_fetch,
    )
    if reserved >= 0:
        assert reserved >= reckoned
