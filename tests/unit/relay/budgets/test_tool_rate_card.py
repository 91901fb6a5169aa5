"""Relays reckon a call of a tool as the ledger books it, and refuse one of which nobody knows the price."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.budgets.tool_rate_card import ToolRateCard
from relay_contract.spending import ToolRate
from relay_ledger.prices.price_file import price_list_of
from relay_ledger.prices.price_list import InvalidPrices
from relay_ledger.prices.pricing import Priced
from relay_ledger.prices.tool_pricing import ToolUse, price_of_call
from relay_operator.manifests.ledger import books
from relay_operator.manifests.ledger.spending import charge_tool_rates

NEW_YEAR = 1_798_761_600_000_000
TIMES: tuple[dict[str, str], ...] = (
    {},
    {"until": "2027-01-01T00:00:00Z"},
    {"from": "2027-01-01T00:00:00Z"},
)


def card(*rates: ToolRate) -> ToolRateCard:
    return ToolRateCard(rates)


def test_a_server_that_no_rate_names_is_free_and_another_tool_has_no_price() -> None:
    rates = card(ToolRate(server="erp", name="read_*", call=7))
    assert rates.is_free("wiki")
    assert not rates.is_free("erp")
    assert rates.rate("erp", "pay", 0) is None
    assert not card(ToolRate(name="find", call=7)).is_free("wiki")


@st.composite
def tools(draw: st.DrawFn) -> dict[str, Any]:
    price = {"perCall": f"0.{draw(st.integers(0, 999_999)):06d}", **draw(st.sampled_from(TIMES))}
    if draw(st.booleans()):
        price["toolErrors"] = "Free"
    return {
        "server": draw(st.sampled_from(["", "erp", "crm"])),
        "name": draw(st.sampled_from(["a", "ab", "a*", "ab*", "*"])),
        "prices": [price],
    }


@given(
    st.lists(tools(), max_size=8),
    st.integers(-99, 1000),
    st.sampled_from(["erp", "wiki"]),
    st.sampled_from(["a", "ab", "abc", "x"]),
    st.integers(NEW_YEAR - 1, NEW_YEAR),
    st.booleans(),
)
def test_a_relay_reckons_what_the_ledger_books(
    listed: list[dict[str, Any]], percent: int, server: str, tool: str, at: int, is_error: bool
) -> None:
    spec = {"currency": "USD", "models": [], "tools": listed}
    try:
        prices = price_list_of(books.charge_prices("standard", spec, percent))
    except InvalidPrices:
        # two of them hold at one time
        return
    booked = price_of_call(ToolUse(server, tool, at, is_error), prices)
    rates = ToolRateCard(charge_tool_rates(spec, percent)[0])
    rate = rates.rate(server, tool, at)
    assert rates.is_free(server) == (booked is None)
    assert (rate is not None) == isinstance(booked, Priced)
    if rate is not None and isinstance(booked, Priced):
        assert rate.call is not None
        paid = rate.call if rate.pays_errors or not is_error else 0
        assert paid * 10**6 == booked.pico
