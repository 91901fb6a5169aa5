"""A statement as one page of HTML that prints: no script, nothing fetched, every text of others escaped."""

from datetime import datetime, timedelta
from html import escape
from typing import Final

from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.money.rounding import USD, minor_text
from relay_ledger.periods.zones import local, utc_text, zone
from relay_ledger.statements.statement import Line, Statement
from relay_ledger.statements.statement_table import minor_digits

_STYLE: Final = (
    "body{font:14px/1.4 system-ui,sans-serif;color:#111;max-width:60em;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.5em;margin:0 0 .2em}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em}"
    "dt{color:#555}dd{margin:0}table{border-collapse:collapse;width:100%;margin:1.5em 0}"
    "th,td{text-align:right;padding:.35em .5em;border-bottom:1px solid #ccc;vertical-align:top}"
    "th{color:#555;font-weight:600}th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}"
    "tfoot td{font-weight:700;border-bottom:3px double #111}small{color:#555}.draft{color:#a40000}"
    "@media print{body{margin:0;max-width:none}thead{display:table-header-group}tr{break-inside:avoid}"
    "@page{size:A4;margin:18mm}}"
)
_STATES: Final = {
    "draft": "Draft: the period is not over, amounts will change.",
    "grace": "Draft: late records are waited for, amounts may change.",
    "final": "Final.",
}


def statement_page(statement: Statement) -> str:
    """Returns the page."""
    title = f"Statement {statement.period.name} for {statement.tenant}"
    rows = "".join(_row(line, statement) for line in statement.lines)
    nothing = '<tr><td colspan="6">Nothing was used.</td></tr>'
    currency = statement.rate.currency
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{_head(statement)}"
        "<table><thead><tr><th>Model or tool</th><th>Requests</th><th>Input tokens</th><th>Output tokens</th>"
        f"<th>USD, exact</th><th>{escape(currency.code)}</th></tr></thead><tbody>{rows or nothing}</tbody>"
        f'<tfoot><tr><td colspan="4">Total</td><td>{usd_text(statement.total_pico)}</td>'
        f"<td>{minor_text(statement.total_minor, currency)}</td></tr></tfoot></table>"
        f"{_notes(statement)}</body></html>\n"
    )


def _head(statement: Statement) -> str:
    period, where = statement.period, zone(statement.zone)
    first = local(period.start, where)
    last = local(period.end, where)
    facts = [
        ("State", _STATES[statement.state]),
        ("Tenant", f"{statement.tenant} ({statement.tenant_uid})"),
        ("Period", f"{_moment(first)} up to {_moment(last)}, {statement.zone}"),
        ("Made", utc_text(statement.made_at)),
    ]
    rate = statement.rate
    if rate.currency != USD:
        source = f", {rate.source}" if rate.source else ""
        facts.append(
            (
                "Exchange rate",
                f"1 USD = {price_text(rate.micro)} {rate.currency.code}, of {utc_text(rate.since)}{source}",
            )
        )
    fields = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f"<dl>{fields}</dl>"


def _moment(moment: datetime) -> str:
    """Writes a local time; a whole day without its hours."""
    at_midnight = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    return f"{moment:%Y-%m-%d}" if not at_midnight else f"{moment:%Y-%m-%d %H:%M}"


def _row(line: Line, statement: Statement) -> str:
    name = f"{line.server}/{line.model} (tool)" if line.server else line.model
    if line.kind == "adjustment":
        name, counts = f"{name}: adjustment of {line.period}", ("", "", "")
    elif line.server:
        counts = (f"{line.requests:,}", "", "")
    else:
        counts = (f"{line.requests:,}", f"{line.input_tokens:,}", f"{line.output_tokens:,}")
    details = [line.price_version] if line.price_version else []
    if line.unpriced:
        details.append(f"{line.unpriced:,} requests without a price, not charged")
    small = f"<br><small>{escape('; '.join(details))}</small>" if details else ""
    cells = "".join(f"<td>{count}</td>" for count in counts)
    return (
        f"<tr><td>{escape(name)}{small}</td>{cells}<td>{usd_text(line.amount_pico)}</td>"
        f"<td>{minor_digits(line.amount_minor, statement.rate.currency)}</td></tr>"
    )


def _notes(statement: Statement) -> str:
    notes = [
        "Amounts are reckoned exactly and rounded once, on the lines, so that the lines sum to the total."
    ]
    if statement.unpriced:
        notes.append(
            f"{statement.unpriced:,} requests have no price yet and are not in the total; once they have one, it is an"
            " adjustment of a later statement."
        )
    return "".join(f"<p><small>{escape(note)}</small></p>" for note in notes)
