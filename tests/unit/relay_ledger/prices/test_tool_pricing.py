"""The price of a tool call: the most specific one that holds; what a list is meant to price and does not is never 0."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.tools.patterns import covers
from relay_ledger.prices.back_dating import back_dated
from relay_ledger.prices.price_file import read_price_list, write_price_list
from relay_ledger.prices.price_list import InvalidPrices, PriceList, ToolPrice
from relay_ledger.prices.pricing import Priced, Unpriced
from relay_ledger.prices.tool_pricing import ToolUse, price_of_call

NOON = 1_790_000_000_000_000
LIST = """
name: retail
currency: USD
entries: []
tools:
- {tools: ["*"], perCall: '0.001'}
- {server: erp, tools: ["*"], perCall: '0.002'}
- {server: erp, tools: ["read_*"], perCall: '0.003'}
- {server: erp, tools: ["read_all_*"], perCall: '0.004'}
- {server: erp, tools: [read_all_invoices, pay], perCall: '0.005'}
- {server: erp, tools: [pay_later], from: '2026-10-01', perCall: '0.006'}
- {server: crm, tools: [find], until: '2026-01-01', perCall: '1'}
- {server: crm, tools: [search], perCall: '2', toolErrors: Free}
"""


def price(text: str, name: str, *, at: int = NOON, is_error: bool = False) -> Any:
    server, _, tool = name.partition("/")
    return price_of_call(ToolUse(server, tool, at, is_error), read_price_list(text))


@pytest.mark.parametrize(
    ("name", "micro"),
    [
        ("erp/read_invoice", 3000),
        ("erp/read_all_orders", 4000),
        ("erp/read_all_invoices", 5000),
        ("erp/pay", 5000),
        # letters count as they are written
        ("erp/Pay", 2000),
        # its own price begins later: until then the pattern's holds
        ("erp/pay_later", 2000),
        ("wiki/anything", 1000),
        # its price of its own has ended
        ("crm/find", 1000),
        ("crm/search", 2_000_000),
    ],
)
def test_the_most_specific_price_that_holds_counts(name: str, micro: int) -> None:
    found = price(LIST, name)
    assert isinstance(found, Priced)
    prices = read_price_list(LIST)
    assert (found.pico, found.version) == (micro * 10**6, prices.version)
    assert prices.tools[found.entry].call == micro


def test_a_price_holds_from_its_first_moment_up_to_its_last() -> None:
    begin = 1_790_812_800_000_000
    assert price(LIST, "erp/pay_later", at=begin - 1).pico == 2000 * 10**6
    assert price(LIST, "erp/pay_later", at=begin).pico == 6000 * 10**6


def test_what_a_tool_says_failed_costs_the_same_unless_the_price_says_otherwise() -> None:
    assert price(LIST, "erp/pay", is_error=True).pico == 5000 * 10**6
    free = price(LIST, "crm/search", is_error=True)
    assert (free.pico, free.version) == (0, read_price_list(LIST).version)


def test_a_server_of_which_a_list_says_nothing_is_free_and_any_other_tool_without_a_price_is_unpriced() -> (
    None
):
    own = LIST.replace("- {tools: [\"*\"], perCall: '0.001'}\n", "")
    assert price(own, "wiki/anything") is None
    found = price(own, "crm/other")
    assert isinstance(found, Unpriced)
    assert (found.reason, found.detail) == ("tool", "crm/other")
    found = price(own, "crm/find")
    assert isinstance(found, Unpriced)
    assert found.reason == "time"


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("0.005", "NaN", "tools.4.perCall: 'NaN' is no price"),
        ("0.005", "-1", "tools.4.perCall: '-1' is no price"),
        ("0.005", "0.0000001", "at most six digits"),
        ("0.005", "1100.000001", "is more than 1100 USD"),
        ("'0.005'", "0.005", "tools.4.perCall: Input should be a valid string; write it in quotes"),
        ("[read_all_invoices, pay]", "[]", "tools.4.tools: List should have at least 1 item"),
        ("[read_all_invoices, pay]", "[pay, pay]", "tool erp/pay: two prices hold at one time"),
        ("[read_all_invoices, pay]", '["read_*"]', "tool erp/read_*: two prices hold at one time"),
        ("[read_all_invoices, pay]", '["*pay"]', "tools.4.tools.0: String should match"),
        ("server: crm, tools: [search]", "server: A B, tools: [s]", "tools.7.server: "),
        ("toolErrors: Free", "toolErrors: free", "tools.7.toolErrors: Input should be 'Billed'"),
        ("from: '2026-10-01'", "from: '2026-10-01', until: '2026-10-01'", "tools.5: until is not after from"),
        ("until: '2026-01-01'", "until: 2026-02-30", "tools.6.until: there is no time"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_its_place(one: str, other: str, reason: str) -> None:
    assert LIST.count(one) == 1
    with pytest.raises(InvalidPrices) as refused:
        read_price_list(LIST.replace(one, other))
    assert reason in str(refused.value)


def test_a_list_without_tools_has_the_version_that_it_always_had() -> None:
    text = "name: openai\ncurrency: USD\nentries:\n- {models: [m], prices: {input: '2'}}\n"
    assert read_price_list(text).version == "openai@a91b95acde045976"
    priced = text + "tools:\n- {tools: [a], perCall: '1'}\n"
    assert len({read_price_list(one).version for one in (text, priced, priced.replace("'1'", "'2'"))}) == 3  # fmt: skip


def test_another_price_of_the_past_is_told_with_its_tool_and_one_that_begins_now_is_not() -> None:
    was = read_price_list(LIST)
    dearer = read_price_list(LIST.replace("pay], perCall: '0.005'", "pay], perCall: '0.05'"))
    found = back_dated(was, dearer, now=NOON)
    assert found is not None
    assert (found.since, found.models) == (None, ("erp/pay", "erp/read_all_invoices"))
    later = LIST.replace("'0.006'", "'6'")
    assert back_dated(was, read_price_list(later), now=NOON) is None
    ended = LIST.replace("crm, tools: [search]", "crm, tools: [search], until: '2027-01-01'")
    assert back_dated(was, read_price_list(ended), now=NOON) is None


@st.composite
def tool_prices(draw: st.DrawFn) -> ToolPrice:
    starts_at = draw(st.none() | st.integers(0, 2**50))
    return ToolPrice(
        server=draw(st.sampled_from(["", "erp", "crm"])),
        pattern=draw(st.sampled_from(["a", "ab", "a*", "ab*", "*"])),
        starts_at=starts_at,
        ends_at=None if starts_at is None else draw(st.none() | st.just(starts_at + 1)),
        call=draw(st.integers(0, 10**8)),
        pays_errors=draw(st.booleans()),
    )


@given(st.lists(tool_prices(), max_size=6), st.sampled_from(["a", "ab", "abc", "x"]))
def test_a_list_is_read_as_it_was_written_and_prices_by_one_of_those_that_cover(
    tools: list[ToolPrice], tool: str
) -> None:
    try:
        prices = PriceList("ours", (), tuple(tools))
    except InvalidPrices:
        prices = PriceList("ours", (), tuple(tools[:1]))
    assert read_price_list(write_price_list(prices)) == prices
    found = price_of_call(ToolUse("erp", tool, 2**49), prices)
    fitting = [one for one in prices.tools if one.server in ("", "erp") and one.is_in_force(2**49)]
    covering = [one for one in fitting if covers(one.pattern, tool)]
    if isinstance(found, Priced):
        assert found.pico in {one.call * 10**6 for one in covering}
    else:
        assert covering == []
