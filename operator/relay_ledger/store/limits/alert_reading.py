"""Reads what became of the alerts of one tenant, page by page, the newest first."""

from dataclasses import dataclass

from sqlalchemy import Engine, select, tuple_

from relay_ledger.budgets.alert_delivery import AlertRecord
from relay_ledger.reports.usage_alerts import Place
from relay_ledger.store.databases import reading
from relay_ledger.store.limits.alert_rows import alert_of
from relay_ledger.store.tables import BUDGET_ALERTS

_PLACE = (
    BUDGET_ALERTS.c.crossed_at,
    BUDGET_ALERTS.c.kind,
    BUDGET_ALERTS.c.starts_at,
    BUDGET_ALERTS.c.amount_pico,
    BUDGET_ALERTS.c.threshold,
)


@dataclass(frozen=True, slots=True)
class AlertPage:
    """following is the place of the last one, None where no earlier ones are kept."""

    alerts: tuple[AlertRecord, ...]
    following: Place | None


class AlertReading:
    """Delivered ones of periods that have long ended are not kept (ended_limits)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, tenant_uid: str, *, most: int, after: Place | None = None) -> AlertPage:
        """Returns at most so many alerts of a tenant that come after a place."""
        found = select(BUDGET_ALERTS).where(BUDGET_ALERTS.c.tenant_uid == tenant_uid)
        if after is not None:
            found = found.where(tuple_(*_PLACE) < tuple_(*after))
        found = found.order_by(*(column.desc() for column in _PLACE)).limit(most + 1)
        with reading(self._engine) as connection:
            alerts = tuple(
                AlertRecord(
                    alert_of(row),
                    told_at=int(row.told_at),
                    given_up_at=int(row.given_up_at),
                    sent_again_at=int(row.sent_again_at),
                )
                for row in connection.execute(found)
            )
        shown = alerts[:most]
        return AlertPage(shown, place_of(shown[-1]) if len(alerts) > most else None)


def place_of(record: AlertRecord) -> Place:
    """Returns where an alert stands among those of its tenant."""
    alert = record.alert
    return alert.crossed_at, alert.kind, alert.starts_at, alert.amount, alert.threshold
