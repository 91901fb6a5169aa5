"""The terms of tenants in the database: each change is a row, and what a final statement was made by is not changed any more."""

from dataclasses import replace

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.periods.contracts import DEFAULT, Contract, Terms
from relay_ledger.periods.zones import QUARTER
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.tables import STATEMENTS, TERMS


class TermsRefused(ValueError):
    """Terms that cannot come into force; the message says why."""


class ContractStore:
    """Says what a tenant's periods are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, tenant_uid: str, terms: Terms, *, now: int) -> bool:
        """Puts terms into force from their time on; returns whether that changed anything. Raises TermsRefused, UnknownZone.

        The first terms of a tenant hold for all time before, too, but where a statement is final that was made without any: its
        periods stay, or what is billed would be billed again.
        """
        _ = terms.where
        if terms.starts_at % QUARTER:
            raise TermsRefused("terms begin at a quarter of an hour")
        with writing(self._engine, tenant_uid) as connection:
            known = contract_of(connection, tenant_uid)
            if known.is_known and _same(known, terms):
                return False
            final_until = connection.execute(
                select(func.max(STATEMENTS.c.ends_at)).where(STATEMENTS.c.tenant_uid == tenant_uid)
            ).scalar()
            if final_until is not None and terms.starts_at < final_until:
                raise TermsRefused(
                    "a final statement covers the time from which the terms are to hold: let them begin after its end"
                )
            if final_until is not None and not known.is_known:
                _insert(connection, tenant_uid, replace(DEFAULT, tenant=terms.tenant), now=now)
            _insert(connection, tenant_uid, terms, now=now)
        return True

    def contract(self, tenant_uid: str) -> Contract:
        """Returns all terms of a tenant."""
        with reading(self._engine) as connection:
            return contract_of(connection, tenant_uid)


def _insert(connection: Connection, tenant_uid: str, terms: Terms, *, now: int) -> None:
    latest = connection.execute(
        select(func.max(TERMS.c.number)).where(
            TERMS.c.tenant_uid == tenant_uid, TERMS.c.starts_at == terms.starts_at
        )
    ).scalar()
    row = {
        "tenant_uid": tenant_uid,
        "starts_at": terms.starts_at,
        "number": (latest or 0) + 1,
        "zone": terms.zone,
        "anchor_day": terms.anchor_day,
        "currency": terms.currency,
        "tenant": terms.tenant,
        "loaded_at": now,
    }
    connection.execute(insert(TERMS), [row])


def contract_of(connection: Connection, tenant_uid: str) -> Contract:
    """Returns all terms of a tenant, as this transaction sees them."""
    rows = connection.execute(
        select(TERMS).where(TERMS.c.tenant_uid == tenant_uid).order_by(TERMS.c.number)
    )
    last = {
        row.starts_at: Terms(row.starts_at, row.zone, row.anchor_day, row.currency, row.tenant)
        for row in rows
    }
    return Contract(last.values())


def _same(contract: Contract, terms: Terms) -> bool:
    held = contract.terms_at(terms.starts_at)
    return (held.zone, held.anchor_day, held.currency, held.tenant) == (
        *(terms.zone, terms.anchor_day, terms.currency),
        terms.tenant,
    )
