"""What another version of a price list changes of a time that has passed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from relay_ledger.prices.price_list import PriceEntry, PriceList


@dataclass(frozen=True, slots=True)
class BackDated:
    """Models whose prices of the past are others than they were, and since when; None where they always were."""

    since: int | None
    models: tuple[str, ...]


def back_dated(former: PriceList, latter: PriceList, *, now: int) -> BackDated | None:
    """Compares what two versions say of the time before now, microseconds since 1970; None where they say the same.

    An entry that is only given an end, or followed by another one, from now on is the same as before.
    """
    differing: list[tuple[str, int | None]] = []
    for model in former.by_model.keys() | latter.by_model.keys():
        was, becomes = (list(_past(one.by_model.get(model, ()), now)) for one in (former, latter))
        changed = [one for one in was if one not in becomes] + [
            one for one in becomes if one not in was
        ]
        differing += [(model, one.starts_at) for one in changed]
    if not differing:
        return None
    starts = [since for _, since in differing]
    first = None if None in starts else min(one for one in starts if one is not None)
    return BackDated(first, tuple(sorted({model for model, _ in differing})))


def _past(entries: tuple[PriceEntry, ...], now: int) -> Iterator[PriceEntry]:
    """Yields what of the entries holds before now, each without the names of the models that share it."""
    for entry in entries:
        if entry.starts_at is None or entry.starts_at < now:
            end = now if entry.ends_at is None else min(entry.ends_at, now)
            yield replace(entry, models=frozenset(), ends_at=end)
