"""What is kept of limits whose period has long ended: nothing, once no record of that time can be booked or corrected any more."""

from sqlalchemy import Engine, delete

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
