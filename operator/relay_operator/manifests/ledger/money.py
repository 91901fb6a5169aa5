"""Amounts of USD of a spec as integers."""

from typing import Final

MICROS: Final = 10**6
PICOS_PER_MICRO: Final = 10**6


def micro_usd(text: str) -> int:
    """Reads digits, and at most six after a point; raises ValueError."""
    whole, _, fraction = text.partition(".")
    return int(whole) * MICROS + int((fraction + "000000")[:6])
