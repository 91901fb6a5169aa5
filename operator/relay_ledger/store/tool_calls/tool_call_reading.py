"""Reads tool calls: sums of those that are alike, and single ones. Of months that are no longer kept there are none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Engine,
    FromClause,
    Subquery,
    and_,
    func,
    literal,
    or_,
    select,
)

from relay_contract.billing.tool_call import CHAT_METHODS
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.reports.tool_calls import ToolSum
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import POSTINGS, TOOL_CALLS

_MONEY: Final = ("charge_unpriced", "cost_pico", "charge_pico")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls: those from start up to but without end, microseconds since 1970, with these values in columns."""

    start: int
    end: int
    equal: Mapping[str, str] = field(default_factory=dict)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Returns what rows have to fulfil."""
        at = TOOL_CALLS.c.called_at
        equal = [_has(name, value) for name, value in self.equal.items()]
        return [at >= self.start, at < self.end, *equal]


def _has(column: str, value: str) -> ColumnElement[bool]:
    """Returns the condition for rows with this value, also for one of several names."""
    is_it = TOOL_CALLS.c[column] == value
    if column != "name":
        return is_it
    names = literal(", ") + TOOL_CALLS.c.name + ", "
    # unlike LIKE, which takes capitals for small letters on SQLite
    is_among = func.replace(names, f", {value}, ", "") != names
    return or_(is_it, and_(TOOL_CALLS.c.method.in_(CHAT_METHODS), is_among))


class ToolCallReading:
    """Of all tenants, unless one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sums(self, asked: Asked, by: Sequence[str]) -> list[ToolSum]:
        """Returns sums by these columns and by outcome."""
        columns = [TOOL_CALLS.c[name] for name in by]
        outcome = TOOL_CALLS.c.outcome
        booked = _booked(asked)
        totals = [
            func.count(),
            func.sum(TOOL_CALLS.c.ended_at - TOOL_CALLS.c.called_at),
            func.sum(TOOL_CALLS.c.request_bytes),
            func.sum(TOOL_CALLS.c.answer_bytes),
            *(func.coalesce(func.sum(booked.c[name]), 0) for name in _MONEY),
        ]
        grouped = [*(column for column in columns if column.name != outcome.name), outcome]
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(*grouped, *totals)
                .select_from(_with_money(booked))
                .where(*asked.conditions())
                .group_by(*grouped)
            )
            return [_sum([column.name for column in grouped], row) for row in rows]

    def each(self, asked: Asked) -> Iterator[Mapping[str, Any]]:
        """Yields the calls in the order in which they came, each with its cost_pico and charge_pico."""
        booked = _booked(asked)
        money = [func.coalesce(booked.c[name], 0).label(name) for name in _MONEY]
        with reading(self._engine) as connection:
            rows = connection.execution_options(yield_per=1000).execute(
                select(TOOL_CALLS, *money)
                .select_from(_with_money(booked))
                .where(*asked.conditions())
                .order_by(TOOL_CALLS.c.called_at, TOOL_CALLS.c.event_id)
            )
            for row in rows:
                # PostgreSQL sums up to a number without a size
                yield {**row._mapping, **{name: int(row._mapping[name]) for name in _MONEY}}


def _booked(asked: Asked) -> Subquery:
    """Returns what the postings of each call make."""
    keys = [POSTINGS.c.tenant_uid, POSTINGS.c.event_id]
    figures = [func.sum(POSTINGS.c[name]).label(name) for name in _MONEY]
    return (
        select(*keys, *figures)
        .where(
            POSTINGS.c.dispatched_at >= asked.start,
            POSTINGS.c.dispatched_at < asked.end,
            POSTINGS.c.side == TOOL_SIDE,
        )
        .group_by(*keys)
        .subquery()
    )


def _with_money(booked: Subquery) -> FromClause:
    return TOOL_CALLS.outerjoin(
        booked,
        (booked.c.tenant_uid == TOOL_CALLS.c.tenant_uid)
        & (booked.c.event_id == TOOL_CALLS.c.event_id),
    )


def _sum(names: Sequence[str], row: Sequence[Any]) -> ToolSum:
    width = len(names)
    values = dict(zip(names, map(str, row[:width]), strict=True))
    requests, micros, request_bytes, answer_bytes, *money = map(int, row[width:])
    return ToolSum(
        names=values,
        outcome=values["outcome"],
        requests=requests,
        micros=micros,
        request_bytes=request_bytes,
        answer_bytes=answer_bytes,
        **dict(zip(("unpriced", "cost_pico", "charge_pico"), money, strict=True)),
    )
