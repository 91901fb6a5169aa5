"""Sums of amounts over a tenant's whole life, which may be more than the 63 bits that SQLite adds up to. PostgreSQL has no such bound."""

from typing import Any, Final

from sqlalchemy import Column, ColumnElement, func

_PART: Final = 10**6


def exact_sum(column: Column[int]) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """Returns a sum as two columns: of millions, and of what is left of each amount. whole makes one number of them."""
    return func.sum(column // _PART), func.sum(column % _PART)


def whole(millions: Any, rest: Any) -> int | None:
    """Returns the number of the two, None where nothing was summed."""
    return None if millions is None else int(millions) * _PART + int(rest)
