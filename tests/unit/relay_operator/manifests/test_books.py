"""The book of prices: everything that people wrote, with the percentages of tenants, in a form that the ledger reads."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.billing.price_book import book_bytes
from relay_ledger.money.amounts import MAX_PRICE_MICRO, price_text
from relay_ledger.prices.price_file import price_list_of
from relay_operator.manifests.ledger import books

STANDARD: dict[str, Any] = {
    "currency": "USD",
    "models": [
        {
            "name": "gpt-4.1",
            "provider": "",
            "prices": [
                {
                    "until": "2027-01-01T00:00:00Z",
                    "perMillionTokens": {"input": "3", "output": "12"},
                },
                {
                    "from": "2027-01-01T00:00:00Z",
                    "serviceTier": "batch",
                    "region": "eu",
                    "aboveInputTokens": 200_000,
                    "hours": {"start": "16:30", "end": "00:30"},
                    "perMillionTokens": {"input": "1.5", "cacheRead": "0.1"},
                    "perPiece": {"webSearch": "0.015", "call": "0.001"},
                    "source": "contract 7",
                    "checkedAt": "2026-11-01",
                },
            ],
        },
        {
            "name": "claude",
            "provider": "anthropic",
            "prices": [{"perMillionTokens": {"input": "5"}}],
        },
    ],
}


def lists(book: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in book["lists"]}


def test_every_field_of_a_list_reaches_the_ledger() -> None:
    book = books.book({"standard": STANDARD}, {}, {})
    prices = price_list_of(lists(book)["standard"])
    first, second = prices.by_model["gpt-4.1"]
    assert (first.starts_at, first.ends_at) == (None, 1_798_761_600_000_000)
    assert (first.tokens["input"], first.tokens["reasoning"]) == (3_000_000, 12_000_000)
    assert (second.tier, second.region, second.above_input_tokens) == ("batch", "eu", 200_000)
    assert second.hours is not None
    assert second.tokens["cache_read"] == 100_000
    assert second.pieces == {"web_search": 15_000, "call": 1_000}
    assert (second.source, second.checked_at) == ("contract 7", "2026-11-01")
    [claude] = prices.by_model["claude"]
    assert claude.provider == "anthropic"


TOOLS: list[dict[str, Any]] = [
    {"name": "read_*", "server": "erp", "prices": [{"perCall": "0.01", "toolErrors": "Free"}]},
    {
        "name": "*",
        "server": "",
        "prices": [
            {"until": "2027-01-01T00:00:00Z", "perCall": "0"},
            {"from": "2027-01-01T00:00:00Z", "perCall": "0.000001", "source": "contract 7"},
        ],
    },
]


def test_prices_of_tools_reach_the_ledger_with_percentages_and_in_any_order() -> None:
    dearer = {"uid-a": {"name": "a", "billing": {"priceList": "standard", "markupPercent": 50}}}
    servers = {"erp": {"prices": [{"name": "pay", "prices": [{"perCall": "1"}]}]}, "wiki": {}}
    book = books.book({"standard": STANDARD | {"tools": TOOLS}}, {}, dearer, servers)
    turned = STANDARD | {"tools": TOOLS[::-1]}
    assert book_bytes(book) == book_bytes(books.book({"standard": turned}, {}, dearer, servers))
    every, free, erp = price_list_of(lists(book)["standard"]).tools
    assert (every.server, every.pattern, every.ends_at) == ("", "*", 1_798_761_600_000_000)
    assert (free.starts_at, free.call, free.source) == (1_798_761_600_000_000, 1, "contract 7")
    assert (erp.server, erp.pattern, erp.call, erp.pays_errors) == ("erp", "read_*", 10_000, False)
    marked = price_list_of(lists(book)["standard.markup.50"]).tools
    # 1.5 of a millionth is rounded once, half to even
    assert [one.call for one in marked] == [0, 2, 15_000]
    assert book["tools"] == {"erp": "tools..erp"}
    [cost] = price_list_of(lists(book)["tools..erp"]).tools
    assert (cost.server, cost.pattern, cost.call) == ("", "pay", 1_000_000)


def test_a_book_without_prices_of_tools_is_what_it_was_before_there_were_any() -> None:
    with_server = books.book({"standard": STANDARD}, {}, {}, {"wiki": {}})
    assert with_server == books.book({"standard": STANDARD}, {}, {})
    assert set(with_server) == {"v", "lists", "costs", "tenants"}
    assert "tools" not in lists(with_server)["standard"]


def test_the_order_of_models_makes_no_other_book() -> None:
    turned = STANDARD | {"models": list(reversed(STANDARD["models"]))}
    one, other = (books.book({"standard": spec}, {}, {}) for spec in (STANDARD, turned))
    assert book_bytes(one) == book_bytes(other)


def test_tenants_have_lists_with_their_percentages() -> None:
    tenants: dict[str, dict[str, Any]] = {
        "uid-a": {"name": "a", "billing": {"priceList": "standard", "markupPercent": 20}},
        "uid-b": {
            "name": "b",
            "billing": {"priceList": "standard", "zone": "Asia/Shanghai", "currency": "CNY"},
        },
        "uid-c": {"name": "c"},
        "uid-d": {"name": "d", "billing": {"priceList": "standard", "markupPercent": -50}},
        "uid-e": {"name": "e", "billing": {"priceList": "gone", "markupPercent": 5}},
    }
    book = books.book({"standard": STANDARD}, {}, tenants)
    assert book["tenants"] == {
        "uid-a": {"name": "a", "list": "standard.markup.20"},
        "uid-b": {"name": "b", "list": "standard", "zone": "Asia/Shanghai", "currency": "CNY"},
        "uid-c": {"name": "c"},
        "uid-d": {"name": "d", "list": "standard.markup.-50"},
        "uid-e": {"name": "e", "list": "gone.markup.5"},
    }
    assert set(lists(book)) == {"standard", "standard.markup.20", "standard.markup.-50"}
    dearer = price_list_of(lists(book)["standard.markup.20"])
    assert dearer.by_model["gpt-4.1"][0].tokens["output"] == 14_400_000
    assert dearer.by_model["gpt-4.1"][1].pieces["call"] == 1_200
    assert price_list_of(lists(book)["standard.markup.-50"]).by_model["claude"][0].tokens[
        "input"
    ] == (2_500_000)


@given(st.integers(0, MAX_PRICE_MICRO), st.integers(-99, 1000))
def test_a_percentage_is_added_exactly_and_rounded_once(micro: int, percent: int) -> None:
    spec = {
        "currency": "USD",
        "models": [{"name": "m", "prices": [{"perMillionTokens": {"input": price_text(micro)}}]}],
    }
    tenant = {"name": "a", "billing": {"priceList": "one", "markupPercent": percent or 1}}
    book = books.book({"one": spec}, {}, {"uid": tenant})
    [entry] = lists(book)[f"one.markup.{percent or 1}"]["entries"]
    exact = Decimal(micro) * (100 + (percent or 1)) / 100
    expected = int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))
    assert entry["prices"]["input"] == price_text(expected)
    # the ledger takes every list that the operator makes
    priced = price_list_of(lists(book)[f"one.markup.{percent or 1}"])
    assert priced.by_model["m"][0].tokens["input"] == expected


@pytest.mark.parametrize("amount", ["NaN", "-1", "1e3", "", "1.0000001", None, 2.5])
def test_what_is_no_amount_is_left_for_the_ledger_to_refuse(amount: Any) -> None:
    spec = {
        "currency": "USD",
        "models": [{"name": "m", "prices": [{"perMillionTokens": {"input": amount}}]}],
    }
    tenant = {"name": "a", "billing": {"priceList": "one", "markupPercent": 10}}
    for one in books.book({"one": spec}, {}, {"uid": tenant})["lists"]:
        assert one["entries"][0]["prices"]["input"] == amount


def test_what_a_provider_costs_is_its_models_under_all_their_names() -> None:
    spec = {
        "models": [
            {
                "name": "fast",
                "upstreamName": "gpt-4.1",
                "answersAs": ["gpt-4.1-2025-04-14"],
                "prices": [{"perMillionTokens": {"input": "2", "output": "8"}}],
            },
            {"name": "slow", "upstreamName": "gpt-4.1", "inputPrice": 1_500_000, "outputPrice": 0},
            {"name": "free", "prices": [{"perMillionTokens": {"input": "0", "output": "0"}}]},
            {"name": "new"},
        ]
    }
    book = books.book({}, {"openai": spec, "other": {"models": [{"name": "x"}]}, "any": {}}, {})
    assert book["costs"] == {"openai": "cost..openai"}
    prices = price_list_of(lists(book)["cost..openai"])
    # an upstream name that two of ours lead to has the prices of the first
    assert prices.by_model["gpt-4.1"][0].tokens["input"] == 2_000_000
    assert prices.by_model["gpt-4.1-2025-04-14"] == prices.by_model["fast"]
    assert prices.by_model["slow"][0].tokens["input"] == 1_500_000
    assert prices.by_model["free"][0].tokens["input"] == 0
    assert books.unpriced_models(spec) == ["new"]
