"""Reads what is booked of a provider for a reconciliation: attempts one after another, and the cost of each day."""

from collections.abc import Iterator

from sqlalchemy import Engine, select, tuple_

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.event_line import read_event
from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import EVENTS
from relay_ledger.store.usage_reading import sums_in

PAGE = 2000


def attempts_of(engine: Engine, provider: str, *, start: int, end: int) -> Iterator[AttemptClosed]:
    """Yields the provider's attempts that ended and were sent from start up to but without end, in the order of their dispatch."""
    key = (EVENTS.c.dispatched_at, EVENTS.c.event_id)
    after = (start, "")
    while True:
        with reading(engine) as connection:
            rows = connection.execute(
                select(*key, EVENTS.c.line)
                .where(
                    EVENTS.c.phase == "closed",
                    EVENTS.c.dispatched_at >= start,
                    EVENTS.c.dispatched_at < end,
                    tuple_(*key) > after,
                )
                .order_by(*key)
                .limit(PAGE)
            ).all()
        if not rows:
            return
        after = (rows[-1].dispatched_at, rows[-1].event_id)
        for _, _, line in rows:
            record = read_event(line.encode())
            if isinstance(record, AttemptClosed) and record.provider == provider:
                yield record


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
