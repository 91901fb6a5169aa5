"""What a Tenant's billing says of spending comes to its relays and to the ledger, in whole numbers."""

import itertools
from typing import Any

import pytest
from tests.unit.relay_operator.specs import tenant_with_billing

from relay_contract.spending import MAX_TOOL_RATES, Rate, SessionCaps, ToolRate
from relay_operator.manifests.document_size import RATES_BYTES, TOOL_RATES_BYTES, size_of
from relay_operator.manifests.ledger.money import micro_usd
from relay_operator.manifests.ledger.spending import (
    charge_rates,
    charge_tool_rates,
    for_earlier_relays,
    refuses_unpriced,
    spending,
    tenant_budget,
)

LIST: dict[str, Any] = {
    "currency": "USD",
    "models": [
        {
            "name": "GPT-4.1",
            "prices": [
                {
                    "perMillionTokens": {"input": "3", "cacheRead": "0.75", "output": "12"},
                    "until": "2026-12-01T00:00:00Z",
                },
                {"perMillionTokens": {"input": "2", "output": "8"}, "from": "2026-12-01T00:00:00Z"},
                {"perMillionTokens": {"input": "1", "output": "4"}, "serviceTier": "flex"},
            ],
        },
        {
            "name": "o3",
            "provider": "azure",
            "prices": [
                {
                    "perMillionTokens": {"input": "1", "output": "4", "reasoning": "5"},
                    "perPiece": {"call": "0.01"},
                }
            ],
        },
    ],
}
TOOL_LIST: dict[str, Any] = {
    "tools": [
        {"name": "read_*", "server": "erp", "prices": [{"perCall": "0.01", "toolErrors": "Free"}]},
        {"name": "*", "server": "", "prices": [{"perCall": "0", "until": "2026-12-01T00:00:00Z"}]},
    ]
}
PRICED = ("input", "cacheRead", "cacheWrite", "cacheWriteHour", "output", "reasoning", "audioInput")
DECEMBER = 1_796_083_200 * 10**6


def test_text_is_micro_usd_exactly() -> None:
    assert [micro_usd(text) for text in ("1", "0.000001", "12.5", "999999.999999")] == [
        *(1_000_000, 1, 12_500_000, 999_999_999_999),
    ]


def test_a_hard_budget_comes_with_the_rates_to_reserve_by() -> None:
    billing = tenant_with_billing(priceList="retail", budget={"amount": "10"}).spec.billing
    told = spending(billing, charge_rates(LIST, billing.markup_percent)[0])
    assert told is not None
    assert (told.limits, told.on_ledger_away, told.session_caps) == (("budget",), "Refuse", None)
    dated = [one for one in told.rates if one.model == "gpt-4.1"]
    assert dated == [
        Rate(model="gpt-4.1", input=3_000_000, cached=750_000, output=12_000_000, ends_at=DECEMBER),
        Rate(
            model="gpt-4.1", input=2_000_000, cached=2_000_000, output=8_000_000, starts_at=DECEMBER
        ),
        Rate(model="gpt-4.1", input=1_000_000, cached=1_000_000, output=4_000_000, tier="flex"),
    ]
    (other,) = (one for one in told.rates if one.model == "o3")
    assert (other.provider, other.output, other.reasoning) == ("azure", 4_000_000, 5_000_000)
    assert other.call == 10_000


def test_the_tenants_percentage_is_in_its_rates() -> None:
    billing = tenant_with_billing(
        priceList="retail", markupPercent=10, credit={}, onLedgerAway="Serve"
    ).spec.billing
    told = spending(billing, charge_rates(LIST, billing.markup_percent)[0])
    assert told is not None
    assert (told.limits, told.on_ledger_away) == (("credit",), "Serve")
    assert told.rates[0].input == 3_300_000


