"""Corrections of prices for a time that has passed: a dry run says what they change, a run books the differences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Table, func, select, tuple_

from relay_contract.billing.attempt_event import AttemptClosed, AttemptRecord
from relay_contract.billing.event_line import read_event
from relay_ledger.booking.posting import Amount, Posting, opened_posting, repriced, repricing_of
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.booking.tool_posting import TOOL_SIDE, BilledCall, tool_posting_of
from relay_ledger.store.batch_booking import BatchBooking
from relay_ledger.store.databases import insert_into, reading, writing
from relay_ledger.store.price_book_store import lock_prices, versions_in_force
from relay_ledger.store.rows.last_records import is_record, last_records
from relay_ledger.store.tables import EVENTS, POSTINGS, REPRICINGS
from relay_ledger.store.tool_calls.billed_calls import calls_that_may_cost

PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """Counts what new prices change for a tenant: attempts and tool calls, and pico-USD of both accounts."""

    attempts: int = 0
    tool_calls: int = 0
    cost_pico: int = 0
    charge_pico: int = 0

    def with_posting(self, posting: Posting) -> "Difference":
        """Returns the difference with one more attempt or tool call."""
        is_tool = posting.dimensions.side == TOOL_SIDE
        return Difference(
            self.attempts + (not is_tool),
            self.tool_calls + is_tool,
            self.cost_pico + posting.figures["cost_pico"],
            self.charge_pico + posting.figures["charge_pico"],
        )


_Page = Callable[[Connection], list[Posting]]
"""Finds what today's prices change of a page of one tenant."""


class Repricing:
    """Goes through the attempts and tool calls of a time, from start up to but without end (microseconds since 1970), a page at a time."""

    def __init__(self, engine: Engine, prices: PriceBook, *, start: int, end: int) -> None:
        self._engine = engine
        self._prices = prices
        self._start, self._end = start, end
        self._between = EVENTS.c.dispatched_at.between(start, end - 1)

    def dry_run(self) -> dict[str, Difference]:
        """Returns by tenant what would change; nothing is booked."""
        differences: dict[str, Difference] = {}
        for tenant_uid, changed in self._pages():
            with reading(self._engine) as connection:
                _count(differences, tenant_uid, changed(connection))
        return differences

    def run(self, *, now: int) -> dict[str, Difference]:
        """Books the differences and returns them. After an interruption it goes on where it was: what is booked is the same.

        It counts as a correction of the lists in force unless another version came since their prices were read.
        """
        differences: dict[str, Difference] = {}
        for tenant_uid, changed in self._pages():
            with writing(self._engine, tenant_uid) as connection:
                postings = changed(connection)
                BatchBooking(connection, tenant_uid, now=now).add(postings)
            _count(differences, tenant_uid, postings)
        with self._engine.begin() as connection:
            lock_prices(connection)
            if self._has_prices_in_force(connection):
                row = {"booked_at": now, "starts_at": self._start, "ends_at": self._end}
                statement = insert_into(connection, REPRICINGS).on_conflict_do_nothing()
                connection.execute(statement, [row])
        return differences

    def _has_prices_in_force(self, connection: Connection) -> bool:
        versions = {name: prices.version for name, prices in self._prices.lists.items()}
        return versions_in_force(connection) == versions

    def _pages(self) -> Iterator[tuple[str, _Page]]:
        """Yields attempts and tool calls, each page of one tenant."""
        for tenant_uid, attempts in self._attempts():
            yield tenant_uid, partial(self._postings, tenant_uid=tenant_uid, page=attempts)
        for tenant_uid, calls in calls_that_may_cost(self._engine, self._start, self._end):
            yield tenant_uid, partial(self._tool_postings, tenant_uid=tenant_uid, page=calls)

    def _attempts(self) -> Iterator[tuple[str, list[AttemptRecord]]]:
        after = ("", "")
        while True:
            key = (EVENTS.c.tenant_uid, EVENTS.c.event_id)
            with reading(self._engine) as connection:
                rows = connection.execute(
                    select(*key, EVENTS.c.line)
                    .where(self._between, is_record(), tuple_(*key) > after)
                    .order_by(*key, EVENTS.c.phase)
                    .limit(PAGE)
                ).all()
            if not rows:
                return
            after = (rows[-1].tenant_uid, rows[-1].event_id)
            tenants: dict[str, list[AttemptRecord]] = {}
            for tenant_uid, _, line in last_records(rows):
                tenants.setdefault(tenant_uid, []).append(read_event(line.encode()))
            yield from tenants.items()

    def _postings(
        self, connection: Connection, tenant_uid: str, page: Sequence[AttemptRecord]
    ) -> list[Posting]:
        rows = _booked(connection, tenant_uid, {one.id: one.dispatched_at for one in page})
        postings = []
        for record in _with_ends(connection, tenant_uid, page):
            if record.id not in rows:
                # without an end, and without a price when it began
                if not isinstance(record, AttemptClosed):
                    begun = opened_posting(record, self._prices)
                    postings += [begun] if begun.figures["held_pico"] else []
                continue
            last, cost_pico, charge_pico, held = rows[record.id]
            posting = repricing_of(
                record,
                {
                    "cost": Amount(last.cost_state, cost_pico),
                    "charge": Amount(last.charge_state, charge_pico),
                },
                self._prices,
                sequence=last.sequence + 1,
                held=held,
            )
            if posting is not None:
                postings.append(posting)
        return postings

    def _tool_postings(
        self, connection: Connection, tenant_uid: str, page: Sequence[BilledCall]
    ) -> list[Posting]:
        rows = _booked(connection, tenant_uid, {one.id: one.called_at for one in page})
        postings: list[Posting] = []
        for call in page:
            if call.id not in rows:
                # booked by a ledger that knew no prices of tools
                posting: Posting | None = tool_posting_of(call, self._prices)
            else:
                last, cost_pico, charge_pico, held = rows[call.id]
                posting = repriced(
                    tool_posting_of(call, self._prices, sequence=last.sequence + 1),
                    {
                        "cost": Amount(last.cost_state, cost_pico),
                        "charge": Amount(last.charge_state, charge_pico),
                    },
                    reserved=held,
                )
            if posting is not None:
                postings.append(posting)
        return postings


