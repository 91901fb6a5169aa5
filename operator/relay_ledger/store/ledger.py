"""The ledger in its database: books batches, closes what a crash left open, and shows that nothing is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, func, literal, select

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import read_event
from relay_ledger.booking.attempt_life import Tally
from relay_ledger.booking.posting import FIGURES
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.batch_booking import BatchBooking, Receipt
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.rows.quarantine import Quarantined
from relay_ledger.store.tables import (
    DIMENSIONS,
    EVENTS,
    IN_FLIGHT,
    POSTINGS,
    QUARANTINE,
    QUARANTINE_ENDS,
    QUARTER_MICROSECONDS,
    SUMS,
    TALLIES,
)

SWEEP_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """The numbers that have to agree: `tally.in_flight` is what in_flight has to be."""

    tally: Tally
    in_flight: int
    quarantined: int
    """Lines that are kept apart and neither released nor dismissed."""


class Ledger:
    """Everything that changes rows of attempts. Times are microseconds since 1970."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._partitions = Partitions(engine)

    def book(
        self,
        tenant_uid: str,
        records: Sequence[AttemptRecord],
        prices: PriceBook,
        *,
        now: int,
        refused: Sequence[Quarantined] = (),
    ) -> Receipt:
        """Books a tenant's records at once. When it returns they are on disk; when it raises nothing is booked."""
        if any(record.tenant_uid != tenant_uid for record in records):
            raise ValueError("a batch holds records of one tenant")
        self._partitions.ensure(record.dispatched_at for record in records)
        with writing(self._engine, tenant_uid) as connection:
            return BatchBooking(connection, tenant_uid, now=now).book(records, refused, prices)

    def sweep(self, *, sent_before: int, now: int) -> int:
        """Closes attempts in flight that were sent before; returns how many."""
        swept = 0
        while batch := self._overdue(sent_before):
            for tenant_uid, opened in batch.items():
                with writing(self._engine, tenant_uid) as connection:
                    swept += BatchBooking(connection, tenant_uid, now=now).sweep(opened)
        return swept

    def drop_before(self, cutoff: int) -> list[str]:
        """Forgets the rows of months that end by then, of which only sums stay; returns the names of what went."""
        return self._partitions.drop_before(cutoff)

    def standing(self, tenant_uid: str | None = None) -> Standing:
        """Counts what there is, of one tenant or of all."""
        names = ("opened", "closed", "swept", "unopened")
        with reading(self._engine) as connection:
            tally = connection.execute(
                select(*(func.coalesce(func.sum(TALLIES.c[name]), 0) for name in names)).where(
                    _of(TALLIES.c.tenant_uid, tenant_uid)
                )
            ).one()
            in_flight, quarantined, ended = (
                connection.execute(
                    select(func.count())
                    .select_from(table)
                    .where(_of(table.c.tenant_uid, tenant_uid))
                ).scalar_one()
                for table in (IN_FLIGHT, QUARANTINE, QUARANTINE_ENDS)
            )
        counts = dict(zip(names, map(int, tally), strict=True))
        return Standing(Tally(**counts), in_flight, quarantined - ended)

    def sums(self, tenant_uid: str, *, start: int, end: int) -> dict[str, int]:
        """Returns a tenant's figures of a time, whole quarters of an hour from start up to but without end."""
        columns = [func.coalesce(func.sum(SUMS.c[name]), 0) for name in FIGURES]
        with reading(self._engine) as connection:
            row = connection.execute(
                select(*columns).where(
                    SUMS.c.tenant_uid == tenant_uid,
                    SUMS.c.quarter >= start,
                    SUMS.c.quarter < end,
                )
            ).one()
        return dict(zip(FIGURES, map(int, row), strict=True))

    def differences(self, *, start: int, end: int) -> list[dict[str, Any]]:
        """Compares the sums of a time with their postings; returns the keys where they are not the same, with both.

        start and end are at quarters of an hour, within what is kept.
        """
        with reading(self._engine) as connection:
            sums = _by_key(connection.execute(_summed(start, end)))
            posted = _by_key(connection.execute(_posted(start, end)))
        nothing = dict.fromkeys(FIGURES, 0)
        return [
            {"key": key, "sums": sums.get(key, nothing), "postings": posted.get(key, nothing)}
            for key in sorted(sums.keys() | posted.keys())
            if sums.get(key, nothing) != posted.get(key, nothing)
        ]

    def _overdue(self, sent_before: int) -> Mapping[str, list[AttemptRecord]]:
        """Returns some attempts in flight by tenant, the oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(EVENTS.c.tenant_uid, EVENTS.c.line)
                .join(
                    IN_FLIGHT,
                    (IN_FLIGHT.c.tenant_uid == EVENTS.c.tenant_uid)
                    & (IN_FLIGHT.c.event_id == EVENTS.c.event_id)
                    & (IN_FLIGHT.c.dispatched_at == EVENTS.c.dispatched_at),
                )
                .where(EVENTS.c.phase == "opened", IN_FLIGHT.c.dispatched_at < sent_before)
                .order_by(IN_FLIGHT.c.dispatched_at)
                .limit(SWEEP_BATCH)
            ).all()
        overdue: dict[str, list[AttemptRecord]] = {}
        for tenant_uid, line in rows:
            overdue.setdefault(tenant_uid, []).append(read_event(line.encode()))
        return overdue


def _of(column: ColumnElement[str], tenant_uid: str | None) -> ColumnElement[bool]:
    return literal(True) if tenant_uid is None else column == tenant_uid


_KEY: Final = ("tenant_uid", "quarter", *DIMENSIONS)


def _summed(start: int, end: int) -> Any:
    columns = [SUMS.c[name] for name in (*_KEY, *FIGURES)]
    return select(*columns).where(SUMS.c.quarter >= start, SUMS.c.quarter < end)


def _posted(start: int, end: int) -> Any:
    at = POSTINGS.c.dispatched_at
    quarter = (at - at % QUARTER_MICROSECONDS).label("quarter")
    keys = [POSTINGS.c.tenant_uid, quarter, *(POSTINGS.c[name] for name in DIMENSIONS)]
    figures = [func.sum(POSTINGS.c[name]).label(name) for name in FIGURES]
    return select(*keys, *figures).where(at >= start, at < end).group_by(*keys)


def _by_key(rows: Any) -> dict[tuple[Any, ...], dict[str, int]]:
    return {
        tuple(row[: len(_KEY)]): dict(zip(FIGURES, map(int, row[len(_KEY) :]), strict=True))
        for row in rows
    }