def test_what_bounds_nothing_is_not_in_the_document() -> None:
    soft = {"amount": "10", "hard": False}
    for billing in ({}, {"priceList": "retail"}, {"priceList": "retail", "budget": soft}):
        assert (
            spending(tenant_with_billing(**billing).spec.billing, charge_rates(LIST, 0)[0]) is None
        )


BUDGET = {"priceList": "retail", "budget": {"amount": "10"}}
CAP = {"priceList": "retail", "sessionCaps": {"amount": "0.5"}}


@pytest.mark.parametrize(
    ("billing", "is_refused", "told"),
    [
        # by default where money is bounded, of which relays know without a word where there is a limit
        (BUDGET, True, None),
        (CAP, True, "Refuse"),
        ({"priceList": "retail", "sessionCaps": {"calls": 5}}, False, None),
        (BUDGET | {"onUnpriced": "Refuse"}, True, None),
        (BUDGET | {"onUnpriced": "Serve"}, False, "Serve"),
        (CAP | {"onUnpriced": "Serve"}, False, None),
        ({"priceList": "retail", "onUnpriced": "Refuse"}, True, "Refuse"),
    ],
)
def test_calls_without_a_price_are_refused_or_served_as_the_spec_says(
    billing: dict[str, Any], is_refused: bool, told: str | None
) -> None:
    spec = tenant_with_billing(**billing).spec.billing
    tool_rates = charge_tool_rates(TOOL_LIST, 0)[0]
    found = spending(spec, charge_rates(LIST, 0)[0], tool_rates)
    assert refuses_unpriced(spec) == is_refused
    assert found is not None
    assert found.on_unpriced == told
    # who refuses has to know what has a price
    if is_refused:
        assert found.rates
        # a session's cap counts no tools
        assert bool(found.tool_rates) == (billing != CAP)
    earlier = for_earlier_relays(found)
    assert earlier is not None
    assert "onUnpriced" not in earlier.model_dump(by_alias=True)


@pytest.mark.parametrize("bound", [{}, BUDGET, CAP])
def test_who_pays_for_callers_that_leave_is_told_where_it_is_the_tenant(
    bound: dict[str, Any],
) -> None:
    billing = {"priceList": "retail", **bound}
    before = spending(tenant_with_billing(**billing).spec.billing, charge_rates(LIST, 0)[0])
    for said, told in (("Waive", None), ("Charge", "Charge")):
        spec = tenant_with_billing(**billing, onAbandoned=said).spec.billing
        found = spending(spec, charge_rates(LIST, 0)[0])
        if told is None:
            assert found == before
            continue
        assert found is not None
        assert found.on_abandoned == told
        earlier = for_earlier_relays(found)
        assert earlier is not None
        assert "onAbandoned" not in earlier.model_dump(by_alias=True)


def test_nothing_is_refused_where_nothing_is_said_and_nothing_bounded() -> None:
    billing = {"priceList": "retail", "onUnpriced": "Serve"}
    assert spending(tenant_with_billing(**billing).spec.billing, charge_rates(LIST, 0)[0]) is None


def test_caps_of_sessions_need_rates_for_money_alone() -> None:
    counted = tenant_with_billing(sessionCaps={"calls": 5}).spec.billing
    told = spending(counted, charge_rates(LIST, 0)[0])
    assert told is not None
    assert (told.session_caps, told.rates) == (SessionCaps(calls=5), ())
    paid = tenant_with_billing(priceList="retail", sessionCaps={"amount": "0.5"}).spec.billing
    told = spending(paid, charge_rates(LIST, 0)[0])
    assert told is not None
    assert told.session_caps == SessionCaps(amount_micro=500_000)
    assert told.rates


