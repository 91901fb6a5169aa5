"""Credit: money paid in advance, booked once under the reference of its payment, and what is left of it."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.money.amounts import MICROS, PICOS, PICOS_PER_MICRO
from relay_ledger.money.rounding import CURRENCIES, USD, Currency, half_even, statement_lines
from relay_ledger.statements.statement import NoRate, Rate
from relay_ledger.store.bills.exchange_rates import rate_at
from relay_ledger.store.contracts import contract_of
from relay_ledger.store.databases import is_sqlite, lock, reading, writing
from relay_ledger.store.rows.exact_sums import exact_sum, whole
from relay_ledger.store.tables import CREDITS, QUARTER_MICROSECONDS, SUMS, TERMS

MAX_PICO: Final = 10**6 * PICOS
"""A million USD in one payment."""
MAX_PAID_PICO: Final = 9 * 10**6 * PICOS
"""Nine million USD in all: relays count what is spent of it in 63 bits."""


class UnknownTenant(LookupError):
    """A tenant of which the ledger has neither terms nor use."""


class ReferenceTaken(ValueError):
    """The reference is of another payment; the message says what is other about it."""


class TooMuch(ValueError):
    """A payment of more than MAX_PICO, or beyond MAX_PAID_PICO in all."""


@dataclass(frozen=True, slots=True)
class Payment:
    """An amount that a tenant has paid, or got back if it is negative, in millionths of millionths of its currency; reference is the
    payment system's.
    """

    reference: str
    amount_pico: int
    note: str = ""
    currency: Currency = USD


@dataclass(frozen=True, slots=True)
class BookedPayment:
    """A payment as it was booked: what it was in pico-USD, and by which rate."""

    payment: Payment
    usd_pico: int
    rate: Rate
    booked_at: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left, in pico-USD. rate is that of the contract's currency now: None for USD, and where there is no rate."""

    pico: int
    rate: Rate | None = None

    @property
    def minor(self) -> int:
        """Returns what is left in minor units of the contract's currency, rounded as on a statement."""
        rate = self.rate or Rate()
        return statement_lines([self.pico], rate.currency, rate=rate.micro)[0]


class CreditStore:
    """Adds payments and says what is left."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, tenant_uid: str, payment: Payment, *, now: int) -> bool:
        """Books a payment, turned into USD by the rate that holds now; returns False if it is booked already, at whatever rate.

        Raises UnknownTenant, ReferenceTaken, NoRate, TooMuch.
        """
        with writing(self._engine, tenant_uid) as connection:
            if not is_known(connection, tenant_uid):
                raise UnknownTenant(tenant_uid)
            booked = _booked_under(connection, payment.reference)
            if tenant_uid in booked:
                if booked[tenant_uid] != _paid(payment):
                    raise ReferenceTaken(
                        f"{payment.reference} is booked with another amount or currency"
                    )
                return False
            if booked:
                raise ReferenceTaken(f"{payment.reference} is booked for another tenant")
            row = _row(tenant_uid, payment, rate_at(connection, payment.currency, now), now)
            paid, _ = paid_by(connection, tenant_uid)
            if row["amount_pico"] > 0 and (paid or 0) + row["amount_pico"] > MAX_PAID_PICO:
                raise TooMuch("what a tenant has paid in advance, in all, is at most 9000000 USD")
            connection.execute(insert(CREDITS), [row])
        return True

    def payments(self, tenant_uid: str) -> list[BookedPayment]:
        """Returns a tenant's payments, the first one first."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(CREDITS)
                .where(CREDITS.c.tenant_uid == tenant_uid)
                .order_by(CREDITS.c.booked_at, CREDITS.c.reference)
            ).all()
        return [_booked(row) for row in rows]

    def standing(self, tenant_uid: str, *, now: int) -> Balance | None:
        """Returns the balance, with the rate of the contract's currency; None for a tenant that never had credit."""
        pico = self.balance(tenant_uid)
        if pico is None:
            return None
        with reading(self._engine) as connection:
            currency = CURRENCIES[contract_of(connection, tenant_uid).terms_at(now).currency]
            try:
                rate = None if currency == USD else rate_at(connection, currency, now)
            except NoRate:
                rate = None
        return Balance(pico, rate)

    def balance(self, tenant_uid: str) -> int | None:
        """Returns what is left, in pico-USD; None for a tenant that never had credit.

        It is what was paid less what was charged for attempts sent since the quarter of an hour of the first payment: what was used before
        is on a statement.
        """
        with reading(self._engine) as connection:
            paid, first = paid_by(connection, tenant_uid)
            if paid is None:
                return None
            since = first // QUARTER_MICROSECONDS * QUARTER_MICROSECONDS
            charged = connection.execute(
                select(*exact_sum(SUMS.c.charge_pico)).where(
                    SUMS.c.tenant_uid == tenant_uid, SUMS.c.quarter >= since
                )
            ).one()
        return paid - (whole(*charged) or 0)


def paid_by(connection: Connection, tenant_uid: str) -> tuple[int | None, int]:
    """Returns what a tenant has paid in all, in pico-USD, and when first; None and 0 for one that never paid."""
    *paid, first = connection.execute(
        select(*exact_sum(CREDITS.c.amount_pico), func.min(CREDITS.c.booked_at)).where(
            CREDITS.c.tenant_uid == tenant_uid
        )
    ).one()
    return whole(*paid), int(first or 0)


def _row(tenant_uid: str, payment: Payment, rate: Rate, now: int) -> dict[str, Any]:
    pico = payment.amount_pico
    if payment.currency != USD:
        pico = half_even(pico * MICROS, rate.micro)
    if abs(pico) > MAX_PICO:
        raise TooMuch("a payment is of at most 1000000 USD")
    return {
        "tenant_uid": tenant_uid,
        "reference": payment.reference,
        "amount_pico": pico,
        "note": payment.note,
        "booked_at": now,
        "currency": payment.currency.code,
        "paid_micro": _paid_micro(payment),
        "rate_micro": rate.micro,
        "rate_since": rate.since,
    }


def _booked(row: Any) -> BookedPayment:
    currency = CURRENCIES[row.currency]
    pico = row.amount_pico if currency == USD else row.paid_micro * PICOS_PER_MICRO
    return BookedPayment(
        Payment(row.reference, pico, row.note, currency),
        row.amount_pico,
        Rate(currency, row.rate_micro, row.rate_since),
        row.booked_at,
    )


_Paid = tuple[str, int]
"""What tells one payment from another of the same reference: its currency, and the amount in it, which no rate changes."""


def _paid(payment: Payment) -> _Paid:
    amount = payment.amount_pico if payment.currency == USD else _paid_micro(payment)
    return payment.currency.code, amount


def _paid_micro(payment: Payment) -> int:
    return 0 if payment.currency == USD else payment.amount_pico // PICOS_PER_MICRO


def _booked_under(connection: Connection, reference: str) -> dict[str, _Paid]:
    """Returns what is booked under a reference by tenant, and lets nobody else book under it up to the end of the transaction."""
    if not is_sqlite(connection):
        lock(connection, f"credit/{reference}")
    rows = connection.execute(select(CREDITS).where(CREDITS.c.reference == reference))
    return {row.tenant_uid: _paid(_booked(row).payment) for row in rows}


def is_known(connection: Connection, tenant_uid: str) -> bool:
    """Returns whether the ledger has terms, use or credit of a tenant."""
    return any(
        connection.execute(
            select(table.c.tenant_uid).where(table.c.tenant_uid == tenant_uid).limit(1)
        ).first()
        is not None
        for table in (TERMS, SUMS, CREDITS)
    )
