"""Budgets in the database: what the operator puts into force, what pods lease, and what nobody was told of yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, select, update

from relay_contract.billing.budget import (
    LEASE_SECONDS,
    MAX_BUDGETS,
    BudgetPeriod,
    BudgetStanding,
    BudgetStandings,
    Lease,
    LeaseAnswer,
    LeaseAsk,
    LeaseRequest,
    TenantAlert,
    TenantBudget,
)
from relay_ledger.budgets.leasing import (
    Account,
    Ask,
    grant,
    total_spent,
    unleased,
)
from relay_ledger.budgets.limits import Limit
from relay_ledger.periods.zones import SECOND, zone
from relay_ledger.store.databases import insert_into, reading, writing
from relay_ledger.store.limits.alert_rows import (
    alert_of,
    dead_letter_count,
    dead_letters_of,
    is_alert,
)
from relay_ledger.store.limits.tenant_limits import TenantLimits
from relay_ledger.store.tables import BUDGET_ALERTS, BUDGETS

AHEAD: Final = 2 * LEASE_SECONDS * SECOND
"""A part of the next period is leased so long before it begins: no call waits at midnight."""


@dataclass(frozen=True, slots=True)
class BudgetNow:
    """A budget, and what is spent of it, in pico-USD."""

    period: BudgetPeriod
    limit: Limit
    spent_pico: int


class BudgetStore:
    """Times are microseconds since 1970. A lease does not end before `grace_until`: pods could not ask before."""

    def __init__(self, engine: Engine, *, lease_seconds: int = LEASE_SECONDS) -> None:
        self._engine = engine
        self._lease_seconds = lease_seconds

    def put(self, budget: TenantBudget, *, now: int) -> bool:
        """Puts a tenant's budget into force; returns whether that changed anything. Raises UnknownZone."""
        zone(budget.zone)
        content = budget.model_dump_json(by_alias=True)
        with writing(self._engine, budget.tenant_uid) as connection:
            held = connection.execute(
                select(BUDGETS.c.content).where(BUDGETS.c.tenant_uid == budget.tenant_uid)
            ).scalar()
            if held == content:
                return False
            statement = insert_into(connection, BUDGETS)
            names = ("zone", "content", "loaded_at")
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[BUDGETS.c.tenant_uid],
                    set_={name: statement.excluded[name] for name in names},
                ),
                [
                    {
                        "tenant_uid": budget.tenant_uid,
                        "zone": budget.zone,
                        "content": content,
                        "loaded_at": now,
                    }
                ],
            )
            limits = TenantLimits(connection, budget.tenant_uid)
            for limit in limits.at(now):
                # it may have been in force before, and a smaller amount may be spent already
                limits.warn(limit, limits.recount(limit), now)
        return True

    def lease(
        self, tenant_uid: str, request: LeaseRequest, *, now: int, grace_until: int = 0
    ) -> LeaseAnswer:
        """Gives a pod its part of each limit; raises OutdatedAsk."""
        with writing(self._engine, tenant_uid) as connection:
            limits = TenantLimits(connection, tenant_uid)
            until = now + self._lease_seconds * SECOND
            leases = [
                _leased(limits, limit, request, now=now, until=until, grace_until=grace_until)
                for limit in _asked(limits, request, now)
            ]
        return LeaseAnswer(seconds=self._lease_seconds, leases=tuple(leases))

    def standings(self, tenant_uids: Sequence[str], *, now: int) -> BudgetStandings:
        """Tells how these tenants stand, and of alerts of anybody that nobody was told of yet, theirs first."""
        found: list[BudgetStanding] = []
        with reading(self._engine) as connection:
            for uid in tenant_uids:
                found += _standing(connection, uid, now)
            alerts = [
                TenantAlert(tenant_uid=row.tenant_uid, alert=alert_of(row))
                for row in connection.execute(
                    select(BUDGET_ALERTS)
                    .where(BUDGET_ALERTS.c.told_at == 0, BUDGET_ALERTS.c.given_up_at == 0)
                    # those of tenants that are gone are told nobody, and stay
                    .order_by(
                        BUDGET_ALERTS.c.tenant_uid.not_in(tenant_uids), BUDGET_ALERTS.c.crossed_at
                    )
                    .limit(MAX_BUDGETS)
                )
            ]
            undelivered = dead_letter_count(connection)
            undelivered_of = dead_letters_of(connection, tenant_uids) if undelivered else {}
        return BudgetStandings(
            standings=tuple(found),
            alerts=tuple(alerts),
            undelivered=undelivered,
            undelivered_of=undelivered_of,
        )

    def budget_now(self, tenant_uid: str, *, now: int) -> BudgetNow | None:
        """Returns the budget of the period that is now, None for a tenant without one."""
        with reading(self._engine) as connection:
            limits = TenantLimits(connection, tenant_uid)
            terms = limits.terms.budget if limits.terms is not None else None
            if terms is None:
                return None
            (limit,) = (one for one in limits.at(now) if one.kind == "budget")
            spent = total_spent(limits.accounts(limit, keep=False).values())
            return BudgetNow(terms.period, limit, spent)

    def told(self, alerts: Sequence[TenantAlert], *, now: int) -> None:
        """Notes that somebody was told of these."""
        for one in alerts:
            with writing(self._engine, one.tenant_uid) as connection:
                connection.execute(
                    update(BUDGET_ALERTS)
                    .where(*is_alert(one), BUDGET_ALERTS.c.told_at == 0)
                    .values(told_at=now)
                )


