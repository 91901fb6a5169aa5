"""The ledger in its database: books batches, closes what a crash left open, and shows that nothing is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Engine,
    Select,
    func,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import read_event
from relay_ledger.booking.attempt_life import Tally
from relay_ledger.booking.posting import FIGURES
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.batch_booking import Along, BatchBooking, Receipt
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.limits.ended_limits import forget_limits, forget_pods
from relay_ledger.store.partitions import Partitions, first_of, month_of
from relay_ledger.store.price_book_store import booking_by
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
        along: Along | None = None,
    ) -> Receipt:
        """Books a tenant's records at once. When it returns they are on disk; when it raises nothing is booked. Raises OutdatedPrices."""
        if any(record.tenant_uid != tenant_uid for record in records):
            raise ValueError("a batch holds records of one tenant")
        self._partitions.ensure(record.dispatched_at for record in records)
        with booking_by(self._engine, tenant_uid, prices) as connection:
            receipt = BatchBooking(connection, tenant_uid, now=now).book(records, refused, prices)
            if along is not None:
                along(connection, receipt)
        return receipt

    def sweep(self, *, sent_before: int, now: int) -> int:
        """Closes attempts in flight that were sent before; returns how many."""
        swept = 0
        while batch := self._overdue(sent_before):
            for tenant_uid, opened in batch.items():
                with writing(self._engine, tenant_uid) as connection:
                    swept += BatchBooking(connection, tenant_uid, now=now).sweep(opened)
        return swept

    def drop_before(self, cutoff: int) -> list[str]:
        """Forgets the rows of months that end by then, of which only sums stay, and what was leased and warned of in periods that ended before; returns the
        names of what went.
        """
        return [
            *self._partitions.drop_before(cutoff),
            *forget_limits(self._engine, before=first_of(month_of(cutoff))),
        ]

    def forget_pods(self, gone_by: int) -> int:
        """Forgets relay pods that have leased nothing of a credit since, of which no record comes any more; returns how many."""
        return forget_pods(self._engine, gone_by=gone_by)

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
        """Compares the sums of a time with their postings, tenant by tenant; returns the keys where they are not the same, with both.

        start and end are at quarters of an hour, within what is kept.
        """
        return [
            difference
            for tenant_uid in self.tenants()
            for difference in self.differences_of(tenant_uid, start=start, end=end)
        ]

    def tenants(self) -> Iterator[str]:
        """Yields who has sums or postings, each by a look into two indexes."""
        tenant_uid: str | None = self.tenant_after("")
        while tenant_uid is not None:
            yield tenant_uid
            tenant_uid = self.tenant_after(tenant_uid)

    def tenant_after(self, tenant_uid: str) -> str | None:
        """Returns the next one who has sums or postings, in the order of the database; None after the last."""
        firsts = union_all(
            *(
                select(func.min(table.c.tenant_uid).label("uid")).where(
                    table.c.tenant_uid > tenant_uid
                )
                for table in (SUMS, POSTINGS)
            )
        ).subquery()
        with reading(self._engine) as connection:
            found: str | None = connection.execute(select(func.min(firsts.c.uid))).scalar_one()
        return found

    def differences_of(self, tenant_uid: str, *, start: int, end: int) -> list[dict[str, Any]]:
        """Compares as differences does, of one tenant. The database compares: only what differs takes memory here."""
        with reading(self._engine) as connection:
            rows = connection.execute(_differing(tenant_uid, start, end)).all()
        size = len(FIGURES)
        return [
            {
                "key": tuple(row[: len(_KEY)]),
                "sums": _figures(row[len(_KEY) : len(_KEY) + size]),
                "postings": _figures(row[len(_KEY) + size :]),
            }
            for row in sorted(rows, key=lambda row: tuple(row[: len(_KEY)]))
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


def _differing(tenant_uid: str, start: int, end: int) -> Select[Any]:
    """Both primary keys begin with the tenant: this reads what is of one, and nothing of others."""
    at = POSTINGS.c.dispatched_at
    quarter = (at - at % QUARTER_MICROSECONDS).label("quarter")
    both = union_all(
        select(
            *(SUMS.c[name] for name in _KEY),
            *(SUMS.c[name].label(f"sums_{name}") for name in FIGURES),
            *(literal_column("0").label(f"postings_{name}") for name in FIGURES),
        ).where(SUMS.c.tenant_uid == tenant_uid, SUMS.c.quarter >= start, SUMS.c.quarter < end),
        select(
            *(POSTINGS.c.tenant_uid, quarter, *(POSTINGS.c[name] for name in DIMENSIONS)),
            *(literal_column("0") for _ in FIGURES),
            *(POSTINGS.c[name] for name in FIGURES),
        ).where(POSTINGS.c.tenant_uid == tenant_uid, at >= start, at < end),
    ).subquery()
    keys = [both.c[name] for name in _KEY]
    sums = [func.sum(both.c[f"sums_{name}"]) for name in FIGURES]
    postings = [func.sum(both.c[f"postings_{name}"]) for name in FIGURES]
    differ = or_(*(one != other for one, other in zip(sums, postings, strict=True)))
    return select(*keys, *sums, *postings).group_by(*keys).having(differ)


def _figures(values: Sequence[Any]) -> dict[str, int]:
    return dict(zip(FIGURES, map(int, values), strict=True))
