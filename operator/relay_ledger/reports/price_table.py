"""Prices in force as a table, CSV or JSON: a row for each that is asked for something, with its times and where it is from."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from relay_contract.billing.token_buckets import BUCKETS
from relay_ledger.money.amounts import MICROS, price_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.prices.price_list import PriceEntry, PriceList, ToolPrice, hours_text
from relay_ledger.reports.text_cells import columns, csv_of

COLUMNS: Final = (
    *("list", "version", "provider", "model", "server", "tool"),
    *("tier", "region", "above_input_tokens", "hours", "from", "until"),
    *("counted", "price", "per", "currency", "source", "checked_at"),
)
"""price is in the currency, for `per` of what is counted: tokens, pieces or calls. provider and server are empty for all. hours are of UTC."""


def prices_csv(lists: Sequence[PriceList]) -> str:
    """Returns a row for each price."""
    return csv_of(COLUMNS, _rows(lists))


def prices_json(lists: Sequence[PriceList]) -> str:
    """Returns every price."""
    told = [dict(zip(COLUMNS, row, strict=True)) for row in _rows(lists)]
    return json.dumps({"prices": told}, ensure_ascii=False, indent=2) + "\n"


def prices_table(lists: Sequence[PriceList]) -> str:
    """Returns a line for each price."""
    return columns(
        [list(COLUMNS), *([str(value) for value in row] for row in _rows(lists))],
        texts=len(COLUMNS),
    )


PRICE_FORMS: Final[Mapping[str, Callable[[Sequence[PriceList]], str]]] = {
    "csv": prices_csv,
    "json": prices_json,
    "table": prices_table,
}


def _rows(lists: Sequence[PriceList]) -> Iterator[list[Any]]:
    for prices in lists:
        for entry in prices.entries:
            for model in sorted(entry.models):
                yield from _of_model(prices, entry, model)
        for price in prices.tools:
            yield [
                *(prices.name, prices.version, "", "", price.server, price.pattern),
                *("", "", "", "", *_times(price), "call", price_text(price.call), 1),
                *_origin(price),
            ]


def _of_model(prices: PriceList, entry: PriceEntry, model: str) -> Iterator[list[Any]]:
    for counted, micro in entry.amounts.items():
        yield [
            *(prices.name, prices.version, entry.provider, model, "", ""),
            *(entry.tier, entry.region, entry.above_input_tokens or ""),
            *(hours_text(entry.hours) if entry.hours is not None else "", *_times(entry)),
            *(counted, price_text(micro), MICROS if counted in BUCKETS else 1),
            *_origin(entry),
        ]


def _times(price: PriceEntry | ToolPrice) -> list[str]:
    return ["" if at is None else utc_text(at) for at in (price.starts_at, price.ends_at)]


def _origin(price: PriceEntry | ToolPrice) -> list[str]:
    return ["USD", price.source, price.checked_at]
