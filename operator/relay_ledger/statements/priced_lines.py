"""Lines of what was used: one for each model, kind of token and price, so that quantity times unit price is the amount.

A price that changes within the period gives lines of its own, with the times of the first and the last request that it was used for. So does
another price list, or another markup, which is a list of its own.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from relay_contract.billing.service_tiers import STANDARD
from relay_contract.billing.token_buckets import BUCKETS, INPUT_BUCKETS, UNITS
from relay_ledger.money.amounts import MICROS
from relay_ledger.periods.months import Period
from relay_ledger.prices.price_list import PriceEntry, PriceList, ToolPrice, hours_text
from relay_ledger.reports.figures import OUTPUT_BUCKETS
from relay_ledger.statements.statement import CALL, Line

COUNTED: Final[tuple[str, ...]] = (*BUCKETS, *UNITS)
"""What has a price of its own; a request has one beside them."""


@dataclass(frozen=True, slots=True)
class Used:
    """What was charged by one entry of a price list, or by none. With a server, model is one of its tools.

    section counts the price lists that the tenant had one after the other in the period. entry is the place in the list of `version`.
    figures are of COUNTED. The times are those at which the first and the last request were sent, microseconds since 1970.
    """

    server: str
    model: str
    section: int
    version: str
    entry: int
    requests: int
    abandoned: int
    unpriced: int
    amount_pico: int
    figures: Mapping[str, int]
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class _Price:
    """Micro-USD for a million tokens or for one piece, by what is counted, and of which calls: those of a list under some conditions."""

    list_name: str
    conditions: str
    micro: Mapping[str, int]

    def of(self, used: Used) -> Iterator[tuple[str, int, int, int]]:
        """Yields what was counted: its name, how much, its price, and for how many the price is."""
        yield CALL, used.requests, self.micro.get(CALL, 0), 1
        for name in COUNTED:
            if used.figures[name]:
                per = 1 if name in UNITS else MICROS
                yield name, used.figures[name], self.micro.get(name, 0), per


def usage_lines(period: Period, used: Iterable[Used], lists: Mapping[str, PriceList]) -> list[Line]:
    """Returns the lines of a period; lists are by version.

    What cannot be reckoned by the prices of an entry has no unit price: what has no price or is not charged, and what an older ledger booked,
    which kept the version alone.
    """
    by_name: dict[tuple[str, str, int], list[tuple[_Price | None, Used]]] = {}
    for one in used:
        found = by_name.setdefault((one.server, one.model, one.section), [])
        found.append((_price(one, lists.get(one.version)), one))
    return [
        line
        for name in sorted(by_name)
        for price, together in _priced_alike(by_name[name])
        for line in _lines(period, price, together)
        if line.requests or line.quantity or line.amount_pico or line.unpriced
    ]


def _price(used: Used, prices: PriceList | None) -> _Price | None:
    """Returns the prices of an entry, None unless they make the amount."""
    entries: Sequence[PriceEntry | ToolPrice] = ()
    if prices is not None:
        entries = prices.tools if used.server else prices.entries
    if prices is None or not 0 <= used.entry < len(entries) or used.unpriced:
        return None
    found = entries[used.entry]
    price = _Price(prices.name, _conditions(found), _micro(found))
    amount = sum(amount_pico(*counted[1:]) for counted in price.of(used))
    return price if amount == used.amount_pico else None


def amount_pico(quantity: int, micro: int, per: int) -> int:
    """Returns what so much costs in pico-USD, at so many micro-USD for `per` of it."""
    return quantity * micro * (MICROS // per)


def _micro(entry: PriceEntry | ToolPrice) -> dict[str, int]:
    if isinstance(entry, ToolPrice):
        return {CALL: entry.call}
    return entry.amounts


def _conditions(entry: PriceEntry | ToolPrice) -> str:
    """Says of which calls an entry is, beside their model and time; empty for all."""
    if isinstance(entry, ToolPrice):
        return ""
    told = [
        f"provider {entry.provider}" if entry.provider else "",
        f"tier {entry.tier}" if entry.tier != STANDARD else "",
        f"region {entry.region}" if entry.region else "",
        f"above {entry.above_input_tokens} input tokens" if entry.above_input_tokens else "",
        f"{hours_text(entry.hours)} UTC" if entry.hours is not None else "",
    ]
    return ", ".join(one for one in told if one)


def _priced_alike(
    found: Iterable[tuple[_Price | None, Used]],
) -> Iterator[tuple[_Price | None, list[Used]]]:
    """Yields what follows each other at the same price, also by several versions of a list; what has no price comes last."""
    ordered = sorted(found, key=_in_order)
    for _, of_conditions in groupby(ordered, key=lambda one: _in_order(one)[:3]):
        for price, alike in groupby(of_conditions, key=lambda one: one[0]):
            yield price, [used for _, used in alike]


def _in_order(found: tuple[_Price | None, Used]) -> tuple[bool, str, str, int, str]:
    price, used = found
    if price is None:
        return True, "", "", used.first_at, used.version
    return False, price.list_name, price.conditions, used.first_at, used.version


def _lines(period: Period, price: _Price | None, together: Sequence[Used]) -> Iterator[Line]:
    all_of_it = _total(together)
    common: dict[str, Any] = {
        "kind": "usage",
        "period_start": period.start,
        "period": period.name,
        "server": all_of_it.server,
        "model": all_of_it.model,
        "price_version": all_of_it.version,
        "first_at": all_of_it.first_at,
        "last_at": all_of_it.last_at,
    }
    if price is None:
        yield Line(
            **common,
            requests=all_of_it.requests,
            abandoned=all_of_it.abandoned,
            input_tokens=sum(all_of_it.figures[name] for name in INPUT_BUCKETS),
            output_tokens=sum(all_of_it.figures[name] for name in OUTPUT_BUCKETS),
            unpriced=all_of_it.unpriced,
            amount_pico=all_of_it.amount_pico,
        )
        return
    for name, quantity, micro, per in price.of(all_of_it):
        yield Line(
            **common,
            requests=quantity if name == CALL else 0,
            abandoned=all_of_it.abandoned if name == CALL else 0,
            input_tokens=quantity if name in INPUT_BUCKETS else 0,
            output_tokens=quantity if name in OUTPUT_BUCKETS else 0,
            unpriced=0,
            amount_pico=amount_pico(quantity, micro, per),
            counted=name,
            quantity=quantity,
            unit_price_micro=micro,
            per=per,
            conditions=price.conditions,
        )


def _total(together: Sequence[Used]) -> Used:
    """Returns the sum of what was used; its version names all from which something of the amount comes."""
    figures: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    for one in together:
        figures.update(one.figures)
    versions = {one.version for one in together if one.amount_pico}
    return replace(
        together[0],
        version=", ".join(sorted(versions)),
        requests=sum(one.requests for one in together),
        abandoned=sum(one.abandoned for one in together),
        unpriced=sum(one.unpriced for one in together),
        amount_pico=sum(one.amount_pico for one in together),
        figures=figures,
        first_at=min(one.first_at for one in together),
        last_at=max(one.last_at for one in together),
    )
