"""Reads single attempts, page by page. Of months that are no longer kept there are none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from relay_contract.billing.event_line import read_event
from relay_ledger.booking.posting import Posting
from relay_ledger.reports.attempts import IN_FLIGHT as STILL_OPEN
from relay_ledger.reports.attempts import SWEPT, BookedAttempt
from relay_ledger.store.databases import reading
from relay_ledger.store.every_tenant import every_tenant
from relay_ledger.store.rows.line_fields import says
from relay_ledger.store.rows.posting_rows import posting_from
from relay_ledger.store.tables import EVENTS, IN_FLIGHT, POSTINGS, TALLIES

_AT_ONCE: Final = 500
Place = tuple[int, str, str]
"""Where an attempt stands among all: the time at which it was sent, whose it is, and its id. So stands it in the index of times of SQLite,
which can then stop once a page is full."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which attempts: sent from start up to but without end, microseconds since 1970, with these values in fields of their records.

    fields are by their names in a line. model is any of the three that a record may name.
    """

    start: int | None = None
    end: int | None = None
    tenant_uid: str | None = None
    event_id: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    outcome: str | None = None
    unpriced: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Attempts in the order in which they were sent; following is the place of the last one, None where no more come after it."""

    attempts: tuple[BookedAttempt, ...]
    following: Place | None


class AttemptReading:
    """Of all tenants, unless one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, asked: Asked, *, most: int, after: Place | None = None) -> Page:
        """Returns at most so many attempts that come after a place."""
        place = (EVENTS.c.dispatched_at, EVENTS.c.tenant_uid, EVENTS.c.event_id)
        found = select(*place).where(*self._conditions(asked))
        if after is not None:
            # the index is of times alone
            found = found.where(place[0] >= after[0], tuple_(*place) > tuple_(*after))
        # both records of an attempt may answer
        found = found.group_by(*place).order_by(*place).limit(most + 1)
        with reading(self._engine) as connection:
            keys = [(int(row[0]), str(row[1]), str(row[2])) for row in connection.execute(found)]
            attempts = _attempts(connection, keys[:most])
        following = keys[most - 1] if len(keys) > most else None
        return Page(tuple(attempts), following)

    def _conditions(self, asked: Asked) -> list[ColumnElement[bool]]:
        own = EVENTS.c
        conditions: list[ColumnElement[bool]] = [own.phase.in_(("opened", "closed"))]
        if asked.start is not None:
            conditions.append(own.dispatched_at >= asked.start)
        if asked.end is not None:
            conditions.append(own.dispatched_at < asked.end)
        if asked.tenant_uid is not None:
            conditions.append(own.tenant_uid == asked.tenant_uid)
        if asked.event_id is not None:
            conditions += _has_id(asked)
        conditions += [self._says(name, value) for name, value in asked.fields.items()]
        if asked.model is not None:
            names = ("requestedModel", "routedModel", "answeredModel")
            conditions.append(or_(*(self._says(name, asked.model) for name in names)))
        if asked.outcome is not None:
            conditions.append(self._ended(asked.outcome))
        if asked.unpriced:
            conditions.append(_is_unpriced(asked))
        return conditions

    def _says(self, name: str, value: str) -> ColumnElement[bool]:
        return says(name, value, self._engine.dialect)

    def _ended(self, outcome: str) -> ColumnElement[bool]:
        if outcome == STILL_OPEN:
            return exists().where(
                IN_FLIGHT.c.tenant_uid == EVENTS.c.tenant_uid,
                IN_FLIGHT.c.event_id == EVENTS.c.event_id,
            )
        if outcome == SWEPT:
            return _has("swept") & ~_has("closed")
        return self._says("outcome", outcome)


def _has_id(asked: Asked) -> list[ColumnElement[bool]]:
    """Finds an id by the primary key, which begins with the tenant: for each tenant it is a look into the index, not one at every record."""
    conditions: list[ColumnElement[bool]] = [EVENTS.c.event_id == asked.event_id]
    if asked.tenant_uid is None:
        conditions.append(EVENTS.c.tenant_uid.in_(every_tenant(TALLIES)))
    return conditions


def _has(phase: str) -> ColumnElement[bool]:
    other = EVENTS.alias()
    return exists().where(
        other.c.tenant_uid == EVENTS.c.tenant_uid,
        other.c.event_id == EVENTS.c.event_id,
        other.c.dispatched_at == EVENTS.c.dispatched_at,
        other.c.phase == phase,
    )


def _is_unpriced(asked: Asked) -> ColumnElement[bool]:
    """Tells whether an attempt has an account without a price, after all corrections."""
    without = func.sum(POSTINGS.c.cost_unpriced) + func.sum(POSTINGS.c.charge_unpriced)
    found = select(POSTINGS.c.tenant_uid, POSTINGS.c.event_id)
    if asked.start is not None:
        found = found.where(POSTINGS.c.dispatched_at >= asked.start)
    if asked.end is not None:
        found = found.where(POSTINGS.c.dispatched_at < asked.end)
    if asked.tenant_uid is not None:
        found = found.where(POSTINGS.c.tenant_uid == asked.tenant_uid)
    found = found.group_by(POSTINGS.c.tenant_uid, POSTINGS.c.event_id).having(without > 0)
    return tuple_(EVENTS.c.tenant_uid, EVENTS.c.event_id).in_(found)


def _attempts(connection: Connection, keys: Sequence[Place]) -> list[BookedAttempt]:
    """Returns the attempts at these places, in their order."""
    found: list[BookedAttempt] = []
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        lines: dict[str, dict[str, str]] = {}
        for row in connection.execute(select(EVENTS).where(*_among(EVENTS, some))):
            lines.setdefault(row.event_id, {})[row.phase] = row.line
        postings: dict[str, list[Posting]] = {}
        rows = connection.execute(
            select(POSTINGS).where(*_among(POSTINGS, some)).order_by(POSTINGS.c.sequence)
        )
        for row in rows:
            postings.setdefault(row.event_id, []).append(posting_from(row))
        for _, _, event_id in some:
            phases = lines[event_id]
            record = read_event((phases.get("closed") or phases["opened"]).encode())
            posted = tuple(postings.get(event_id, ()))
            found.append(BookedAttempt(record, "swept" in phases, posted))
    return found


def _among(table: Any, keys: Sequence[Place]) -> tuple[ColumnElement[bool], ...]:
    """Returns the conditions for rows of these attempts; the times let PostgreSQL look into few partitions."""
    times, tenants, ids = zip(*keys, strict=True)
    return (
        table.c.tenant_uid.in_(sorted(set(tenants))),
        table.c.event_id.in_(ids),
        table.c.dispatched_at.between(min(times), max(times)),
    )
