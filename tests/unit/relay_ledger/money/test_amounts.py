"""Amounts are integers: read and written exactly, and rounded in one place, where the lines still make the total."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_contract.billing.token_buckets import MAX_TOKENS, MAX_UNITS, UNITS
from relay_ledger.money.amounts import (
    MAX_PRICE_MICRO,
    MAX_UNIT_PRICE_MICRO,
    PICOS,
    PICOS_PER_MICRO,
    NotAnAmount,
    micro_usd,
    price_text,
    rounded_micro_usd,
    usd_text,
)
from relay_ledger.money.rounding import (
    CNY,
    USD,
    USD_RATE,
    Currency,
    apportioned,
    half_even,
    minor_text,
    statement_lines,
)


@given(micro=st.integers(0, MAX_PRICE_MICRO))
def test_a_price_is_read_as_it_was_written(micro: int) -> None:
    assert micro_usd(price_text(micro)) == micro
    assert Decimal(price_text(micro)) * 10**6 == micro


@pytest.mark.parametrize(
    ("text", "micro"),
    [("0", 0), ("2", 2_000_000), ("0.075", 75_000), ("0.000001", 1), ("150.00", 150_000_000)],
)
def test_a_price_is_digits_and_at_most_six_after_the_point(text: str, micro: int) -> None:
    assert micro_usd(text) == micro


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "NaN", "inf", ".5", "5.", "0.0000001", "1,5", " 1", "1\n", "01", "٣"],
)
def test_everything_else_is_no_price(text: str) -> None:
    with pytest.raises(NotAnAmount, match="is no price"):
        micro_usd(text)


@pytest.mark.parametrize(
    ("published", "micro", "changed"),
    [
        ("0.075", 75_000, False),
        ("0.0833333333", 83_333, True),
        ("0.049999999999999996", 50_000, True),
        ("0.0000005", 0, True),
        ("0.0000015", 2, True),
        ("6E+2", 600_000_000, False),
    ],
)
def test_what_is_published_is_rounded_once_and_told(
    published: str, micro: int, changed: bool
) -> None:
    assert rounded_micro_usd(Decimal(published)) == (micro, changed)


@pytest.mark.parametrize("published", ["NaN", "Infinity", "-0.1"])
def test_what_is_published_and_no_price_is_refused(published: str) -> None:
    with pytest.raises(NotAnAmount):
        rounded_micro_usd(Decimal(published))


def test_the_largest_attempt_fits_a_column_of_63_bits() -> None:
    pieces = len(UNITS) * MAX_UNITS * MAX_UNIT_PRICE_MICRO * PICOS_PER_MICRO
    assert MAX_TOKENS * MAX_PRICE_MICRO + pieces + MAX_UNIT_PRICE_MICRO * PICOS_PER_MICRO < 2**63


@given(pico=st.integers(-(10**30), 10**30))
def test_an_amount_is_written_exactly_and_without_an_exponent(pico: int) -> None:
    text = usd_text(pico)
    assert "E" not in text
    assert Fraction(text) == Fraction(pico, PICOS)


def test_small_calls_are_not_free() -> None:
    # 20 tokens at 0.10 USD a million
    assert usd_text(20 * micro_usd("0.10")) == "0.000002"
    assert usd_text(-3 * PICOS) == "-3.00"


@given(numerator=st.integers(), denominator=st.integers(1, 10**9))
def test_halves_go_to_the_even_one(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


PICO_LINES = st.lists(st.integers(-(10**18), 10**18), max_size=20)


@given(picos=PICO_LINES, denominator=st.integers(1, 10**12))
def test_lines_make_the_rounded_total_and_each_is_off_by_less_than_one(
    picos: list[int], denominator: int
) -> None:
    lines = apportioned(picos, denominator)
    assert sum(lines) == half_even(sum(picos), denominator)
    assert all(
        abs(Fraction(pico, denominator) - line) < 1 for pico, line in zip(picos, lines, strict=True)
    )


@given(picos=PICO_LINES, rate=st.integers(1, 10**9))
def test_a_statement_of_any_currency_sums(picos: list[int], rate: int) -> None:
    lines = statement_lines(picos, CNY, rate=rate)
    assert sum(lines) == round(Fraction(sum(picos) * rate, PICOS * 10**6) * 100)


def test_three_thirds_of_a_cent_are_a_cent() -> None:
    third = PICOS // 300 + 1
    assert statement_lines([third] * 3, USD, rate=USD_RATE) == [1, 0, 0]
    assert statement_lines([PICOS], CNY, rate=7_123_456) == [712]
    assert minor_text(712, CNY) == "7.12 CNY"
    assert minor_text(-5, USD) == "-0.05 USD"
    assert minor_text(5, Currency("JPY", 0)) == "5 JPY"
