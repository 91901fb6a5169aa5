"""Price lists as files: read strictly, written back as the same, and every mistake told by its place."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.billing.token_buckets import BUCKETS, UNITS
from relay_ledger.prices.price_file import BILLED_LIKE, read_price_list, write_price_list
from relay_ledger.prices.price_list import (
    DailyHours,
    InvalidPrices,
    PriceEntry,
    PriceList,
)

LIST = """
name: openai
currency: USD
entries:
- models: [GPT-4.1, gpt-4.1-2025-04-14]
  from: 2025-04-14
  until: '2026-01-01T00:00:00Z'
  prices: {input: '2', cacheRead: '0.5', output: '8'}
  perPiece: {webSearch: '0.01'}
  note: announced on the day
- models: [gpt-4.1]
  serviceTier: flex
  prices: {input: '1', output: '4'}
"""


def test_a_list_is_read_with_every_price_made_explicit() -> None:
    first, second = read_price_list(LIST).entries
    assert first.models == {"gpt-4.1", "gpt-4.1-2025-04-14"}
    assert (first.starts_at, first.ends_at) == (1_744_588_800_000_000, 1_767_225_600_000_000)
    assert first.tokens == {
        "input": 2_000_000,
        "cache_read": 500_000,
        "cache_write": 2_000_000,
        "cache_write_hour": 2_000_000,
        "tool_prompt": 2_000_000,
        "output": 8_000_000,
        "reasoning": 8_000_000,
    }
    assert first.pieces == {"web_search": 10_000}
    assert (first.tier, second.tier) == ("standard", "flex")
    assert second.tokens["cache_read"] == 1_000_000


def test_a_list_of_another_content_has_another_version() -> None:
    version = read_price_list(LIST).version
    assert version.startswith("openai@")
    assert read_price_list(LIST.replace("announced", "told")).version == version
    assert read_price_list(LIST.replace("'8'", "'8.000001'")).version != version
    assert read_price_list(LIST.replace("2025-04-14\n", "2025-04-15\n")).version != version


def test_a_list_may_be_json_or_look_like_it() -> None:
    entry = "{models: [gpt-4.1], prices: {input: '3'}}"
    in_braces = f"{{name: retail, currency: USD, entries: [{entry}]}}"
    assert read_price_list(in_braces) == read_price_list(json.dumps(yaml.safe_load(in_braces)))


def without(text: str) -> str:
    return LIST.replace(text, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file: "),
        ("[1]", "the file: "),
        ("{", "no YAML: "),
        ('{"name": "a", "currency": "USD", "name": "b"}', "'name' stands twice"),
        ("a: &b [*b]", "no aliases"),
        ("!!python/object:os.system {}", "no YAML: could not determine a constructor"),
        ("[" * 5000, "no YAML: "),
        (LIST.replace("currency: USD", "currency: CNY"), "currency: Input should be 'USD'"),
        (LIST.replace("name: openai", "name: Open AI"), "name: String should match"),
        (LIST.replace("name: openai", "name: openai\nname: b"), "'name' stands twice, line 3"),
        (LIST + "more: 1\n", "more: Extra inputs are not permitted"),
        (LIST.replace("output: '8'", "output: 8"), "entries.0.prices.output: Input should be a valid string; write it in quotes"),
        (LIST.replace("output: '8'", "output: .nan"), "write it in quotes"),
        (LIST.replace("output: '8'", "output: '-8'"), "entries.0.prices.output: '-8' is no price"),
        (LIST.replace("output: '8'", "output: 'NaN'"), "'NaN' is no price"),
        (LIST.replace("output: '8'", "output: '8e0'"), "'8e0' is no price"),
        (LIST.replace("output: '8'", "output: '8.0000001'"), "at most six digits"),
        (LIST.replace("output: '8'", "output: '11000.000001'"), "is more than 11000 USD"),
        (LIST.replace("output: '8'", "output: '8', output: '9'"), "'output' stands twice, line 8"),
        (LIST.replace("output: '8'", "answer: '8'"), "prices.answer is none of input, cacheRead"),
        (LIST.replace("webSearch", "search"), "perPiece.search is none of webSearch"),
        (LIST.replace("{webSearch: '0.01'}", "{webSearch: '1100.01'}"), "more than 1100 USD"),
        (LIST.replace("2025-04-14\n", "2025-02-30\n"), "entries.0.from: there is no time 2025-02-30"),
        (LIST.replace("2025-04-14\n", "2025-04-14T10:00:00+02:00\n"), "entries.0.from: String should match"),
        (LIST.replace("2025-04-14\n", "2027-01-01\n"), "entries.0: until is not after from"),
        (LIST.replace("[gpt-4.1]", "[]"), "entries.1.models: List should have at least 1 item"),
        (LIST.replace("[gpt-4.1]", "[gpt 4.1]"), "entries.1.models.0: String should match"),
        (LIST.replace("serviceTier: flex", "serviceTier: default"), "model gpt-4.1: two entries of the same provider"),
        (LIST.replace("serviceTier: flex", "hours: {start: 10:00, end: '11:00'}"), "entries.1.hours.start: Input should be a valid string; write it in quotes"),
        (LIST.replace("serviceTier: flex", "hours: {start: '10:00', end: '10:00'}"), "leave hours out"),
        (LIST.replace("serviceTier: flex", "hours: {start: '24:00', end: '10:00'}"), "String should match"),
        (LIST.replace("serviceTier: flex", "aboveInputTokens: -1"), "entries.1.aboveInputTokens: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_its_place(text: str, reason: str) -> None:
    assert text != LIST
    with pytest.raises(InvalidPrices) as refused:
        read_price_list(text)
    assert reason in str(refused.value)


def test_an_entry_may_begin_when_another_ends() -> None:
    text = LIST.replace("serviceTier: flex", "from: 2026-01-01")
    assert len(read_price_list(text).entries) == 2
    with pytest.raises(InvalidPrices, match="give the earlier one `until`"):
        read_price_list(LIST.replace("serviceTier: flex", "from: 2025-12-31T23:59:59.999999Z"))


@pytest.mark.parametrize(
    ("hours", "meet"),
    [
        (("00:00", "01:00"), False),
        (("04:00", "23:00"), False),
        (("03:59", "05:00"), True),
        (("22:00", "01:30"), True),
        (("20:00", "01:00"), False),
    ],
)
def test_hours_of_two_entries_do_not_meet(hours: tuple[str, str], meet: bool) -> None:
    def entry(start: str, end: str) -> str:
        return f"- {{models: [m], hours: {{start: '{start}', end: '{end}'}}, prices: {{input: '1'}}}}\n"

    text = "name: a\ncurrency: USD\nentries:\n" + entry("01:00", "04:00") + entry(*hours)
    if meet:
        with pytest.raises(InvalidPrices, match="hours"):
            read_price_list(text)
    else:
        assert len(read_price_list(text).entries) == 2


AMOUNTS = st.integers(0, 10**8)


def explicit(tokens: dict[Any, int]) -> dict[Any, int]:
    for bucket, like in BILLED_LIKE:
        if bucket not in tokens and like in tokens:
            tokens[bucket] = tokens[like]
    return tokens


@st.composite
def entries(draw: st.DrawFn) -> PriceEntry:
    starts_at = draw(st.none() | st.integers(0, 2**50))
    ends_at = draw(st.none() | st.integers(1, 2**50))
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        ends_at = None
    minutes = st.integers(0, 1439)
    start, end = draw(st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]))
    tokens = st.dictionaries(st.sampled_from(BUCKETS), AMOUNTS, min_size=1)
    return PriceEntry(
        models=frozenset({draw(st.sampled_from("abcdef"))}),
        provider=draw(st.sampled_from(["", "openai"])),
        tier=draw(st.sampled_from(["standard", "flex"])),
        region=draw(st.sampled_from(["", "us"])),
        above_input_tokens=draw(st.sampled_from([0, 200_000])),
        starts_at=starts_at,
        ends_at=ends_at,
        hours=draw(st.none() | st.just(DailyHours(start * 60, end * 60))),
        tokens=explicit(draw(tokens)),
        pieces=draw(st.dictionaries(st.sampled_from([*UNITS, "call"]), AMOUNTS)),
    )


@given(one=entries(), other=entries())
def test_a_list_is_read_as_it_was_written(one: PriceEntry, other: PriceEntry) -> None:
    try:
        prices = PriceList("ours", (one, other))
    except InvalidPrices:
        prices = PriceList("ours", (one,))
    text = write_price_list(prices, comments=("from somewhere",))
    assert read_price_list(text) == prices
    assert read_price_list(text).version == prices.version


@given(content=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "currency", "entries", "models", "prices"]), inner)))  # fmt: skip
def test_no_file_does_more_than_be_refused(content: Any) -> None:
    with pytest.raises(InvalidPrices):
        read_price_list(yaml.safe_dump(content))
