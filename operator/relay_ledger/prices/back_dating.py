"""What another version of a price list changes of a time that has passed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from relay_ledger.prices.price_list import PriceEntry, PriceList, ToolPrice

_Price = TypeVar("_Price", PriceEntry, ToolPrice)


@dataclass(frozen=True, slots=True)
class BackDated:
    """Models whose prices of the past are others than they were, and since when; None where they always were.

    A tool stands among them by its server and name, or pattern.
    """

    since: int | None
    models: tuple[str, ...]


def back_dated(former: PriceList, latter: PriceList, *, now: int) -> BackDated | None:
    """Compares what two versions say of the time before now, microseconds since 1970; None where they say the same.

    An entry that is only given an end, or followed by another one, from now on is the same as before.
    """
    differing: list[tuple[str, int | None]] = []
    for model in former.by_model.keys() | latter.by_model.keys():
        was, becomes = (list(_past(one.by_model.get(model, ()), now)) for one in (former, latter))
        differing += [(model, one.starts_at) for one in _changed(was, becomes)]
    was_paid, is_paid = (list(_past_of_tools(one.tools, now)) for one in (former, latter))
    differing += [(one.title, one.starts_at) for one in _changed(was_paid, is_paid)]
    if not differing:
        return None
    starts = [since for _, since in differing]
    first = None if None in starts else min(one for one in starts if one is not None)
    return BackDated(first, tuple(sorted({model for model, _ in differing})))


def _changed(was: list[_Price], becomes: list[_Price]) -> list[_Price]:
    return [one for one in was if one not in becomes] + [one for one in becomes if one not in was]


def _past_of_tools(prices: tuple[ToolPrice, ...], now: int) -> Iterator[ToolPrice]:
    """Yields what of the prices of tools holds before now."""
    for price in prices:
        if price.starts_at is None or price.starts_at < now:
            end = now if price.ends_at is None else min(price.ends_at, now)
            yield replace(price, ends_at=end)


def _past(entries: tuple[PriceEntry, ...], now: int) -> Iterator[PriceEntry]:
    """Yields what of the entries holds before now, each without the names of the models that share it."""
    for entry in entries:
        if entry.starts_at is None or entry.starts_at < now:
            end = now if entry.ends_at is None else min(entry.ends_at, now)
            yield replace(entry, models=frozenset(), ends_at=end)
