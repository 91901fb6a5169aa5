"""What `Priced` of a Tenant says of calls without a price is what its relays do with them."""

from typing import Any

import pytest

from relay_operator.decisions.ledger.price_conditions import of_provider, of_tenant, of_tool_server
from relay_operator.decisions.ledger.standing import ToldList


@pytest.mark.parametrize(
    ("lacking", "is_refused", "words"),
    [
        ({"unpriced": ["gpt-0"]}, False, "gpt-0. Add those that it has no price for"),
        ({"unpriced": ["gpt-0"]}, True, "gpt-0. Calls for what has no price are refused (spec.billing.onUnpriced). Add"),
        ({"left_out": ["gpt-0"]}, True, "gpt-0. Calls for what has no price are refused (spec.billing.onUnpriced); take"),
        ({"left_out": ["gpt-0"]}, False, "gpt-0. Calls for them are served (spec.billing.onUnpriced), and no limit"),
    ],
)  # fmt: skip
def test_it_says_what_becomes_of_calls_without_a_price(
    lacking: dict[str, Any], is_refused: bool, words: str
) -> None:
    usual: dict[str, Any] = {"price_list": "retail", "is_there": True, "problem": ""}
    usual |= {"unpriced": [], "left_out": [], "is_taken": True}
    found = of_tenant(**usual | lacking, is_refused=is_refused)
    assert found.status == "False"
    assert words in found.message


@pytest.mark.parametrize("of", [of_provider, of_tool_server])
def test_it_says_what_prices_of_a_time_that_has_passed_would_change(of: Any) -> None:
    told = ToldList(version="v", since=0, models=("every server/read_*",))
    found = of([], told, is_taken=True)
    assert (found.status, found.reason) == ("True", "BackDated")
    assert (
        "other prices for a time that has passed, since the beginning: read_*. What"
        in found.message
    )
    assert "`relay-ledger prices reprice --from 1970-01-01 --until TIME`" in found.message
    # what is wrong comes first
    assert of(["gpt-0"], told, is_taken=True).reason == "Unpriced"
    assert of([], ToldList(version="v"), is_taken=True).reason == "Priced"