def _asked(limits: TenantLimits, request: LeaseRequest, now: int) -> list[Limit]:
    """Returns the limits that hold now or soon, and those that ended and that the pod still has calls of."""
    found = {limit.key: limit for at in (now, now + AHEAD) for limit in limits.at(at) if limit.hard}
    for ask in request.limits:
        for limit in limits.at(ask.starts_at) if (ask.kind, ask.starts_at) not in found else ():
            if limit.hard and limit.key == (ask.kind, ask.starts_at):
                found[limit.key] = limit
    return [found[key] for key in sorted(found)]


def _leased(
    limits: TenantLimits,
    limit: Limit,
    request: LeaseRequest,
    *,
    now: int,
    until: int,
    grace_until: int,
) -> Lease:
    accounts = limits.accounts(limit)
    if now < grace_until:
        accounts = {pod: _prolonged(one, grace_until) for pod, one in accounts.items()}
    asked = next((one for one in request.limits if (one.kind, one.starts_at) == limit.key), None)
    # what has ended is only settled: nothing of it is to be had
    ended = limit.ends_at <= now
    ask = _ask(request, asked, release=request.release or ended)
    account = grant(
        limit.amount_pico,
        accounts,
        request.pod,
        ask,
        now=now,
        until=until,
    )
    limits.keep(limit, {request.pod: account})
    accounts[request.pod] = account
    spent = total_spent(accounts.values())
    limits.warn(limit, spent, now)
    left = max(unleased(limit.amount_pico, accounts.values(), now), 0)
    return Lease(
        kind=limit.kind,
        starts_at=limit.starts_at,
        ends_at=limit.ends_at,
        amount=limit.amount_pico,
        allowance=account.granted,
        base=account.spent,
        left=left,
        elsewhere=sum(one.leased(now) for pod, one in accounts.items() if pod != request.pod),
    )


def _ask(request: LeaseRequest, asked: LeaseAsk | None, *, release: bool) -> Ask:
    if asked is None:
        return Ask(request.sequence, fresh=True, release=release)
    return Ask(
        request.sequence,
        asked.allowance,
        asked.spent,
        asked.held,
        asked.wanted,
        asked.least,
        fresh=request.fresh,
        release=release,
    )


def _prolonged(account: Account, until: int) -> Account:
    if not account.until:
        return account
    return Account(
        account.granted,
        account.reported,
        account.booked,
        max(account.until, until),
        account.sequence,
    )


def _standing(connection: Connection, tenant_uid: str, now: int) -> list[BudgetStanding]:
    limits = TenantLimits(connection, tenant_uid)
    standings = []
    for limit in limits.at(now):
        accounts = limits.accounts(limit, keep=False)
        standings.append(
            BudgetStanding(
                tenant_uid=tenant_uid,
                kind=limit.kind,
                starts_at=limit.starts_at,
                ends_at=limit.ends_at,
                amount=limit.amount_pico,
                hard=limit.hard,
                spent=total_spent(accounts.values()),
                leased=sum(one.leased(now) for one in accounts.values()),
            )
        )
    return standings
