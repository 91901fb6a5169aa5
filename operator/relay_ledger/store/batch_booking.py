"""The booking of one batch of one tenant, in the transaction that it is given: all of it, or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from relay_contract.billing.attempt_event import AttemptClosed, AttemptOpened, AttemptRecord
from relay_contract.billing.event_line import event_line, line_digest
from relay_ledger.booking.answer_times import ANSWER_FIGURES, answer_figures, step_of
from relay_ledger.booking.attempt_life import Change, LedgerPhase, Tally, change_of
from relay_ledger.booking.posting import (
    FIGURES,
    Posting,
    in_all,
    opened_posting,
    posting_of,
    reversal_of,
    swept_posting,
)
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.databases import insert_into
from relay_ledger.store.limits.tenant_limits import BEFORE, Booked, TenantLimits
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.rows.posting_rows import posting_from, row_of
from relay_ledger.store.rows.quarantine import Quarantined, keep_apart
from relay_ledger.store.tables import (
    ANSWERS,
    DIMENSIONS,
    EVENTS,
    IN_FLIGHT,
    POSTINGS,
    QUARTER_MICROSECONDS,
    SUMS,
    TALLIES,
)

DAY_MICROSECONDS: Final = 86_400_000_000
_TALLIED: Final = ("opened", "closed", "swept", "unopened")


Served = tuple[str, str, str]
"""Provider, model and usage source of attempts."""


@dataclass(frozen=True, slots=True)
class BookedGroup:
    """Sums of attempts that were served alike."""

    attempts: int = 0
    cost_pico: int = 0
    charge_pico: int = 0

    def __add__(self, other: "BookedGroup") -> "BookedGroup":
        return BookedGroup(
            self.attempts + other.attempts,
            self.cost_pico + other.cost_pico,
            self.charge_pico + other.charge_pico,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """Tells what became of a batch."""

    booked: int
    repeated: int
    quarantined: tuple[Quarantined, ...]
    unpriced: Mapping[str, int] = field(default_factory=dict)
    """Postings without a price in this batch, by account."""
    served: Mapping[Served, BookedGroup] = field(default_factory=dict)
    """What the attempts that ended in this batch come to."""
    unpriced_calls: Mapping[str, int] = field(default_factory=dict)
    """Tool calls without a price in this batch, by account."""
    called: Mapping[str, BookedGroup] = field(default_factory=dict)
    """What the tool calls of this batch come to, by server; attempts are those that it carried out."""


Along = Callable[[Connection, Receipt], None]
"""What is done in the transaction of a booking, with its receipt; what it raises takes the booking back."""


@dataclass(slots=True)
class _Record:
    """A record of the batch as it is stored."""

    record: AttemptRecord
    digest: str
    line: bytes


class BatchBooking:
    """Lives for one transaction, in which nobody else books for this tenant."""

    def __init__(self, connection: Connection, tenant_uid: str, *, now: int) -> None:
        self._connection = connection
        self._tenant_uid = tenant_uid
        self._now = now
        self._phases: dict[str, set[LedgerPhase]] = {}
        self._digests: dict[tuple[str, str], str] = {}

    def book(
        self, records: Sequence[AttemptRecord], refused: Sequence[Quarantined], prices: PriceBook
    ) -> Receipt:
        """Books what is new, and keeps apart what contradicts what is booked."""
        self._recall(records)
        fresh: list[_Record] = []
        quarantined = list(refused)
        for record in records:
            line = event_line(record)
            stored = _Record(record, line_digest(line), line)
            known = self._digests.get((record.id, record.phase))
            if known is None:
                self._digests[record.id, record.phase] = stored.digest
                fresh.append(stored)
            elif known != stored.digest:
                quarantined.append(_conflict(stored, known))
        postings = self._postings(fresh, prices)
        self._store_events(
            (one.record.id, one.record.phase, one.record.dispatched_at, one.digest, one.line)
            for one in fresh
        )
        self._spend(postings, {one.record.id: one.record.relay for one in fresh})
        self._store_postings(postings)
        self._store_answers(one.record for one in fresh if isinstance(one.record, AttemptClosed))
        self._follow_lives(
            [(one.record.id, one.record.dispatched_at, one.record.phase) for one in fresh]
        )
        keep_apart(self._connection, self._tenant_uid, quarantined, now=self._now)
        return Receipt(
            booked=len(fresh),
            repeated=len(records) - len(fresh) - (len(quarantined) - len(refused)),
            quarantined=tuple(quarantined),
            unpriced=unpriced_in(postings),
            served=_served(postings),
        )

    def sweep(self, opened: Sequence[AttemptRecord]) -> int:
        """Closes attempts that are still in flight; returns how many were."""
        self._recall(opened)
        swept = [one for one in opened if self._phases.get(one.id) == {"opened"}]
        self._store_events((one.id, "swept", one.dispatched_at, "", b"") for one in swept)
        before = self._booked(swept)
        self._store_postings(
            [
                swept_posting(one, before.get(one.id))
                for one in swept
                if isinstance(one, AttemptOpened)
            ]
        )
        self._follow_lives([(one.id, one.dispatched_at, "swept") for one in swept])
        return len(swept)

    def add(self, postings: Sequence[Posting], pods: Mapping[str, str] | None = None) -> None:
        """Adds postings to what is booked. pods are those whose calls they are, by the id of what is posted, where they have a part in limits."""
        self._spend(postings, pods or {})
        self._store_postings(postings)

    # -- what is known ----------------------------------------------------------------------------------------------

    def _recall(self, records: Sequence[AttemptRecord]) -> None:
        """Reads what is stored of these attempts."""
        if not records:
            return
        columns = (EVENTS.c.event_id, EVENTS.c.phase, EVENTS.c.digest)
        for event_id, phase, digest in self._connection.execute(
            select(*columns).where(*_among(EVENTS, self._tenant_uid, records))
        ):
            self._phases.setdefault(event_id, set()).add(phase)
            self._digests[event_id, phase] = digest

    def _postings(self, fresh: Iterable[_Record], prices: PriceBook) -> list[Posting]:
        closed = [one.record for one in fresh if isinstance(one.record, AttemptClosed)]
        known = self._booked([record for record in closed if record.id in self._phases])
        postings: list[Posting] = []
        for record in closed:
            before = known.get(record.id)
            if before is None:
                postings.append(posting_of(record, prices))
            else:
                postings.append(reversal_of(before, sequence=before.sequence + 1))
                postings.append(posting_of(record, prices, sequence=before.sequence + 2))
        ended = {record.id for record in closed}
        ended |= {event_id for event_id, phases in self._phases.items() if "closed" in phases}
        begun = [one.record for one in fresh if one.record.id not in ended]
        return postings + [
            posting
            for record in begun
            if isinstance(record, AttemptOpened)
            and (posting := opened_posting(record, prices)).figures["held_pico"]
        ]

    def _booked(self, records: Sequence[AttemptRecord]) -> dict[str, Posting]:
        """Returns what is booked in all of attempts that nobody had closed, by their ids."""
        if not records:
            return {}
        postings: dict[str, list[Posting]] = {}
        for row in self._connection.execute(
            select(POSTINGS)
            .where(*_among(POSTINGS, self._tenant_uid, records))
            .order_by(POSTINGS.c.sequence)
        ):
            postings.setdefault(row.event_id, []).append(posting_from(row))
        return {event_id: in_all(booked) for event_id, booked in postings.items()}

    def _spend(self, postings: Sequence[Posting], pods: Mapping[str, str]) -> None:
        """Books what is charged on the tenant's budget and credit."""
        charges = [
            Booked(pods.get(one.event_id, BEFORE), one.dispatched_at, one.figures["charge_pico"])
            for one in postings
        ]
        if charges:
            TenantLimits(self._connection, self._tenant_uid).book(charges, self._now)

    # -- what is added ----------------------------------------------------------------------------------------------

    def _store_events(self, rows: Iterable[tuple[str, str, int, str, bytes]]) -> None:
        insert_rows(
            self._connection,
            EVENTS,
            [
                {
                    "tenant_uid": self._tenant_uid,
                    "event_id": event_id,
                    "phase": phase,
                    "dispatched_at": dispatched_at,
                    "received_at": self._now,
                    "digest": digest,
                    "line": line.decode(),
                }
                for event_id, phase, dispatched_at, digest, line in rows
            ],
        )

    def _store_postings(self, postings: Sequence[Posting]) -> None:
        insert_rows(
            self._connection, POSTINGS, [row_of(posting, self._now) for posting in postings]
        )
        sums: dict[tuple[Any, ...], dict[str, int]] = {}
        for posting in postings:
            key = (_quarter(posting.dispatched_at), *posting.dimensions.key())
            total = sums.setdefault(key, dict.fromkeys(FIGURES, 0))
            for name, figure in posting.figures.items():
                total[name] += figure
        rows = [
            {
                "tenant_uid": self._tenant_uid,
                **dict(zip(("quarter", *DIMENSIONS), key, strict=True)),
                **sums[key],
            }
            for key in sorted(sums)
        ]
        self._add_up(SUMS, FIGURES, rows)

    def _store_answers(self, ended: Iterable[AttemptClosed]) -> None:
        totals: dict[tuple[int, int], dict[str, int]] = {}
        for record in ended:
            figures = answer_figures(record)
            if figures is not None:
                total = totals.setdefault(
                    (_quarter(record.dispatched_at), step_of(record)),
                    dict.fromkeys(ANSWER_FIGURES, 0),
                )
                for name, figure in figures.items():
                    total[name] += figure
        rows = [
            {"tenant_uid": self._tenant_uid, "quarter": quarter, "step": step, **total}
            for (quarter, step), total in sorted(totals.items())
        ]
        self._add_up(ANSWERS, ANSWER_FIGURES, rows)

    def _follow_lives(self, steps: Sequence[tuple[str, int, LedgerPhase]]) -> None:
        """Counts what new phases change, and keeps the list of what is in flight."""
        new: dict[str, set[LedgerPhase]] = {}
        times: dict[str, int] = {}
        for event_id, dispatched_at, phase in steps:
            new.setdefault(event_id, set()).add(phase)
            times[event_id] = dispatched_at
        changes = {
            one: change_of(self._phases.get(one, set()), phases) for one, phases in new.items()
        }
        self._count(changes, times)
        begun = [one for one, change in changes.items() if change.in_flight > 0]
        ended = [one for one, change in changes.items() if change.in_flight < 0]
        insert_rows(
            self._connection,
            IN_FLIGHT,
            [
                {"tenant_uid": self._tenant_uid, "event_id": one, "dispatched_at": times[one]}
                for one in begun
            ],
        )
        if ended:
            self._connection.execute(
                delete(IN_FLIGHT).where(
                    IN_FLIGHT.c.tenant_uid == self._tenant_uid, IN_FLIGHT.c.event_id.in_(ended)
                )
            )

    def _count(self, changes: Mapping[str, Change], times: Mapping[str, int]) -> None:
        days: dict[int, Tally] = {}
        for event_id, change in changes.items():
            day = times[event_id] // DAY_MICROSECONDS * DAY_MICROSECONDS
            days[day] = days.get(day, Tally()) + change.tally
        rows = [
            {"tenant_uid": self._tenant_uid, "day": day, **asdict(days[day])}
            for day in sorted(days)
        ]
        self._add_up(TALLIES, _TALLIED, rows)

    def _add_up(self, table: Any, names: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        statement = insert_into(self._connection, table)
        added = {name: table.c[name] + statement.excluded[name] for name in names}
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(table.primary_key.columns), set_=added
            ),
            rows,
        )


