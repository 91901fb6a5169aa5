"""Reads attempts with what they are booked at, for a comparison with other prices."""

from collections.abc import Iterator

from sqlalchemy import Engine, func, select, tuple_

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.event_line import read_event
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import EVENTS, POSTINGS

PAGE = 1000


def booked_costs(
    engine: Engine, *, start: int, end: int, tenant_uid: str | None = None
) -> Iterator[tuple[AttemptClosed, int | None]]:
    """Yields attempts that ended and were sent in a time, each with its cost in pico-USD, None where it is booked without a price."""
    key = (EVENTS.c.dispatched_at, EVENTS.c.event_id)
    after = (start, "")
    while True:
        where = [EVENTS.c.phase == "closed", EVENTS.c.dispatched_at >= after[0]]
        where += [EVENTS.c.dispatched_at < end, tuple_(*key) > after]
        if tenant_uid is not None:
            where.append(EVENTS.c.tenant_uid == tenant_uid)
        with reading(engine) as connection:
            rows = connection.execute(
                select(*key, EVENTS.c.line).where(*where).order_by(*key).limit(PAGE)
            ).all()
            if not rows:
                return
            costs = connection.execute(
                select(
                    POSTINGS.c.event_id,
                    func.sum(POSTINGS.c.cost_pico),
                    func.sum(POSTINGS.c.cost_unpriced),
                )
                .where(
                    POSTINGS.c.event_id.in_([row.event_id for row in rows]),
                    POSTINGS.c.dispatched_at.between(rows[0].dispatched_at, rows[-1].dispatched_at),
                )
                .group_by(POSTINGS.c.event_id)
            )
            booked = {event: None if unpriced else int(cost) for event, cost, unpriced in costs}
        after = (rows[-1].dispatched_at, rows[-1].event_id)
        for row in rows:
            record = read_event(row.line.encode())
            if isinstance(record, AttemptClosed) and row.event_id in booked:
                yield record, booked[row.event_id]
