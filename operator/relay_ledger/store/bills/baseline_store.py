"""Histories of old relays, kept beside what is booked and summed with none of it: no bill, balance or budget knows them."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, select

from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.baseline import ImportedPoint
from relay_ledger.reports.old_history import History, Point
from relay_ledger.store.credits import is_known
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.rows.act_rows import Act, note_act
from relay_ledger.store.tables import BASELINE_POINTS, BASELINES

_SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ROWS_AT_ONCE: Final = 5000


class BaselineRefused(ValueError):
    """A history that is not imported; the message says why."""


@dataclass(frozen=True, slots=True)
class Import:
    """A history that was imported: of whom, from where, and of which time. Times are microseconds since 1970."""

    tenant_uid: str
    source: str
    start: int
    end: int
    points: int
    imported_at: int


class BaselineStore:
    """Imports of one tenant and source never overlap in time, so that nothing is in them twice."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(
        self, tenant_uid: str, source: str, history: History, *, replace: bool, now: int
    ) -> bool:
        """Keeps a history; returns False if this very one is kept already. Raises BaselineRefused.

        What was imported of a time that it is of too is refused, or taken away first if replace says so.
        """
        if _SOURCE.fullmatch(source) is None:
            raise BaselineRefused(
                f"{source[:64]!r} is no name of a source: letters, digits, `.`, `_` and `-`, 63 at most"
            )
        digest = _digest(history)
        with writing(self._engine, tenant_uid) as connection:
            if not is_known(connection, tenant_uid):
                raise BaselineRefused(f"the ledger knows no tenant of UID {tenant_uid}")
            others = _overlapping(connection, tenant_uid, source, history)
            if any(one.digest == digest for one in others):
                return False
            if others and not replace:
                first = others[0]
                raise BaselineRefused(
                    f"{source} is imported already from {utc_text(first.starts_at)} to {utc_text(first.ends_at)}:"
                    " give the time after, or --replace to take that away"
                )
            for one in others:
                _take_away(connection, tenant_uid, source, one.starts_at, one.ends_at)
            _keep(connection, tenant_uid, source, history, digest, now)
            act = "baseline replaced" if others else "baseline imported"
            span = f"{source} {utc_text(history.start)}/{utc_text(history.end)}"
            note_act(connection, Act(now, act, tenant_uid, span, f"{len(history.points)} points"))
        return True

    def remove(self, tenant_uid: str, source: str, *, now: int) -> int:
        """Takes away all that was imported of a tenant from a source; returns how many imports."""
        with writing(self._engine, tenant_uid) as connection:
            of_source = _of(BASELINES, tenant_uid, source)
            count = connection.execute(delete(BASELINES).where(*of_source)).rowcount
            connection.execute(
                delete(BASELINE_POINTS).where(*_of(BASELINE_POINTS, tenant_uid, source))
            )
            if count:
                note_act(
                    connection, Act(now, "baseline removed", tenant_uid, source, f"{count} imports")
                )
        return count

    def all(self) -> list[Import]:
        """Returns every import."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(BASELINES).order_by(*BASELINES.primary_key.columns))
            return [
                Import(
                    row.tenant_uid,
                    row.source,
                    int(row.starts_at),
                    int(row.ends_at),
                    int(row.points),
                    int(row.imported_at),
                )
                for row in rows
            ]

    def points(self, *, start: int, end: int, tenant_uid: str | None = None) -> list[ImportedPoint]:
        """Returns the points that begin in a time, half open, of a tenant or of all."""
        where = [BASELINE_POINTS.c.starts_at >= start, BASELINE_POINTS.c.starts_at < end]
        if tenant_uid is not None:
            where.append(BASELINE_POINTS.c.tenant_uid == tenant_uid)
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(BASELINE_POINTS).where(*where).order_by(*BASELINE_POINTS.primary_key.columns)
            )
            return [
                ImportedPoint(
                    row.tenant_uid,
                    row.source,
                    Point(
                        int(row.starts_at),
                        row.model,
                        int(row.input_tokens),
                        int(row.output_tokens),
                    ),
                )
                for row in rows
            ]


def _digest(history: History) -> str:
    points = [[one.at, one.model, one.input_tokens, one.output_tokens] for one in history.points]
    return hashlib.sha256(json.dumps([history.end, points]).encode()).hexdigest()


def _of(table: Any, tenant_uid: str, source: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.tenant_uid == tenant_uid, table.c.source == source


def _overlapping(
    connection: Connection, tenant_uid: str, source: str, history: History
) -> Sequence[Any]:
    return connection.execute(
        select(BASELINES)
        .where(
            *_of(BASELINES, tenant_uid, source),
            BASELINES.c.starts_at < history.end,
            BASELINES.c.ends_at > history.start,
        )
        .order_by(BASELINES.c.starts_at)
    ).all()


def _take_away(connection: Connection, tenant_uid: str, source: str, start: int, end: int) -> None:
    connection.execute(
        delete(BASELINES).where(*_of(BASELINES, tenant_uid, source), BASELINES.c.starts_at == start)
    )
    connection.execute(
        delete(BASELINE_POINTS).where(
            *_of(BASELINE_POINTS, tenant_uid, source),
            BASELINE_POINTS.c.starts_at >= start,
            BASELINE_POINTS.c.starts_at < end,
        )
    )


def _keep(
    connection: Connection, tenant_uid: str, source: str, history: History, digest: str, now: int
) -> None:
    same = {"tenant_uid": tenant_uid, "source": source}
    times = {"starts_at": history.start, "ends_at": history.end, "imported_at": now}
    row = {**same, **times, "points": len(history.points), "digest": digest}
    connection.execute(insert(BASELINES), [row])
    rows = [
        {
            **same,
            "starts_at": one.at,
            "model": one.model,
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
        }
        for one in history.points
    ]
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        connection.execute(insert(BASELINE_POINTS), rows[first : first + _ROWS_AT_ONCE])
