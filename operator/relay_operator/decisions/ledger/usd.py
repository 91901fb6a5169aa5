"""Amounts of USD in sentences."""

from typing import Final

_PICOS: Final = 10**12


def usd_text(pico: int) -> str:
    """Writes an amount to a hundredth of a cent, rounded down."""
    sign = "-" if pico < 0 else ""
    whole, rest = divmod(abs(pico), _PICOS)
    digits = f"{rest // 10**8:04d}"
    return f"{sign}{whole}.{digits[:2]}{digits[2:].rstrip('0')}"
