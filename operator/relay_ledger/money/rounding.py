"""The one place where money is rounded: the lines of a statement, in the minor unit of its currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relay_ledger.money.amounts import MICROS, PICOS

USD_RATE: Final = MICROS
"""A rate is micro-units of the currency for one USD."""


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency of statements: its ISO 4217 code and how many digits its minor unit has."""

    code: str
    minor_digits: int


USD: Final = Currency("USD", 2)
CNY: Final = Currency("CNY", 2)
CURRENCIES: Final = {
    currency.code: currency
    for currency in (
        *(USD, CNY),
        *(Currency(code, 2) for code in ("AUD", "CAD", "CHF", "EUR", "GBP", "HKD", "INR", "SGD")),
        *(Currency(code, 0) for code in ("JPY", "KRW")),
        *(Currency(code, 3) for code in ("BHD", "KWD")),
    )
}
"""By code: those that a statement may be in."""


def half_even(numerator: int, denominator: int) -> int:
    """Divides, and rounds to the nearest integer, halves to the even one. denominator is above 0."""
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        quotient += 1
    return quotient


def apportioned(numerators: Sequence[int], denominator: int) -> list[int]:
    """Divides each, so that the results sum to the rounded sum: what rounding down leaves over goes to the largest remainders.

    Each result is less than 1 from the exact one. Of equal remainders the first gets it.
    """
    total = half_even(sum(numerators), denominator)
    shares = [divmod(numerator, denominator) for numerator in numerators]
    missing = total - sum(quotient for quotient, _ in shares)
    order = sorted(range(len(shares)), key=lambda place: -shares[place][1])
    raised = set(order[:missing])
    return [quotient + (place in raised) for place, (quotient, _) in enumerate(shares)]


def statement_lines(picos: Sequence[int], currency: Currency, *, rate: int) -> list[int]:
    """Returns amounts in the minor unit of the currency, at `rate` micro-units for one USD; they sum to the rounded total."""
    factor = rate * 10**currency.minor_digits
    return apportioned([pico * factor for pico in picos], PICOS * MICROS)


def minor_text(minor: int, currency: Currency) -> str:
    """Writes an amount of minor units, as `12.30 CNY`."""
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**currency.minor_digits)
    digits = f".{fraction:0{currency.minor_digits}d}" if currency.minor_digits else ""
    return f"{sign}{whole}{digits} {currency.code}"
