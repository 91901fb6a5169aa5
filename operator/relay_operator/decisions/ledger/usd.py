"""Amounts of USD as text."""

from typing import Final

_PICOS: Final = 10**12


def usd_text(pico: int) -> str:
    """Writes an amount to a hundredth of a cent, rounded down."""
    sign = "-" if pico < 0 else ""
    whole, rest = divmod(abs(pico), _PICOS)
    digits = f"{rest // 10**8:04d}"
    return f"{sign}{whole}.{digits[:2]}{digits[2:].rstrip('0')}"


def exact_usd_text(pico: int) -> str:
    """Writes an amount exactly, with two digits or more after the point, as the ledger does."""
    sign = "-" if pico < 0 else ""
    whole, rest = divmod(abs(pico), _PICOS)
    return f"{sign}{whole}.{f'{rest:012d}'.rstrip('0').ljust(2, '0')}"
