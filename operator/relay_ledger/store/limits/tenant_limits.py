"""The limits of one tenant within a transaction: what its pods have of them, what is booked on them, and which thresholds are crossed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from relay_contract.billing.budget import LimitKind, TenantBudget
from relay_ledger.budgets.leasing import Account, total_spent
from relay_ledger.budgets.limits import (
    NOTHING_PAID,
    Credit,
    Limit,
    budget_limit,
    credit_limit,
)
from relay_ledger.periods.contracts import Contract, Terms
from relay_ledger.periods.zones import QUARTER
from relay_ledger.store.contracts import contract_of
from relay_ledger.store.credits import paid_by
from relay_ledger.store.databases import insert_into
from relay_ledger.store.rows.exact_sums import exact_sum, whole
from relay_ledger.store.tables import BUDGET_ALERTS, BUDGETS, LIMIT_PODS, SUMS, TERMS

BEFORE: Final = ""
"""The pod of what was booked before there was a limit, and of what is booked of no pod's attempts."""
_FIGURES: Final = ("granted", "reported", "booked", "until", "sequence")


@dataclass(frozen=True, slots=True)
class Booked:
    """A charge of an attempt, in pico-USD, and the pod that has sent it."""

    pod: str
    dispatched_at: int
    charge_pico: int


