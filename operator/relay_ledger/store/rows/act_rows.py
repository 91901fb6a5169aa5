"""What people had the ledger change by its commands: rows that never change, beside what they changed."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select

from relay_ledger.store.databases import insert_into, reading
from relay_ledger.store.tables import ACTS


@dataclass(frozen=True, slots=True)
class Act:
    """What was done to what of a tenant, and why, if somebody said; done_at is microseconds since 1970."""

    done_at: int
    act: str
    tenant_uid: str
    subject: str
    note: str


def note_act(connection: Connection, act: Act) -> None:
    """Notes an act in the transaction that does it."""
    connection.execute(
        insert_into(connection, ACTS).on_conflict_do_nothing(),
        [
            {
                "done_at": act.done_at,
                "act": act.act,
                "tenant_uid": act.tenant_uid,
                "subject": act.subject,
                "note": act.note,
            }
        ],
    )


def acts(engine: Engine, tenant_uid: str | None = None) -> list[Act]:
    """Returns the acts that concern a tenant, or all, in the order in which they were done."""
    query = select(ACTS).order_by(*ACTS.primary_key.columns)
    if tenant_uid is not None:
        query = query.where(ACTS.c.tenant_uid == tenant_uid)
    with reading(engine) as connection:
        rows = connection.execute(query)
        return [
            Act(int(row.done_at), row.act, row.tenant_uid, row.subject, row.note) for row in rows
        ]
