"""A statement as one page of HTML that prints: no script, nothing fetched, every text of others escaped."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.money.rounding import USD, minor_text
from relay_ledger.periods.zones import local, utc_text, zone
from relay_ledger.reports.pages.document import facts, name, notes, page
from relay_ledger.statements.statement import CALL, Line, Statement
from relay_ledger.statements.statement_table import minor_digits

_COUNTS: Final = ("Requests", "Input tokens", "Output tokens")
_STATES: Final = {
    "draft": "Draft: the period is not over, amounts will change.",
    "grace": "Draft: late records are waited for, amounts may change.",
    "final": "Final.",
}


def statement_page(statement: Statement) -> str:
    """Returns the page."""
    currency = statement.rate.currency
    heads = ("Counted", "Quantity", "Unit price, USD") if statement.has_unit_prices else _COUNTS
    columns = "".join(f"<th>{head}</th>" for head in heads)
    lines = (
        f"<table><thead><tr><th>Model or tool</th>{columns}"
        f"<th>USD, exact</th><th>{escape(currency.code)}</th></tr></thead><tbody>{_rows(statement)}</tbody>"
        f'<tfoot><tr><td colspan="4">Total</td><td>{usd_text(statement.total_pico)}</td>'
        f"<td>{minor_text(statement.total_minor, currency)}</td></tr></tfoot></table>"
    )
    title = f"Statement {statement.period.name} for {statement.tenant}"
    return page(title, f"{_head(statement)}{lines}{_notes(statement)}")


def _rows(statement: Statement) -> str:
    row = _priced_row if statement.has_unit_prices else _row
    rows = "".join(row(line, statement) for line in statement.lines)
    return rows or '<tr><td colspan="6">Nothing was used.</td></tr>'


def _head(statement: Statement) -> str:
    period, where = statement.period, zone(statement.zone)
    first = local(period.start, where)
    last = local(period.end, where)
    told = [
        ("State", _STATES[statement.state]),
        ("Tenant", f"{statement.tenant} ({statement.tenant_uid})"),
        ("Period", f"{_moment(first)} up to {_moment(last)}, {statement.zone}"),
        ("Made", utc_text(statement.made_at)),
    ]
    rate = statement.rate
    if rate.currency != USD:
        source = f", {rate.source}" if rate.source else ""
        told.append(
            (
                "Exchange rate",
                f"1 USD = {price_text(rate.micro)} {rate.currency.code}, of {utc_text(rate.since)}{source}",
            )
        )
    return facts(told)


def _moment(moment: datetime) -> str:
    """Writes a local time; a whole day without its hours."""
    at_midnight = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    return f"{moment:%Y-%m-%d}" if not at_midnight else f"{moment:%Y-%m-%d %H:%M}"


def _priced_row(line: Line, statement: Statement) -> str:
    """Returns a line with its unit price, and with the time in which it was used."""
    details = [line.price_version] if line.price_version else []
    if line.unit_price_micro is not None:
        per = f" per {line.per:,}" if line.per > 1 else ""
        price = f"{price_text(line.unit_price_micro)}{per}"
        counts = (line.counted.replace("_", " "), f"{line.quantity:,}", price)
        details += [line.conditions] if line.conditions else []
    elif line.kind == "adjustment":
        counts = ("", "", "")
    else:
        counts = (CALL, f"{line.requests:,}", "")
        if not line.server:
            details.append(
                f"{line.input_tokens:,} input tokens, {line.output_tokens:,} output tokens"
            )
    if line.first_at:
        where = zone(statement.zone)
        first, last = (
            f"{local(at, where):%Y-%m-%d %H:%M:%S}" for at in (line.first_at, line.last_at)
        )
        details.append(first if first == last else f"{first} to {last}")
    return _cells(line, statement, counts, details)


def _row(line: Line, statement: Statement) -> str:
    """Returns a line as statements had them before there were unit prices."""
    if line.kind == "adjustment":
        counts: tuple[str, str, str] = ("", "", "")
    elif line.server:
        counts = (f"{line.requests:,}", "", "")
    else:
        counts = (f"{line.requests:,}", f"{line.input_tokens:,}", f"{line.output_tokens:,}")
    details = [line.price_version] if line.price_version else []
    return _cells(line, statement, counts, details)


def _title(line: Line) -> str:
    title = f"{line.server}/{line.model} (tool)" if line.server else line.model
    return f"{title}: adjustment of {line.period}" if line.kind == "adjustment" else title


def _cells(line: Line, statement: Statement, counts: Sequence[str], details: Sequence[str]) -> str:
    if line.abandoned:
        details = [*details, f"{line.abandoned:,} of the requests left before the answer"]
    if line.unpriced:
        details = [*details, f"{line.unpriced:,} requests without a price, not charged"]
    small = f"<br><small>{escape('; '.join(details))}</small>" if details else ""
    cells = "".join(f"<td>{count}</td>" for count in counts)
    return (
        f"<tr><td>{name(_title(line))}{small}</td>{cells}<td>{usd_text(line.amount_pico)}</td>"
        f"<td>{minor_digits(line.amount_minor, statement.rate.currency)}</td></tr>"
    )


def _notes(statement: Statement) -> str:
    told = [
        "Amounts are reckoned exactly and rounded once, on the lines, so that the lines sum to the total."
    ]
    if any(line.unit_price_micro is not None for line in statement.lines):
        told.append(
            "Quantity times unit price is the exact amount in USD. A line is of one price; the times are those of its first and last request,"
            f" {statement.zone}."
        )
    if statement.unpriced:
        told.append(
            f"{statement.unpriced:,} requests have no price yet and are not in the total; once they have one, it is an"
            " adjustment of a later statement."
        )
    return notes(told)
