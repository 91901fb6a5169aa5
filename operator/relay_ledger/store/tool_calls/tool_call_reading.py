"""Reads tool calls: sums of those that are alike, and single ones. Of months that are no longer kept there are none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select

from relay_ledger.reports.tool_calls import ToolSum
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import TOOL_CALLS


@dataclass(frozen=True, slots=True)
class Asked:
    """Which calls: those from start up to but without end, microseconds since 1970, with these values in columns."""

    start: int
    end: int
    equal: Mapping[str, str] = field(default_factory=dict)

    def conditions(self) -> list[ColumnElement[bool]]:
        """Returns what rows have to fulfil."""
        at = TOOL_CALLS.c.called_at
        equal = [TOOL_CALLS.c[name] == value for name, value in self.equal.items()]
        return [at >= self.start, at < self.end, *equal]


class ToolCallReading:
    """Of all tenants, unless one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sums(self, asked: Asked, by: Sequence[str]) -> list[ToolSum]:
        """Returns sums by these columns and by outcome."""
        columns = [TOOL_CALLS.c[name] for name in by]
        outcome = TOOL_CALLS.c.outcome
        totals = [
            func.count(),
            func.sum(TOOL_CALLS.c.ended_at - TOOL_CALLS.c.called_at),
            func.sum(TOOL_CALLS.c.request_bytes),
            func.sum(TOOL_CALLS.c.answer_bytes),
        ]
        grouped = [*(column for column in columns if column.name != outcome.name), outcome]
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(*grouped, *totals).where(*asked.conditions()).group_by(*grouped)
            )
            return [_sum([column.name for column in grouped], row) for row in rows]

    def each(self, asked: Asked) -> Iterator[Mapping[str, Any]]:
        """Yields the calls in the order in which they came."""
        with reading(self._engine) as connection:
            rows = connection.execution_options(yield_per=1000).execute(
                select(TOOL_CALLS)
                .where(*asked.conditions())
                .order_by(TOOL_CALLS.c.called_at, TOOL_CALLS.c.event_id)
            )
            for row in rows:
                yield dict(row._mapping)


def _sum(names: Sequence[str], row: Sequence[Any]) -> ToolSum:
    width = len(names)
    values = dict(zip(names, map(str, row[:width]), strict=True))
    requests, micros, request_bytes, answer_bytes = map(int, row[width:])
    return ToolSum(
        names=values,
        outcome=values["outcome"],
        requests=requests,
        micros=micros,
        request_bytes=request_bytes,
        answer_bytes=answer_bytes,
    )
