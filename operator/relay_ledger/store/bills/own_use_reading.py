"""Reads what is booked of a provider for a reconciliation: attempts one after another, the cost of each day, and since when there is any."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine, case, select, tuple_

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import read_event
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.store.databases import reading
from relay_ledger.store.rows.last_records import is_record, last_records
from relay_ledger.store.rows.line_fields import says
from relay_ledger.store.tables import EVENTS, SUMS
from relay_ledger.store.usage_reading import sums_in

PAGE: Final = 2000


def attempts_of(engine: Engine, provider: str, *, start: int, end: int) -> Iterator[AttemptRecord]:
    """Yields the provider's attempts that were sent from start up to but without end, in the order of their dispatch: each as it ended, or as it
    began where no end has come.

    A page has as many attempts of all providers, so that no statement takes longer for a provider of which there are few.
    """
    key = (EVENTS.c.dispatched_at, EVENTS.c.event_id)
    line = case((says("provider", provider, engine.dialect), EVENTS.c.line))
    after = (start, "")
    while True:
        with reading(engine) as connection:
            rows = connection.execute(
                select(*key, line)
                .where(
                    is_record(),
                    # the index is of times alone
                    EVENTS.c.dispatched_at >= after[0],
                    EVENTS.c.dispatched_at < end,
                    tuple_(*key) > after,
                )
                .order_by(*key, EVENTS.c.phase)
                .limit(PAGE)
            ).all()
        if not rows:
            return
        after = (rows[-1].dispatched_at, rows[-1].event_id)
        for _, _, written in last_records(rows):
            if written is not None:
                yield read_event(written.encode())


def cost_of(engine: Engine, provider: str, *, start: int, end: int) -> int:
    """Returns what attempts of a provider cost that were sent in a time at quarters of an hour, in pico-USD."""
    with reading(engine) as connection:
        rows = sums_in(connection, start=start, end=end, by=("provider", "side"))
    # a ToolServer may have the name of a Provider
    return sum(
        figures["cost_pico"]
        for (name, side), figures in rows
        if name == provider and side != TOOL_SIDE
    )


def first_use(engine: Engine, provider: str, *, since: int) -> int | None:
    """Returns the quarter of an hour of the first of a provider's attempts that were sent since then; None where there are none."""
    first = (
        select(SUMS.c.quarter)
        .where(SUMS.c.quarter >= since, SUMS.c.provider == provider, SUMS.c.side != TOOL_SIDE)
        .order_by(SUMS.c.quarter)
        .limit(1)
    )
    with reading(engine) as connection:
        return connection.execute(first).scalar()