def _with_ends(
    connection: Connection, tenant_uid: str, page: Sequence[AttemptRecord]
) -> list[AttemptRecord]:
    """Returns attempts as they are now: one that has ended since its page was read as it ended."""
    open_then = {one.id: one.dispatched_at for one in page if not isinstance(one, AttemptClosed)}
    if not open_then:
        return list(page)
    ends = connection.execute(
        select(EVENTS.c.event_id, EVENTS.c.line).where(
            *_among(EVENTS, tenant_uid, open_then), EVENTS.c.phase == "closed"
        )
    )
    ended = {row.event_id: read_event(row.line.encode()) for row in ends}
    return [ended.get(one.id, one) for one in page]


def _booked(
    connection: Connection, tenant_uid: str, times: Mapping[str, int]
) -> dict[str, tuple[Any, int, int, int]]:
    """Returns by attempt or call, given with its time, its last posting, and what all of them make: cost, charge, and what is held."""
    where = _among(POSTINGS, tenant_uid, times)
    sums = connection.execute(
        select(
            POSTINGS.c.event_id,
            *(func.sum(POSTINGS.c[name]) for name in ("cost_pico", "charge_pico", "held_pico")),
        )
        .where(*where)
        .group_by(POSTINGS.c.event_id)
    ).all()
    columns = [POSTINGS.c[name] for name in ("event_id", "sequence", "cost_state", "charge_state")]
    last = {
        row.event_id: row
        for row in connection.execute(select(*columns).where(*where).order_by(POSTINGS.c.sequence))
    }
    return {
        event_id: (last[event_id], int(cost), int(charge), int(held))
        for event_id, cost, charge, held in sums
    }


def _among(
    table: Table, tenant_uid: str, times: Mapping[str, int]
) -> tuple[ColumnElement[bool], ...]:
    """Returns the conditions for rows of attempts or calls, given with their times."""
    return (
        table.c.tenant_uid == tenant_uid,
        table.c.event_id.in_(list(times)),
        table.c.dispatched_at.between(min(times.values()), max(times.values())),
    )


def _count(
    differences: dict[str, Difference], tenant_uid: str, postings: Sequence[Posting]
) -> None:
    for posting in postings:
        known = differences.get(tenant_uid, Difference())
        differences[tenant_uid] = known.with_posting(posting)
