"""Who called what of tool servers, under which rule, with which outcome and for how much: sums of groups or single calls, as a table, CSV or JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_contract.billing.tool_call import CARRIED_OUT
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.text_cells import columns, csv_of

BY: Final = {
    "tenant": "tenant_uid",
    "key": "key_name",
    "server": "server",
    "tool": "name",
    "method": "method",
    "rule": "rule",
    "limit": "limit_name",
    "revision": "revision",
    "outcome": "outcome",
}
"""What a report can be by, and the column that it is."""
FIGURES: Final = (
    *("requests", "calls", "carried_out", "denied", "limited", "failed"),
    *("seconds", "request_bytes", "answer_bytes"),
    *("unpriced", "cost_usd", "amount_usd"),
)
"""requests: all. calls: without those after which a call went on, or that got the answer to an earlier one. carried_out: by a server, whatever the tool said of it.
failed: neither carried out, denied nor limited. seconds: whole ones, of all together.
unpriced: calls that nothing is charged for until they have a price. cost_usd is what they cost the platform, amount_usd what tenants are charged."""
EACH: Final = (
    *("time", "tenant", "tenant_uid", "key", "method", "server", "tool", "rule", "limit"),
    *(
        "revision",
        "outcome",
        "milliseconds",
        "request_bytes",
        "answer_bytes",
        "cost_usd",
        "amount_usd",
        "call_id",
        "request_id",
        "id",
    ),
)
_NO_CALLS: Final = ("input_required", "replayed")
"""Outcomes of requests that belong to a call which has its own line."""
_MICROS_PER_SECOND: Final = 1_000_000


Figures = Mapping[str, int | str]
"""Numbers, and amounts as text."""


@dataclass(frozen=True, slots=True)
class ToolSum:
    """What calls that ended alike come to; names are by column."""

    names: Mapping[str, str]
    outcome: str
    requests: int
    micros: int
    request_bytes: int
    answer_bytes: int
    unpriced: int
    cost_pico: int
    charge_pico: int


@dataclass(frozen=True, slots=True)
class ToolRow:
    """What is told of a group."""

    names: tuple[str, ...]
    figures: Figures


def tool_rows(sums: Iterable[ToolSum], by: Sequence[str]) -> list[ToolRow]:
    """Adds sums up by these names, in their order."""
    groups: dict[tuple[str, ...], list[ToolSum]] = {}
    for one in sums:
        groups.setdefault(tuple(one.names[BY[name]] for name in by), []).append(one)
    return [ToolRow(names, _figures(groups[names])) for names in sorted(groups)]


def total_of(sums: Iterable[ToolSum]) -> Figures:
    """Adds all of them up."""
    return _figures(list(sums))


def _figures(sums: Sequence[ToolSum]) -> dict[str, int | str]:
    by_outcome: dict[str, int] = {}
    for one in sums:
        by_outcome[one.outcome] = by_outcome.get(one.outcome, 0) + one.requests
    requests = sum(by_outcome.values())
    calls = requests - sum(by_outcome.get(outcome, 0) for outcome in _NO_CALLS)
    carried_out = sum(by_outcome.get(outcome, 0) for outcome in CARRIED_OUT)
    denied, limited = by_outcome.get("denied", 0), by_outcome.get("limited", 0)
    return {
        "requests": requests,
        "calls": calls,
        "carried_out": carried_out,
        "denied": denied,
        "limited": limited,
        "failed": calls - carried_out - denied - limited,
        "seconds": sum(one.micros for one in sums) // _MICROS_PER_SECOND,
        "request_bytes": sum(one.request_bytes for one in sums),
        "answer_bytes": sum(one.answer_bytes for one in sums),
        "unpriced": sum(one.unpriced for one in sums),
        "cost_usd": usd_text(sum(one.cost_pico for one in sums)),
        "amount_usd": usd_text(sum(one.charge_pico for one in sums)),
    }


def sums_csv(sums: Sequence[ToolSum], by: Sequence[str]) -> str:
    """Returns a row for each group."""
    rows = tool_rows(sums, by)
    return csv_of((*by, *FIGURES), ([*row.names, *row.figures.values()] for row in rows))


def sums_json(sums: Sequence[ToolSum], by: Sequence[str], *, start: int, end: int) -> str:
    """Returns the groups, and their sum."""
    rows = [{**dict(zip(by, row.names, strict=True)), **row.figures} for row in tool_rows(sums, by)]
    return _json(start, end, rows=rows, total=total_of(sums))


def sums_table(sums: Sequence[ToolSum], by: Sequence[str]) -> str:
    """Returns the groups and their sum in columns."""
    rows = [[*row.names, *map(str, row.figures.values())] for row in tool_rows(sums, by)]
    total = ["total", *[""] * (len(by) - 1), *map(str, total_of(sums).values())]
    return columns([[*by, *FIGURES], *rows, total], texts=len(by))


def each_csv(calls: Iterable[Mapping[str, Any]]) -> str:
    """Returns a row for each call."""
    return csv_of(EACH, (list(_told(call).values()) for call in calls))


def each_json(calls: Iterable[Mapping[str, Any]], *, start: int, end: int) -> str:
    """Returns every call."""
    return _json(start, end, calls=[_told(call) for call in calls])


def each_table(calls: Iterable[Mapping[str, Any]]) -> str:
    """Returns a line for each call."""
    rows = [[str(value) for value in _told(call).values()] for call in calls]
    return columns([list(EACH), *rows], texts=len(EACH))


def _told(call: Mapping[str, Any]) -> dict[str, Any]:
    values = (
        *(utc_text(call["called_at"]), call["tenant"], call["tenant_uid"], call["key_name"]),
        *(call["method"], call["server"], call["name"], call["rule"]),
        *(call["limit_name"], call["revision"], call["outcome"]),
        (call["ended_at"] - call["called_at"]) // 1000,
        *(call["request_bytes"], call["answer_bytes"]),
        *(usd_text(call["cost_pico"]), usd_text(call["charge_pico"])),
        *(call["call_id"], call["request_id"], call["event_id"]),
    )
    return dict(zip(EACH, values, strict=True))


def _json(start: int, end: int, **content: Any) -> str:
    report = {"start": utc_text(start), "end": utc_text(end), **content}
    return json.dumps(report, ensure_ascii=False, indent=2) + "\n"