class TenantLimits:
    """Lives for one transaction, in which nobody else books for this tenant."""

    def __init__(self, connection: Connection, tenant_uid: str) -> None:
        self._connection = connection
        self._tenant_uid = tenant_uid
        self._contract: Contract | None = None
        self._credit: Credit | None = None
        self._latest: list[Limit] = []
        self.terms = self._terms()

    def at(self, at: int) -> list[Limit]:
        """Returns the limits that an attempt counts on which is sent at that time."""
        terms = self.terms
        if terms is None:
            return []
        if self._latest and all(one.starts_at <= at < one.ends_at for one in self._latest):
            return self._latest
        limits: list[Limit] = []
        is_before_credit = False
        if terms.budget is not None:
            limits.append(budget_limit(terms.budget, self._periods(terms), at))
        if terms.credit is not None:
            limit = credit_limit(terms.credit, self._paid())
            # what was used before the first payment is on a statement
            is_before_credit = at < limit.starts_at
            if not is_before_credit:
                limits.append(limit)
        # later in the same period there is one more
        self._latest = [] if is_before_credit else limits
        return limits

    def accounts(self, limit: Limit, *, keep: bool = True) -> dict[str, Account]:
        """Returns what pods have of a limit; one that nobody has asked for yet begins with what is booked already, and so does one
        that ends at another time than it did: a day that has become a month.

        With keep that beginning is written: from then on charges are added to it.
        """
        rows = self._connection.execute(
            select(LIMIT_PODS).where(
                LIMIT_PODS.c.tenant_uid == self._tenant_uid,
                LIMIT_PODS.c.kind == limit.kind,
                LIMIT_PODS.c.starts_at == limit.starts_at,
            )
        ).all()
        accounts = {
            row.pod: Account(*(int(getattr(row, name)) for name in _FIGURES)) for row in rows
        }
        if not any(row.pod == BEFORE and row.ends_at == limit.ends_at for row in rows):
            accounts[BEFORE] = self._of_no_pod(limit, accounts)
            if keep:
                self.keep(limit, {BEFORE: accounts[BEFORE]})
        return accounts

    def recount(self, limit: Limit) -> int:
        """Brings a limit to what is booked, also while it was not in force; returns what is spent of it."""
        accounts = self.accounts(limit, keep=False)
        accounts[BEFORE] = self._of_no_pod(limit, accounts)
        self.keep(limit, {BEFORE: accounts[BEFORE]})
        return total_spent(accounts.values())

    def keep(self, limit: Limit, changed: Mapping[str, Account]) -> None:
        """Writes accounts that have changed."""
        if not changed:
            return
        statement = insert_into(self._connection, LIMIT_PODS)
        names = (*_FIGURES, "ends_at")
        self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(LIMIT_PODS.primary_key.columns),
                set_={name: statement.excluded[name] for name in names},
            ),
            [
                {
                    "tenant_uid": self._tenant_uid,
                    "kind": limit.kind,
                    "starts_at": limit.starts_at,
                    "ends_at": limit.ends_at,
                    "pod": pod,
                    **{name: getattr(account, name) for name in _FIGURES},
                }
                for pod, account in sorted(changed.items())
            ],
        )

    def book(self, charges: Iterable[Booked], now: int) -> None:
        """Books charges on the limits of their times; call it before they are in the sums."""
        if self.terms is None:
            return
        limits: dict[tuple[LimitKind, int], Limit] = {}
        added: dict[tuple[LimitKind, int], dict[str, int]] = {}
        for charge in charges:
            for limit in self.at(charge.dispatched_at) if charge.charge_pico else ():
                limits[limit.key] = limit
                pods = added.setdefault(limit.key, {})
                pods[charge.pod] = pods.get(charge.pod, 0) + charge.charge_pico
        for key, limit in sorted(limits.items()):
            accounts = self.accounts(limit)
            changed = {pod: _with(accounts.get(pod), more) for pod, more in added[key].items()}
            self.keep(limit, changed)
            self.warn(limit, total_spent({**accounts, **changed}.values()), now)

    def warn(self, limit: Limit, spent: int, now: int) -> None:
        """Notes the thresholds that are crossed; each is noted once, whoever sees it."""
        rows = [
            {
                "tenant_uid": self._tenant_uid,
                "kind": limit.kind,
                "starts_at": limit.starts_at,
                "amount_pico": limit.amount_pico,
                "threshold": one.value,
                "ends_at": limit.ends_at,
                "spent_pico": spent,
                "crossed_at": now,
                "told_at": 0,
                "given_up_at": 0,
                "sent_again_at": 0,
            }
            for one in limit.crossed(spent)
        ]
        if rows:
            statement = insert_into(self._connection, BUDGET_ALERTS).on_conflict_do_nothing()
            self._connection.execute(statement, rows)

    def _terms(self) -> TenantBudget | None:
        content = self._connection.execute(
            select(BUDGETS.c.content).where(BUDGETS.c.tenant_uid == self._tenant_uid)
        ).scalar()
        if content is None:
            return None
        terms = TenantBudget.model_validate_json(content)
        return terms if terms.budget is not None or terms.credit is not None else None

    def _periods(self, terms: TenantBudget) -> Contract:
        if self._contract is None:
            known = contract_of(self._connection, self._tenant_uid)
            # a tenant whose contract is not known here yet has the zone of its budget
            self._contract = (
                known
                if _has_terms(self._connection, self._tenant_uid)
                else Contract([Terms(zone=terms.zone)])
            )
        return self._contract

    def _paid(self) -> Credit:
        if self._credit is None:
            paid, first = paid_by(self._connection, self._tenant_uid)
            self._credit = NOTHING_PAID if paid is None else Credit(paid, first)
        return self._credit

    def _of_no_pod(self, limit: Limit, accounts: Mapping[str, Account]) -> Account:
        of_pods = sum(one.booked for pod, one in accounts.items() if pod != BEFORE)
        return Account(booked=self._charged(limit) - of_pods)

    def _charged(self, limit: Limit) -> int:
        charged = self._connection.execute(
            select(*exact_sum(SUMS.c.charge_pico)).where(
                SUMS.c.tenant_uid == self._tenant_uid,
                SUMS.c.quarter >= limit.starts_at // QUARTER * QUARTER,
                SUMS.c.quarter < limit.ends_at,
            )
        ).one()
        return whole(*charged) or 0


def _has_terms(connection: Connection, tenant_uid: str) -> bool:
    return (
        connection.execute(
            select(TERMS.c.number).where(TERMS.c.tenant_uid == tenant_uid).limit(1)
        ).first()
        is not None
    )


def _with(account: Account | None, booked: int) -> Account:
    held: Any = account or Account()
    return Account(held.granted, held.reported, held.booked + booked, held.until, held.sequence)
