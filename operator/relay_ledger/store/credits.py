"""Credit: money paid in advance, booked once under the reference of its payment, and what is left of it."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.store.databases import is_sqlite, lock, reading, writing
from relay_ledger.store.tables import CREDITS, QUARTER_MICROSECONDS, SUMS, TERMS


class UnknownTenant(LookupError):
    """A tenant of which the ledger has neither terms nor use."""


class ReferenceTaken(ValueError):
    """The reference is of another payment; the message says what is other about it."""


@dataclass(frozen=True, slots=True)
class Payment:
    """An amount in pico-USD that a tenant has paid, or got back if it is negative; reference is the payment system's."""

    reference: str
    amount_pico: int
    note: str = ""


class CreditStore:
    """Adds payments and says what is left."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, tenant_uid: str, payment: Payment, *, now: int) -> bool:
        """Books a payment; returns False if it is booked already. Raises UnknownTenant, ReferenceTaken."""
        with writing(self._engine, tenant_uid) as connection:
            if not is_known(connection, tenant_uid):
                raise UnknownTenant(tenant_uid)
            booked = _booked_under(connection, payment.reference)
            if tenant_uid in booked:
                if booked[tenant_uid] != payment.amount_pico:
                    raise ReferenceTaken(f"{payment.reference} is booked with another amount")
                return False
            if booked:
                raise ReferenceTaken(f"{payment.reference} is booked for another tenant")
            row = {
                "tenant_uid": tenant_uid,
                "reference": payment.reference,
                "amount_pico": payment.amount_pico,
                "note": payment.note,
                "booked_at": now,
            }
            connection.execute(insert(CREDITS), [row])
        return True

    def balance(self, tenant_uid: str) -> int | None:
        """Returns what is left, in pico-USD; None for a tenant that never had credit.

        It is what was paid less what was charged for attempts sent since the quarter of an hour of the first payment: what was used before
        is on a statement.
        """
        with reading(self._engine) as connection:
            paid, first = connection.execute(
                select(func.sum(CREDITS.c.amount_pico), func.min(CREDITS.c.booked_at)).where(
                    CREDITS.c.tenant_uid == tenant_uid
                )
            ).one()
            if paid is None:
                return None
            since = first // QUARTER_MICROSECONDS * QUARTER_MICROSECONDS
            charged = connection.execute(
                select(func.coalesce(func.sum(SUMS.c.charge_pico), 0)).where(
                    SUMS.c.tenant_uid == tenant_uid, SUMS.c.quarter >= since
                )
            ).scalar_one()
        return int(paid) - int(charged)


def _booked_under(connection: Connection, reference: str) -> dict[str, int]:
    """Returns what is booked under a reference by tenant, and lets nobody else book under it up to the end of the transaction."""
    if not is_sqlite(connection):
        lock(connection, f"credit/{reference}")
    rows = connection.execute(
        select(CREDITS.c.tenant_uid, CREDITS.c.amount_pico).where(CREDITS.c.reference == reference)
    )
    return {row.tenant_uid: row.amount_pico for row in rows}


def is_known(connection: Connection, tenant_uid: str) -> bool:
    """Returns whether the ledger has terms, use or credit of a tenant."""
    return any(
        connection.execute(
            select(table.c.tenant_uid).where(table.c.tenant_uid == tenant_uid).limit(1)
        ).first()
        is not None
        for table in (TERMS, SUMS, CREDITS)
    )
