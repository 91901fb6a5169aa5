"""Lines that are kept apart: which there are, and how the matter of one ended. A line itself never changes, and never goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, select, tuple_

from relay_ledger.reports.quarantine import End, KeptLine, Place
from relay_ledger.store.databases import insert_into, reading, writing
from relay_ledger.store.rows.act_rows import Act, note_act
from relay_ledger.store.tables import QUARANTINE, QUARANTINE_ENDS

_PLACE: Final = ("received_at", "digest", "reason", "tenant_uid")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which lines; start and end are of the time at which they came. Without with_ended those that ended are left out."""

    start: int | None = None
    end: int | None = None
    equal: dict[str, str] = field(default_factory=dict)
    """Values of columns: tenant_uid, reason."""
    digests: Sequence[str] = ()
    with_ended: bool = False


class QuarantinedLines:
    """Of all tenants, unless one is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self, chosen: Chosen, *, most: int, after: Place | None = None
    ) -> tuple[list[KeptLine], bool]:
        """Returns at most so many lines that come after a place, in the order in which they came, and whether more follow."""
        ends, own = QUARANTINE_ENDS.c, QUARANTINE.c
        place = [own[name] for name in _PLACE]
        is_same = (
            (ends.tenant_uid == own.tenant_uid)
            & (ends.digest == own.digest)
            & (ends.reason == own.reason)
        )
        found = (
            select(QUARANTINE, ends.how.label("end"), ends.ended_at)
            .select_from(QUARANTINE.outerjoin(QUARANTINE_ENDS, is_same))
            .where(*_conditions(chosen))
            .order_by(*place)
            .limit(most + 1)
        )
        if after is not None:
            found = found.where(tuple_(*place) > tuple_(*after))
        with reading(self._engine) as connection:
            lines = [KeptLine(**row._mapping) for row in connection.execute(found)]
        return lines[:most], len(lines) > most

    def finish(self, line: KeptLine, end: End, *, now: int, note: str = "") -> bool:
        """Keeps how the matter of a line ended, and the act; returns False if it has ended already."""
        with writing(self._engine, line.tenant_uid) as connection:
            return finish_in(connection, line, end, now=now, note=note)


def finish_in(connection: Connection, line: KeptLine, end: End, *, now: int, note: str) -> bool:
    """Does so in a transaction in which nobody else books for the line's tenant."""
    row = {
        "tenant_uid": line.tenant_uid,
        "digest": line.digest,
        "reason": line.reason,
        "ended_at": now,
        "how": end,
    }
    # PostgreSQL's driver tells no number of rows of an INSERT
    ended = (
        insert_into(connection, QUARANTINE_ENDS)
        .on_conflict_do_nothing()
        .returning(QUARANTINE_ENDS.c.how)
    )
    if connection.execute(ended, row).first() is None:
        return False
    subject = f"{line.reason} {line.digest}"
    note_act(connection, Act(now, f"line {end}", line.tenant_uid, subject, note))
    return True


def _conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    own = QUARANTINE.c
    conditions: list[Any] = [own[name] == value for name, value in chosen.equal.items()]
    if chosen.start is not None:
        conditions.append(own.received_at >= chosen.start)
    if chosen.end is not None:
        conditions.append(own.received_at < chosen.end)
    if chosen.digests:
        conditions.append(own.digest.in_(chosen.digests))
    if not chosen.with_ended:
        conditions.append(QUARANTINE_ENDS.c.ended_at.is_(None))
    return conditions