def test_the_ledger_is_told_amounts_and_thresholds() -> None:
    told = tenant_budget(
        tenant_with_billing(
            priceList="retail",
            zone="Asia/Shanghai",
            budget={"amount": "12.5", "period": "Day", "alertAtPercent": [100, 50]},
            credit={"alertBelow": ["1"]},
        )
    )
    assert told.budget is not None
    assert told.credit is not None
    assert (told.zone, told.budget.amount_pico, told.budget.period) == (
        *("Asia/Shanghai", 12_500_000_000_000),
        "Day",
    )
    assert told.budget.alert_at_percent == (50, 100)
    assert told.credit.alert_below_pico == (10**12,)


def test_a_price_that_a_list_does_not_have_is_not_0() -> None:
    models = [
        {"name": "embeddings", "prices": [{"perMillionTokens": {"input": "1"}}]},
        {"name": "voice", "prices": [{"perMillionTokens": {"output": "4"}}]},
    ]
    embeddings, voice = charge_rates({"currency": "USD", "models": models}, 0)[0]
    assert (embeddings.input, embeddings.cached, embeddings.output) == (1_000_000, 1_000_000, None)
    assert (voice.input, voice.cached, voice.output) == (None, None, 4_000_000)
    written = embeddings.model_dump(by_alias=True)
    assert "output" not in written
    assert Rate.model_validate(written) == embeddings


def test_rates_have_every_dimension_of_a_price() -> None:
    price = {
        "serviceTier": "Priority",
        "region": "eu",
        "hours": {"start": "16:30", "end": "00:30"},
        "perMillionTokens": {"input": "1", "output": "4", "cacheWrite": "2", "audioInput": "9"},
        "perPiece": {"webSearch": "0.01"},
    }
    models = [{"name": "claude", "prices": [price]}]
    ((rate,), _) = charge_rates({"currency": "USD", "models": models}, 0)
    assert (rate.tier, rate.region, rate.hours) == ("priority", "eu", (59_400, 1_800))
    assert (rate.cache_write, rate.cache_write_hour) == (2_000_000, None)
    assert (rate.audio_input, rate.web_search) == (9_000_000, 10_000)


def test_relays_of_an_earlier_version_get_plain_prices_alone() -> None:
    plain = {"input": "1", "output": "4", "reasoning": "6", "cacheWrite": "2"}
    models = [
        {"name": "claude", "prices": [{"perMillionTokens": plain}]},
        {
            "name": "tiers",
            "prices": [
                {"perMillionTokens": {"input": "1"}},
                {"perMillionTokens": {"input": "3"}, "serviceTier": "priority"},
                {"perMillionTokens": {"input": "2"}, "region": "eu"},
            ],
        },
        {"name": "dear", "prices": [{"perMillionTokens": {"input": "1000"}}]},
    ]
    billing = tenant_with_billing(priceList="retail", budget={"amount": "10"}).spec.billing
    rates = charge_rates({"currency": "USD", "models": models}, 10)[0]
    told = for_earlier_relays(spending(billing, rates))
    assert told is not None
    assert told.limits == ("budget",)
    first, second = told.rates
    # reasoning is what an answer's tokens may cost at most; a price above what they take is left out, as before
    assert first == Rate(
        model="claude", input=1_100_000, cached=1_100_000, output=6_600_000, call=0
    )
    assert (second.model, second.input) == ("tiers", 1_100_000)
    assert for_earlier_relays(None) is None
    many = tuple(second.model_copy(update={"model": f"m{n // 12}"}) for n in range(22 * 12))
    fitting = for_earlier_relays(spending(billing, many))
    # 21 models of twelve rates are 252 of the 256 that they take; of another one four would fit
    assert fitting is not None
    assert len(fitting.rates) == 252
    unchanged = spending(billing, (second,))
    assert for_earlier_relays(unchanged) is unchanged


def test_the_dearest_prices_with_the_highest_percentage_fit_a_rate() -> None:
    prices = [{"perMillionTokens": {"input": "1000"}, "perPiece": {"call": "100"}}]
    ((rate,), _) = charge_rates({"models": [{"name": "m", "prices": prices}]}, 1000)
    assert (rate.input, rate.call) == (11_000_000_000, 1_100_000_000)


