"""Reads the tool calls of a time that may cost something, for whoever prices them again."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Engine, case, func, select, tuple_

from relay_contract.billing.tool_call import CALL_METHOD, CARRIED_OUT, IN_DOUBT
from relay_ledger.booking.tool_posting import BilledCall
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import POSTINGS, TOOL_CALLS

PAGE: Final = 500


def calls_that_may_cost(
    engine: Engine, start: int, end: int, *, tenant_uid: str | None = None
) -> Iterator[tuple[str, list[BilledCall]]]:
    """Yields calls that were sent from start up to but without end, microseconds since 1970, each page of one tenant."""
    key = (TOOL_CALLS.c.tenant_uid, TOOL_CALLS.c.event_id)
    tool = case((TOOL_CALLS.c.own_name != "", TOOL_CALLS.c.own_name), else_=TOOL_CALLS.c.name)
    where = [
        TOOL_CALLS.c.called_at.between(start, end - 1),
        TOOL_CALLS.c.method == CALL_METHOD,
        TOOL_CALLS.c.server != "",
        TOOL_CALLS.c.outcome.in_(CARRIED_OUT | IN_DOUBT),
    ]
    if tenant_uid is not None:
        where.append(TOOL_CALLS.c.tenant_uid == tenant_uid)
    names = ("called_at", "key_name", "server")
    columns = [
        *key,
        *(TOOL_CALLS.c[name] for name in names),
        tool,
        TOOL_CALLS.c.outcome,
        TOOL_CALLS.c.revision,
    ]
    after = ("", "")
    while True:
        with reading(engine) as connection:
            rows: Any = connection.execute(
                select(*columns).where(*where, tuple_(*key) > after).order_by(*key).limit(PAGE)
            ).all()
        if not rows:
            return
        after = (rows[-1].tenant_uid, rows[-1].event_id)
        for uid, same in groupby(rows, key=lambda row: row.tenant_uid):
            yield str(uid), [BilledCall(*row) for row in same]


def booked_call_costs(
    engine: Engine, *, start: int, end: int, tenant_uid: str | None = None
) -> Iterator[tuple[BilledCall, int | None]]:
    """Yields calls that a server carried out, each with its cost in pico-USD, None where it is booked without a price."""
    for uid, page in calls_that_may_cost(engine, start, end, tenant_uid=tenant_uid):
        with reading(engine) as connection:
            rows = connection.execute(
                select(
                    POSTINGS.c.event_id,
                    func.sum(POSTINGS.c.cost_pico),
                    func.sum(POSTINGS.c.cost_unpriced),
                )
                .where(
                    POSTINGS.c.tenant_uid == uid,
                    POSTINGS.c.event_id.in_([call.id for call in page]),
                    POSTINGS.c.dispatched_at.between(start, end - 1),
                )
                .group_by(POSTINGS.c.event_id)
            )
            booked = {event: None if unpriced else int(cost) for event, cost, unpriced in rows}
        for call in page:
            if call.outcome in CARRIED_OUT and call.id in booked:
                yield call, booked[call.id]
