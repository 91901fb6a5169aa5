"""Rows of alerts: what each says, and which are dead letters."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select

from relay_contract.billing.budget import Alert, TenantAlert
from relay_ledger.store.tables import BUDGET_ALERTS

IS_DEAD: Final = (BUDGET_ALERTS.c.told_at == 0, BUDGET_ALERTS.c.given_up_at > 0)
"""What a row is that was given up, and that nobody has sent again."""


def alert_of(row: Any) -> Alert:
    """Returns the alert of a row."""
    return Alert(
        kind=row.kind,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        amount=row.amount_pico,
        threshold=row.threshold,
        spent=row.spent_pico,
        crossed_at=row.crossed_at,
    )


def is_alert(one: TenantAlert) -> tuple[ColumnElement[bool], ...]:
    """Returns what finds the row of an alert."""
    return (
        BUDGET_ALERTS.c.tenant_uid == one.tenant_uid,
        BUDGET_ALERTS.c.kind == one.alert.kind,
        BUDGET_ALERTS.c.starts_at == one.alert.starts_at,
        BUDGET_ALERTS.c.amount_pico == one.alert.amount,
        BUDGET_ALERTS.c.threshold == one.alert.threshold,
    )


def dead_letter_count(connection: Connection) -> int:
    """Returns how many dead letters there are."""
    return int(
        connection.execute(
            select(func.count()).select_from(BUDGET_ALERTS).where(*IS_DEAD)
        ).scalar_one()
    )


def dead_letters_of(connection: Connection, tenant_uids: Sequence[str]) -> dict[str, int]:
    """Returns how many dead letters each of these tenants has, of those that have any."""
    rows = connection.execute(
        select(BUDGET_ALERTS.c.tenant_uid, func.count())
        .where(*IS_DEAD, BUDGET_ALERTS.c.tenant_uid.in_(tenant_uids))
        .group_by(BUDGET_ALERTS.c.tenant_uid)
    )
    return {str(uid): int(count) for uid, count in rows}
