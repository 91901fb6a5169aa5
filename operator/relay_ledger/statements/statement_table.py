"""A statement as CSV and JSON. Amounts are text: in the currency as they are owed, and in USD to the last digit."""

import json
from collections.abc import Iterator
from typing import Any, Final

from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.money.rounding import Currency
from relay_ledger.periods.zones import local, utc_text, zone
from relay_ledger.reports.text_cells import csv_of
from relay_ledger.statements.statement import Line, Statement

COLUMNS: Final = (
    *("tenant", "tenant_uid", "state", "statement", "start", "end", "zone", "kind", "period"),
    *(
        "model",
        "server",
        "tool",
        "price_version",
        "requests",
        "input_tokens",
        "output_tokens",
        "unpriced_requests",
    ),
    *("amount_usd", "currency", "rate", "amount"),
)
UNIT_PRICE_COLUMNS: Final = (
    *("counted", "quantity", "unit_price_usd", "per"),
    *("conditions", "first_request", "last_request", "abandoned_requests"),
)
"""Of statements whose lines have unit prices: quantity times unit_price_usd, divided by per, is amount_usd. The times are local."""


def minor_digits(minor: int, currency: Currency) -> str:
    """Writes an amount of minor units without the currency's name, as 12.30."""
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**currency.minor_digits)
    digits = f".{fraction:0{currency.minor_digits}d}" if currency.minor_digits else ""
    return f"{sign}{whole}{digits}"


def csv_table(*statements: Statement) -> str:
    """Returns the lines as CSV, and the total of each statement as a line of its own.

    There are columns of unit prices where a statement has any: the table of one that has none is as it was sent.
    """
    names = list(COLUMNS)
    if any(one.has_unit_prices for one in statements):
        names += UNIT_PRICE_COLUMNS
    return csv_of(
        names,
        (
            [*row, *[""] * (len(names) - len(row))]
            for statement in statements
            for row in _rows(statement)
        ),
    )


def _rows(statement: Statement) -> Iterator[list[Any]]:
    for line in statement.lines:
        yield [*_head(statement), *_told(line, statement)]
    totals = (
        usd_text(statement.total_pico),
        statement.rate.currency.code,
        price_text(statement.rate.micro),
        minor_digits(statement.total_minor, statement.rate.currency),
    )
    rest = ("total", statement.period.name, *[""] * 7, statement.unpriced)
    yield [*_head(statement), *rest, *totals]


def json_document(statement: Statement) -> str:
    """Returns the statement as JSON."""
    head = dict(zip(COLUMNS, _head(statement), strict=False))
    names = [*COLUMNS[len(head) :], *UNIT_PRICE_COLUMNS]
    return json.dumps(
        {
            **head,
            "currency": statement.rate.currency.code,
            "rate": price_text(statement.rate.micro),
            "rate_since": utc_text(statement.rate.since),
            "rate_source": statement.rate.source,
            "made_at": utc_text(statement.made_at),
            "total_usd": usd_text(statement.total_pico),
            "total": minor_digits(statement.total_minor, statement.rate.currency),
            "unpriced_requests": statement.unpriced,
            "lines": [
                dict(zip(names, _told(line, statement), strict=False)) for line in statement.lines
            ],
        },
        ensure_ascii=False,
        indent=2,
    )


def _head(statement: Statement) -> list[str]:
    period = statement.period
    return [
        *(statement.tenant, statement.tenant_uid, statement.state, period.name),
        *(utc_text(period.start), utc_text(period.end), statement.zone),
    ]


def _line(line: Line) -> list[Any]:
    return [
        *(line.kind, line.period),
        *(("", line.server, line.model) if line.server else (line.model, "", "")),
        *(line.price_version, line.requests),
        *(line.input_tokens, line.output_tokens, line.unpriced),
    ]


def _amounts(statement: Statement, line: Line) -> list[str]:
    currency = statement.rate.currency
    return [
        usd_text(line.amount_pico),
        currency.code,
        price_text(statement.rate.micro),
        minor_digits(line.amount_minor, currency),
    ]


def _told(line: Line, statement: Statement) -> list[Any]:
    """Returns the columns of a line, those of unit prices where its statement has any."""
    told = [*_line(line), *_amounts(statement, line)]
    return [*told, *_unit_price(line, statement.zone)] if statement.has_unit_prices else told


def _unit_price(line: Line, zone_name: str) -> list[Any]:
    where = zone(zone_name)
    times = [local(at, where).isoformat() if at else "" for at in (line.first_at, line.last_at)]
    if line.unit_price_micro is None:
        return ["", "", "", "", "", *times, line.abandoned]
    price = price_text(line.unit_price_micro)
    return [line.counted, line.quantity, price, line.per, line.conditions, *times, line.abandoned]