def _among(table: Any, tenant_uid: str, records: Sequence[AttemptRecord]) -> tuple[Any, ...]:
    """Returns the conditions for rows of these attempts; the times let PostgreSQL look into few partitions."""
    times = [record.dispatched_at for record in records]
    return (
        table.c.tenant_uid == tenant_uid,
        table.c.event_id.in_({record.id for record in records}),
        table.c.dispatched_at.between(min(times), max(times)),
    )


def _quarter(at: int) -> int:
    return at // QUARTER_MICROSECONDS * QUARTER_MICROSECONDS


def _conflict(stored: _Record, known: str) -> Quarantined:
    record = stored.record
    return Quarantined(
        digest=stored.digest,
        reason="conflict",
        detail=f"{record.phase} {record.id} is booked with another content, of digest {known}",
        line=stored.line.decode(),
    )


def unpriced_in(postings: Sequence[Posting]) -> dict[str, int]:
    """Counts those without a price, by account."""
    return {
        account: sum(posting.figures[f"{account}_unpriced"] for posting in postings)
        for account in ("cost", "charge")
    }


def _served(postings: Sequence[Posting]) -> dict[Served, BookedGroup]:
    groups: dict[Served, BookedGroup] = {}
    for posting in postings:
        if posting.kind != "usage":
            continue
        by, figures = posting.dimensions, posting.figures
        group = BookedGroup(figures["attempts"], figures["cost_pico"], figures["charge_pico"])
        served = (by.provider, by.model, by.usage_source)
        groups[served] = groups.get(served, BookedGroup()) + group
    return groups
