"""A statement as CSV and JSON. Amounts are text: in the currency as they are owed, and in USD to the last digit."""

import csv
import io
import json
from typing import Any, Final

from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.money.rounding import Currency
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.text_cells import cells
from relay_ledger.statements.statement import Line, Statement

COLUMNS: Final = (
    *("tenant", "tenant_uid", "state", "statement", "start", "end", "zone", "kind", "period"),
    *(
        "model",
        "server",
        "tool",
        "price_version",
        "requests",
        "abandoned_requests",
        "input_tokens",
        "output_tokens",
        "unpriced_requests",
    ),
    *("amount_usd", "currency", "rate", "amount"),
)


def minor_digits(minor: int, currency: Currency) -> str:
    """Writes an amount of minor units without the currency's name, as 12.30."""
    sign = "-" if minor < 0 else ""
    whole, fraction = divmod(abs(minor), 10**currency.minor_digits)
    digits = f".{fraction:0{currency.minor_digits}d}" if currency.minor_digits else ""
    return f"{sign}{whole}{digits}"


def csv_table(statement: Statement, *, with_header: bool = True) -> str:
    """Returns the lines as CSV, and the total as a line of its own."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    if with_header:
        table.writerow(COLUMNS)
    for line in statement.lines:
        table.writerow(cells([*_head(statement), *_line(line), *_amounts(statement, line)]))
    totals = (
        usd_text(statement.total_pico),
        minor_digits(statement.total_minor, statement.rate.currency),
    )
    rate = price_text(statement.rate.micro)
    rest = ("total", statement.period.name, *[""] * 8, statement.unpriced)
    table.writerow(
        cells([*_head(statement), *rest, totals[0], statement.rate.currency.code, rate, totals[1]])
    )
    return out.getvalue()


def json_document(statement: Statement) -> str:
    """Returns the statement as JSON."""
    head = dict(zip(COLUMNS, _head(statement), strict=False))
    names = COLUMNS[len(head) :]
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
                dict(zip(names, [*_line(line), *_amounts(statement, line)], strict=True))
                for line in statement.lines
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
        *(line.price_version, line.requests, line.abandoned),
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
