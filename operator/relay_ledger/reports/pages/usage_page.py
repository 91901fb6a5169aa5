"""Usage and cost of a time as a page for people who would rather look than read: over time, by model, by tenant, and what it all rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from relay_ledger.booking.posting import Figures
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.divisions import Granularity
from relay_ledger.periods.zones import SECOND, local, utc_text
from relay_ledger.reports.figures import (
    Group,
    added,
    all_tokens,
    grouped,
    input_tokens,
    output_tokens,
    share,
)
from relay_ledger.reports.pages.charts import (
    Chart,
    Series,
    columns_over_time,
    one_row,
    rows_by_name,
)
from relay_ledger.reports.pages.document import facts, notes, page, table

MODELS_DRAWN: Final = 15
MOST_ROWS: Final = 200
"""Of a table; the rest is one row."""
PAGE_DIMENSIONS: Final = ("side", "provider", "model", "usage_source")
_HOURLY: Final = 3 * 86_400 * SECOND
_DAILY: Final = 100 * 86_400 * SECOND
_SOURCES: Final = {
    "provider": "counted by the provider",
    "partial": "broken off, partly counted",
    "estimated": "estimated by the relay",
    "unknown": "unknown",
}
_FORMS: Final[Mapping[Granularity, str]] = {
    "hour": "%m-%d %H:%M",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOverview:
    """What a page is made of, all of one moment. parts are times with their figures, in order; groups are by PAGE_DIMENSIONS, tenants by UID.

    names are those of tenants by UID; tenant is the one that the page is of, None for all. adjustment_pico is what invoices differ by.
    """

    start: int
    end: int
    zone: ZoneInfo
    made_at: int
    tenant: str | None
    parts: Sequence[tuple[int, Figures]]
    groups: Sequence[Group]
    tenants: Mapping[str, Figures]
    names: Mapping[str, str]
    adjustment_pico: int = 0


def granularity(start: int, end: int) -> Granularity:
    """Returns by what a time is drawn: not more parts than can be told apart."""
    if end - start <= _HOURLY:
        return "hour"
    return "day" if end - start <= _DAILY else "month"


def usage_page(overview: UsageOverview) -> str:
    """Returns the page."""
    attempts = [one for one in overview.groups if one.names["side"] != TOOL_SIDE]
    calls = [one for one in overview.groups if one.names["side"] == TOOL_SIDE]
    total = added(one.figures for one in overview.groups)
    whose = "all tenants" if overview.tenant is None else _whose(overview, overview.tenant)
    first, last = _moment(overview, overview.start), _moment(overview, overview.end)
    body = [
        _facts(overview, whose, total, f"{first} up to {last}, {overview.zone.key}"),
        _over_time(overview),
        _by_model(attempts),
        _by_evidence(attempts),
        _by_tool(calls),
        "" if overview.tenant is not None else _by_tenant(overview),
        notes(_notes(overview, total)),
    ]
    return page(f"Usage and cost from {first} up to {last}: {whose}", "".join(body))


def _whose(overview: UsageOverview, uid: str) -> str:
    told = overview.names.get(uid, "")
    return f"{told} ({uid})" if told else uid


def _moment(overview: UsageOverview, at: int) -> str:
    moment = local(at, overview.zone)
    is_midnight = not timedelta(hours=moment.hour, minutes=moment.minute)
    return f"{moment:%Y-%m-%d}" if is_midnight else f"{moment:%Y-%m-%d %H:%M}"


def _facts(overview: UsageOverview, whose: str, total: Figures, period: str) -> str:
    cost, charge = total["cost_pico"], total["charge_pico"]
    pairs = [
        ("Of", whose),
        ("Period", period),
        ("Made", utc_text(overview.made_at)),
        ("Attempts", f"{total['attempts']:,}, of which callers got {total['delivered']:,}"),
        ("Tokens", f"{input_tokens(total):,} read, {output_tokens(total):,} written"),
        ("Cost", f"{usd_text(cost)} USD"),
        ("Charged to tenants", f"{usd_text(charge)} USD"),
        ("Margin", f"{usd_text(charge - cost)} USD"),
    ]
    if total["abandoned"]:
        left = f"{total['abandoned']:,} attempts that their callers left before the answer"
        pairs.insert(4, ("Charged all the same", left))
    if total["tool_calls"]:
        pairs.insert(-3, ("Calls of tools", f"{total['tool_calls']:,}"))
    if overview.adjustment_pico:
        pairs.append(("Invoices differ by", f"{usd_text(overview.adjustment_pico)} USD"))
    return facts(pairs)


def _over_time(overview: UsageOverview) -> str:
    by = granularity(overview.start, overview.end)
    labels = [local(at, overview.zone).strftime(_FORMS[by]) for at, _ in overview.parts]
    figures = [one for _, one in overview.parts]
    tokens = [
        Series("read", list(map(input_tokens, figures)), _count),
        Series("written", list(map(output_tokens, figures)), _count),
    ]
    cost = Series("cost", [one["cost_pico"] for one in figures], _usd)
    most = max(figures, key=all_tokens, default=None)
    peak = "nothing was used" if most is None else f"at most {all_tokens(most):,} tokens"
    rows = [
        [
            label,
            _count(one["attempts"]),
            _count(input_tokens(one)),
            _count(output_tokens(one)),
            *_money(one),
        ]
        for label, one in zip(labels, figures, strict=True)
        if any(one.values())
    ]
    head = f"Usage by the {by}"
    return (
        f"<h2>{head}</h2>"
        + columns_over_time(
            Chart(
                "tokens",
                f"Tokens by the {by}",
                f"{len(labels)} columns, {peak} in one; the table below has the numbers.",
            ),
            labels,
            tokens,
        )
        + columns_over_time(
            Chart(
                "money",
                f"Cost in USD by the {by}",
                f"{len(labels)} columns; the table below has the numbers.",
            ),
            labels,
            [cost],
        )
        + table(
            f"{head}; without rows of nothing",
            [by.capitalize(), "Attempts", "Tokens read", "Tokens written", *_MONEY],
            rows,
        )
    )


def _by_model(attempts: Sequence[Group]) -> str:
    models = _dearest(grouped(attempts, "model"))
    drawn = models[:MODELS_DRAWN]
    series = [
        Series("cost", [one["cost_pico"] for _, one in drawn], _usd),
        Series("charged", [one["charge_pico"] for _, one in drawn], _usd),
    ]
    rows = [
        [
            name,
            _count(one["attempts"]),
            _count(all_tokens(one)),
            *_money(one),
            _count(one["cost_unpriced"]),
        ]
        for name, one in _rest_as_one(models, "models")
    ]
    words = f"A row for each of the {len(drawn)} dearest of {len(models)} models; the table below has all numbers."
    chart = rows_by_name(
        Chart("models", "Cost and charge by model in USD", words),
        [name for name, _ in drawn],
        series,
    )
    heads = ["Model that answered", "Attempts", "Tokens", *_MONEY, "Without a price"]
    return (
        "<h2>Cost by model</h2>"
        + (chart if drawn else "")
        + table("Models, the dearest first", heads, rows, total=_total(attempts))
    )


def _by_evidence(attempts: Sequence[Group]) -> str:
    by_source = grouped(attempts, "usage_source")
    nothing = added(())
    counts = {source: by_source.get(source, nothing)["attempts"] for source in _SOURCES}
    used = sum(counts.values())
    part = _percent(counts["provider"], used)
    series = [Series(title, [counts[source]], _count) for source, title in _SOURCES.items()]
    words = f"Of {used:,} attempts that used something providers counted {counts['provider']:,}, {part}."
    rows = []
    for provider, _ in sorted(grouped(attempts, "provider").items()):
        own = [one for one in attempts if one.names["provider"] == provider]
        found = grouped(own, "usage_source")
        numbers = [found.get(source, nothing)["attempts"] for source in _SOURCES]
        rows.append([provider, *map(_count, numbers), _percent(numbers[0], sum(numbers))])
    total = ["Total", *map(_count, counts.values()), part]
    heads = [
        "Provider",
        *(title.capitalize() for title in _SOURCES.values()),
        "Share of the provider's own",
    ]
    chart = one_row(Chart("evidence", "Attempts by who counted their tokens", words), series)
    return (
        "<h2>Share that providers reported</h2>"
        + (chart if used else "")
        + table(
            "Attempts that used something, by who counted their tokens", heads, rows, total=total
        )
    )


def _by_tool(calls: Sequence[Group]) -> str:
    if not calls:
        return ""
    tools: dict[str, list[Figures]] = {}
    for one in calls:
        tools.setdefault(f"{one.names['provider']}/{one.names['model']}", []).append(one.figures)
    sums = _dearest({tool: added(figures) for tool, figures in tools.items()})
    rows = [
        [tool, _count(one["tool_calls"]), *_money(one)] for tool, one in _rest_as_one(sums, "tools")
    ]
    return "<h2>Calls of tools</h2>" + table(
        "By server and tool, the dearest first", ["Tool", "Calls", *_MONEY], rows
    )


def _by_tenant(overview: UsageOverview) -> str:
    tenants = _dearest({_whose(overview, uid): one for uid, one in overview.tenants.items()})
    rows = [
        [whose, _count(one["attempts"]), _count(all_tokens(one)), *_money(one)]
        for whose, one in _rest_as_one(tenants, "tenants")
    ]
    return "<h2>Tenants</h2>" + table(
        "By tenant, the dearest first", ["Tenant", "Attempts", "Tokens", *_MONEY], rows
    )


_MONEY: Final = ("Cost, USD", "Charged, USD", "Margin, USD")


def _money(figures: Figures) -> list[str]:
    cost, charge = figures["cost_pico"], figures["charge_pico"]
    return [usd_text(cost), usd_text(charge), usd_text(charge - cost)]


def _total(groups: Sequence[Group]) -> list[str]:
    total = added(one.figures for one in groups)
    return [
        "Total",
        _count(total["attempts"]),
        _count(all_tokens(total)),
        *_money(total),
        _count(total["cost_unpriced"]),
    ]


def _dearest(sums: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    return sorted(
        sums.items(), key=lambda one: (-one[1]["cost_pico"], -one[1]["charge_pico"], one[0])
    )


def _rest_as_one(rows: Sequence[tuple[str, Figures]], what: str) -> list[tuple[str, Figures]]:
    rest = rows[MOST_ROWS:]
    if not rest:
        return list(rows)
    return [*rows[:MOST_ROWS], (f"{len(rest)} other {what}", added(one for _, one in rest))]


def _notes(overview: UsageOverview, total: Figures) -> list[str]:
    told = [
        "Amounts are exact sums of what is booked; nothing is priced anew. A margin is the charge less the cost."
    ]
    if total["cost_unpriced"]:
        told.append(
            f"{total['cost_unpriced']:,} attempts and calls have no price of the provider yet and are in no cost: relay-ledger attempts --unpriced lists the attempts."
        )
    if total["charge_unpriced"]:
        told.append(
            f"{total['charge_unpriced']:,} have no price in their tenant's list yet and are in no charge."
        )
    if total["held_pico"]:
        told.append(
            f"Attempts of unknown use, or still without an end, may have cost up to {usd_text(total['held_pico'])} USD more."
        )
    if overview.adjustment_pico:
        told.append(
            "What invoices differ by was booked by relay-ledger reconcile --adjust and is in no row."
        )
    return told


def _count(number: int) -> str:
    return f"{number:,}"


def _usd(pico: int) -> str:
    return f"{usd_text(pico)} USD"


def _percent(part: int, whole: int) -> str:
    """Writes a share with two digits after the point, rounded down: 100.00 % is all."""
    found = share(part, whole)
    if found is None:
        return "-"
    digits = found.replace(".", "")
    return f"{int(digits[:-2])}.{digits[-2:]} %"
