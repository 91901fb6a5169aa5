"""The terms of tenants in the database: each change is a row, and what a final statement was made by is not changed any more."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from relay_ledger.money.rounding import CURRENCIES
from relay_ledger.periods.contracts import DEFAULT, Contract, Terms, TermsChange
from relay_ledger.periods.zones import QUARTER, UnknownZone
from relay_ledger.store.databases import reading, writing
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.tables import STATEMENTS, TERMS

_TENANTS_AT_ONCE: Final = 250
"""Whose terms change in one transaction: so long they wait with what they book, and nobody else does."""


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
        with writing(self._engine, tenant_uid) as connection:
            rows = _known(connection, (tenant_uid,))[tenant_uid].rows(terms, now=now)
            insert_rows(connection, TERMS, rows)
        return bool(rows)

    def change(
        self, tenant_uid: str, wanted: TermsChange, *, since: int | None = None, now: int
    ) -> bool:
        """Changes a tenant's terms from a time on, those that are to follow as well; returns whether that changed anything.

        Without a time it is all that no final statement has. Raises TermsRefused, UnknownZone.
        """
        with writing(self._engine, tenant_uid) as connection:
            known = _known(connection, (tenant_uid,))[tenant_uid]
            rows = [
                row for terms in known.changed(wanted, since) for row in known.rows(terms, now=now)
            ]
            insert_rows(connection, TERMS, rows)
        return bool(rows)

    def change_from_now(self, tenants: Mapping[str, TermsChange], *, now: int) -> dict[str, str]:
        """Changes the terms of tenants, by UID, from this quarter of an hour on. Returns by tenant why they stay as they were."""
        problems: dict[str, str] = {}
        uids = sorted(tenants)
        for start in range(0, len(uids), _TENANTS_AT_ONCE):
            some = uids[start : start + _TENANTS_AT_ONCE]
            rows: list[_Row] = []
            with writing(self._engine, *some) as connection:
                known = _known(connection, some)
                for uid in some:
                    try:
                        rows += known[uid].rows(known[uid].from_now(tenants[uid], now), now=now)
                    except (UnknownZone, TermsRefused) as error:
                        problems[uid] = str(error)
                insert_rows(connection, TERMS, rows)
        return problems

    def contract(self, tenant_uid: str) -> Contract:
        """Returns all terms of a tenant."""
        with reading(self._engine) as connection:
            return contract_of(connection, tenant_uid)


_Row = dict[str, Any]


@dataclass(slots=True)
class _Known:
    """What there is of a tenant: terms by their time, the highest number of each, and when its last final statement ends."""

    tenant_uid: str
    terms: dict[int, Terms] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    final_until: int | None = None

    def from_now(self, wanted: TermsChange, now: int) -> Terms:
        """Returns the terms in force with a change from this quarter of an hour on."""
        held = Contract(self.terms.values()).terms_at(now)
        return wanted.of(replace(held, starts_at=now // QUARTER * QUARTER))

    def changed(self, wanted: TermsChange, since: int | None) -> list[Terms]:
        """Returns the terms with a change from a time on: those that hold then, and all that begin later."""
        start = (self.final_until or 0) if since is None else since
        held = Contract(self.terms.values()).terms_at(start)
        later = [self.terms[at] for at in sorted(self.terms) if at > start]
        return [wanted.of(one) for one in (replace(held, starts_at=start), *later)]

    def rows(self, terms: Terms, *, now: int) -> list[_Row]:
        """Returns the rows that put terms into force, none if they are; raises TermsRefused, UnknownZone."""
        _ = terms.where
        if terms.currency not in CURRENCIES:
            raise TermsRefused(
                f"{terms.currency!r} is no currency of a statement: one of {', '.join(sorted(CURRENCIES))}"
            )
        if terms.starts_at % QUARTER:
            raise TermsRefused("terms begin at a quarter of an hour")
        if self.terms and _same(Contract(self.terms.values()), terms):
            return []
        if self.final_until is not None and terms.starts_at < self.final_until:
            raise TermsRefused(
                "a final statement covers the time from which the terms are to hold: let them begin after its end"
            )
        new = [terms]
        if self.final_until is not None and not self.terms:
            new.insert(0, replace(DEFAULT, tenant=terms.tenant))
        return [self._row(one, now) for one in new]

    def _row(self, terms: Terms, now: int) -> _Row:
        return {
            "tenant_uid": self.tenant_uid,
            "starts_at": terms.starts_at,
            "number": self.numbers.get(terms.starts_at, 0) + 1,
            "zone": terms.zone,
            "anchor_day": terms.anchor_day,
            "currency": terms.currency,
            "tenant": terms.tenant,
            "loaded_at": now,
        }


def _known(connection: Connection, tenant_uids: Sequence[str]) -> dict[str, _Known]:
    found = {uid: _Known(uid) for uid in tenant_uids}
    for row in _rows_of(connection, tenant_uids):
        found[row.tenant_uid].terms[row.starts_at] = _terms(row)
        found[row.tenant_uid].numbers[row.starts_at] = row.number
    finals = connection.execute(
        select(STATEMENTS.c.tenant_uid, func.max(STATEMENTS.c.ends_at))
        .where(STATEMENTS.c.tenant_uid.in_(tenant_uids))
        .group_by(STATEMENTS.c.tenant_uid)
    )
    for uid, ends_at in finals:
        found[uid].final_until = ends_at
    return found


def contract_of(connection: Connection, tenant_uid: str) -> Contract:
    """Returns all terms of a tenant, as this transaction sees them."""
    last = {row.starts_at: _terms(row) for row in _rows_of(connection, (tenant_uid,))}
    return Contract(last.values())


def _rows_of(connection: Connection, tenant_uids: Sequence[str]) -> Iterable[Any]:
    return connection.execute(
        select(TERMS).where(TERMS.c.tenant_uid.in_(tenant_uids)).order_by(TERMS.c.number)
    )


def _terms(row: Any) -> Terms:
    return Terms(row.starts_at, row.zone, row.anchor_day, row.currency, row.tenant)


def _same(contract: Contract, terms: Terms) -> bool:
    held = contract.terms_at(terms.starts_at)
    return (held.zone, held.anchor_day, held.currency, held.tenant) == (
        *(terms.zone, terms.anchor_day, terms.currency),
        terms.tenant,
    )
