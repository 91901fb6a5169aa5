"""A call is reserved and counted at the rate that holds for its provider, its time and its input."""

from typing import Any

from relay.budgets.rate_card import PICOS_PER_MICRO, RateCard
from relay_contract.spending import Rate

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
    names = [asked.pop(name) for name in ("provider", "model", "asked_model", "at")]
    return RateCard(rates).cost(*names, **asked)


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
