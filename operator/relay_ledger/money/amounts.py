"""Amounts: text to integer and back, exactly.

A price of P micro-USD per million tokens is P pico-USD per token, so a cost is a product of two integers.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

MICROS: Final = 10**6
PICOS: Final = 10**12
PICOS_PER_MICRO: Final = PICOS // MICROS
MAX_PRICE_MICRO: Final = 10**9
"""1,000 USD per million tokens, above every price that was ever asked: with the most tokens of an attempt it fits 63 bits."""
MAX_UNIT_PRICE_MICRO: Final = 10**8
"""100 USD for one piece."""
HIGHEST_MARKUP: Final = 11
"""A list may be another one with a percentage on top, of 1000 at most: its prices are up to so many times as high. An attempt of more than 63
bits, nine million USD, is then kept apart.
"""
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,17})(?:\.([0-9]{1,6}))?")


class NotAnAmount(ValueError):
    """A text that is no price; the message says what is one."""


def micro_usd(text: str) -> int:
    """Reads a price in USD: digits, and at most six after the point. Raises NotAnAmount."""
    found = _PRICE.fullmatch(text)
    if found is None:
        raise NotAnAmount(
            f"{text[:40]!r} is no price: digits, a point and at most six digits after it, as in '0.075'"
        )
    whole, fraction = found.groups()
    return int(whole) * MICROS + int((fraction or "").ljust(6, "0"))


def price_text(micro: int) -> str:
    """Writes a price that micro_usd reads, without zeros at its end."""
    whole, fraction = divmod(micro, MICROS)
    return f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")


def rounded_micro_usd(usd: Decimal) -> tuple[int, bool]:
    """Rounds what somebody publishes to micro-USD, half to even, once; returns whether that changed it. Raises NotAnAmount."""
    if not usd.is_finite() or usd < 0:
        raise NotAnAmount(f"{usd} is no price")
    exact = usd * MICROS
    micro = int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))
    return micro, micro != exact


def usd_text(pico: int) -> str:
    """Writes an amount exactly, with two digits or more after the point and never with an exponent."""
    sign = "-" if pico < 0 else ""
    whole, fraction = divmod(abs(pico), PICOS)
    digits = f"{fraction:012d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"
