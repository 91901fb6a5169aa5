"""What is kept of limits whose period has long ended: nothing, once no record of that time can be booked or corrected any more. Of pods that
have long been gone from a limit without an end what is booked of them stays.
"""

from typing import Any, Final

from sqlalchemy import Connection, Engine, delete, select

from relay_contract.billing.attempt_event import MAX_MICROSECONDS
from relay_ledger.store.databases import insert_into, reading, writing
from relay_ledger.store.limits.tenant_limits import BEFORE
from relay_ledger.store.tables import BUDGET_ALERTS, LIMIT_PODS


def forget_limits(engine: Engine, *, before: int) -> list[str]:
    """Forgets what pods had of periods that ended before a time, in microseconds since 1970, and warnings that somebody was told of; returns the names of the tables.

    A day's budget has a row for each relay pod: a tenant of three pods makes a thousand a year.
    """
    ended = delete(LIMIT_PODS).where(LIMIT_PODS.c.ends_at < before)
    # told comes first: it has an index, and 0 is not told yet
    told = delete(BUDGET_ALERTS).where(
        BUDGET_ALERTS.c.told_at.between(1, before - 1), BUDGET_ALERTS.c.ends_at < before
    )
    with engine.begin() as connection:
        return [
            name
            for name, statement in ((LIMIT_PODS.name, ended), (BUDGET_ALERTS.name, told))
            if connection.execute(statement).rowcount
        ]


_LIMIT: Final = (LIMIT_PODS.c.tenant_uid, LIMIT_PODS.c.kind, LIMIT_PODS.c.starts_at)


def forget_pods(engine: Engine, *, gone_by: int) -> int:
    """Forgets pods of limits without an end, which is credit, whose last lease ended by then; returns how many.

    What is booked of them is that of no pod from then on, as what may still come of them. What they told and did not deliver is not spent
    any more: it is on no statement.
    """
    is_gone = (
        LIMIT_PODS.c.ends_at >= MAX_MICROSECONDS,
        LIMIT_PODS.c.pod != BEFORE,
        LIMIT_PODS.c.until <= gone_by,
    )
    with reading(engine) as connection:
        limits = connection.execute(select(*_LIMIT).where(*is_gone).distinct()).all()
    count = 0
    for limit in limits:
        is_of_it = [column == value for column, value in zip(_LIMIT, limit, strict=True)]
        with writing(engine, limit.tenant_uid) as connection:
            gone = connection.execute(select(LIMIT_PODS).where(*is_of_it, *is_gone)).all()
            if gone:
                connection.execute(delete(LIMIT_PODS).where(*is_of_it, *is_gone))
                _keep_booked(connection, gone[0], sum(row.booked for row in gone))
            count += len(gone)
    return count


def _keep_booked(connection: Connection, limit: Any, booked: int) -> None:
    """Adds to what is booked on a limit of no pod."""
    statement = insert_into(connection, LIMIT_PODS)
    rest = dict.fromkeys(("granted", "reported", "until", "sequence"), 0)
    row = {column.name: getattr(limit, column.name) for column in (*_LIMIT, LIMIT_PODS.c.ends_at)}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(LIMIT_PODS.primary_key.columns),
            set_={"booked": LIMIT_PODS.c.booked + statement.excluded.booked},
        ),
        [row | rest | {"pod": BEFORE, "booked": booked}],
    )
