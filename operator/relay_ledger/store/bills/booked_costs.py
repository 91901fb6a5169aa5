"""Reads attempts with what they are booked at, for a comparison with other prices."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine, Label, Subquery, func, select, tuple_

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.event_line import read_event
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import EVENTS, POSTINGS

PAGE: Final = 1000
_KEY: Final = ("tenant_uid", "event_id", "dispatched_at")


def booked_costs(
    engine: Engine, *, start: int, end: int, tenant_uid: str | None = None
) -> Iterator[tuple[AttemptClosed, int | None]]:
    """Yields attempts that ended and were sent in a time, each with its cost in pico-USD, None where it is booked without a price.

    They come in the order of the primary key: each is read once, however many pages there are, also of one tenant.
    """
    key = (EVENTS.c.tenant_uid, EVENTS.c.event_id)
    after = ("", "")
    while True:
        where = [EVENTS.c.phase == "closed", EVENTS.c.dispatched_at.between(start, end - 1)]
        where.append(tuple_(*key) > after)
        if tenant_uid is not None:
            where.append(EVENTS.c.tenant_uid == tenant_uid)
        page = select(EVENTS).where(*where).order_by(*key).limit(PAGE).subquery()
        cost, unpriced = (_booked(page, name) for name in ("cost_pico", "cost_unpriced"))
        with reading(engine) as connection:
            rows = connection.execute(
                select(page.c.tenant_uid, page.c.event_id, page.c.line, cost, unpriced).order_by(
                    page.c.tenant_uid, page.c.event_id
                )
            ).all()
        if not rows:
            return
        after = (rows[-1].tenant_uid, rows[-1].event_id)
        for row in rows:
            record = read_event(row.line.encode())
            if isinstance(record, AttemptClosed) and row.cost_pico is not None:
                yield record, None if row.cost_unpriced else int(row.cost_pico)


def _booked(page: Subquery, figure: str) -> Label[int]:
    """Returns what the postings of each attempt of a page make, by a look at its primary key."""
    same = (POSTINGS.c[name] == page.c[name] for name in _KEY)
    return select(func.sum(POSTINGS.c[figure])).where(*same).scalar_subquery().label(figure)