def test_a_model_that_the_document_has_no_room_for_is_left_out_whole_and_named() -> None:
    def model(name: str, prices: int) -> dict[str, Any]:
        dates = [f"20{10 + number}-01-01" for number in range(prices + 1)]
        return {
            "name": name,
            "prices": [
                {"perMillionTokens": {"input": "1"}, "from": start, "until": end}
                for start, end in itertools.pairwise(dates)
            ],
        }

    models = [*(model(f"model-{number:02}", 12) for number in range(43)), model("one", 1)]
    rates, left_out = charge_rates({"currency": "USD", "models": models}, 10)
    # 42 models of twelve prices are 504: the next one does not fit, a small one after it does
    assert left_out == ("model-42",)
    assert len(rates) == 505
    assert {rate.model for rate in rates} == {f"model-{n:02}" for n in range(42)} | {"one"}
    assert charge_rates(LIST, 0)[1] == ()


def test_prices_of_tools_come_to_relays_where_something_refuses_calls() -> None:
    rates, left_out = charge_tool_rates(TOOL_LIST, 10)
    assert rates == (
        ToolRate(name="*", call=0, ends_at=DECEMBER),
        ToolRate(server="erp", name="read_*", call=11_000, pays_errors=False),
    )
    assert left_out == ()
    assert charge_tool_rates(LIST, 10) == ((), ())
    hard = tenant_with_billing(priceList="retail", credit={}).spec.billing
    told = spending(hard, (), rates)
    assert told is not None
    assert told.tool_rates == rates
    # caps of a session count no tools
    capped = tenant_with_billing(priceList="retail", sessionCaps={"amount": "1"}).spec.billing
    told = spending(capped, (), rates)
    assert told is not None
    assert told.tool_rates == ()


def test_a_server_whose_prices_the_document_has_no_room_for_has_none() -> None:
    def tool(server: str, number: int) -> dict[str, Any]:
        return {"name": f"tool-{number}", "server": server, "prices": [{"perCall": "1"}]}

    tools = [
        *(tool("large", number) for number in range(MAX_TOOL_RATES)),
        *(tool("small", number) for number in range(MAX_TOOL_RATES - 2)),
    ]
    rates, left_out = charge_tool_rates({"tools": tools}, 0)
    assert left_out == ("large/*",)
    assert len(rates) == MAX_TOOL_RATES - 1
    assert [one.call for one in rates if one.server == "large"] == [None]


def test_the_largest_prices_fit_the_room_that_a_document_has_for_them() -> None:
    long = {"perMillionTokens": dict.fromkeys(PRICED, "999.999999"), "serviceTier": '"' * 32}
    pieces = {"perPiece": {"call": "99.999999"}, "hours": {"start": "16:30", "end": "00:30"}}
    models = [
        {"name": f"{number:03}".ljust(128, '"'), "prices": [long | pieces]} for number in range(300)
    ]
    tools = [
        {"name": f"{number:03}".ljust(128, "x"), "server": f"s{number % 9}", "prices": [price]}
        for number in range(250)
        for price in ({"perCall": "99.999999"},)
    ]
    rates, left_out = charge_rates({"currency": "USD", "models": models}, 10)
    tool_rates, left_servers = charge_tool_rates({"currency": "USD", "tools": tools}, 10)
    assert left_out
    assert left_servers
    assert len(rates) + len(left_out) == 300
    told = spending(
        tenant_with_billing(priceList="retail", credit={}).spec.billing, rates, tool_rates
    )
    assert told is not None
    assert size_of(told) <= RATES_BYTES + TOOL_RATES_BYTES + 1024
    # of each server that has no room something says so, and the others are whole
    priced = {one.server for one in tool_rates if one.call is not None}
    unpriced = {one.server for one in tool_rates if one.call is None}
    assert not priced & unpriced
    assert priced | unpriced == {f"s{number}" for number in range(9)}
