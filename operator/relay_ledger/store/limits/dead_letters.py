"""Alerts that no receiver has taken for days: each is kept, can be listed, and is sent again or dismissed when a person says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, case, select, update

from relay_contract.billing.budget import TenantAlert
from relay_ledger.budgets.alert_delivery import TRIED_FOR, threshold_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.limits.alert_rows import IS_DEAD, alert_of, is_alert
from relay_ledger.store.rows.act_rows import Act, note_act
from relay_ledger.store.tables import BUDGET_ALERTS


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An alert that was given up. Times are microseconds since 1970."""

    alert: TenantAlert
    given_up_at: int


class DeadLetters:
    """Times are microseconds since 1970."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def failed(self, alerts: Sequence[TenantAlert], *, now: int) -> None:
        """Notes that a receiver did not take these for as long as a message is tried, and gives up those that were tried for days."""
        since = case(
            (
                BUDGET_ALERTS.c.sent_again_at > BUDGET_ALERTS.c.crossed_at,
                BUDGET_ALERTS.c.sent_again_at,
            ),
            else_=BUDGET_ALERTS.c.crossed_at,
        )
        for one in alerts:
            with writing(self._engine, one.tenant_uid) as connection:
                connection.execute(
                    update(BUDGET_ALERTS)
                    .where(
                        *is_alert(one),
                        BUDGET_ALERTS.c.told_at == 0,
                        BUDGET_ALERTS.c.given_up_at == 0,
                        since <= now - TRIED_FOR,
                    )
                    .values(given_up_at=now)
                )

    def all(self, tenant_uid: str | None = None) -> list[DeadLetter]:
        """Returns those of a tenant or of everybody, in the order in which they were crossed."""
        where = [*IS_DEAD]
        if tenant_uid is not None:
            where.append(BUDGET_ALERTS.c.tenant_uid == tenant_uid)
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(BUDGET_ALERTS)
                .where(*where)
                .order_by(BUDGET_ALERTS.c.crossed_at, BUDGET_ALERTS.c.tenant_uid)
            )
            return [
                DeadLetter(
                    TenantAlert(tenant_uid=row.tenant_uid, alert=alert_of(row)),
                    int(row.given_up_at),
                )
                for row in rows
            ]

    def send_again(self, letters: Sequence[DeadLetter], *, now: int) -> int:
        """Has the operator told of these anew, under the ids that they had; returns how many were still given up."""
        return self._change(
            letters, "alert sent again", "", now=now, given_up_at=0, sent_again_at=now
        )

    def dismiss(self, letters: Sequence[DeadLetter], *, now: int, note: str = "") -> int:
        """Takes these for told; returns how many were still given up. That they were not delivered stays in their rows."""
        return self._change(letters, "alert dismissed", note, now=now, told_at=now)

    def _change(
        self, letters: Sequence[DeadLetter], act: str, note: str, *, now: int, **values: int
    ) -> int:
        """Changes rows of dead letters, and notes each that was still one."""
        count = 0
        for one in letters:
            with writing(self._engine, one.alert.tenant_uid) as connection:
                done = connection.execute(
                    update(BUDGET_ALERTS).where(*is_alert(one.alert), *IS_DEAD).values(**values)
                )
                if done.rowcount:
                    note_act(connection, Act(now, act, one.alert.tenant_uid, _subject(one), note))
                count += done.rowcount
        return count


def _subject(letter: DeadLetter) -> str:
    alert = letter.alert.alert
    return f"{alert.kind} {threshold_text(alert)} crossed {utc_text(alert.crossed_at)}"
