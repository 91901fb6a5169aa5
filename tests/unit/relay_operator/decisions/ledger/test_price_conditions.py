"""What `Priced` of a Tenant says of calls without a price is what its relays do with them."""

from typing import Any

import pytest

from relay_operator.decisions.ledger.price_conditions import of_tenant


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
