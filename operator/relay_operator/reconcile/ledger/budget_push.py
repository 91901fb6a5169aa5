"""Keeps tenants' budgets in the ledger those of the cluster, and tells of thresholds: Events, the webhook, status.

A loop at a pace of its own. An alert is told again and again until the webhook has delivered it; its id stays the same.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from relay_contract.billing.budget import BudgetStandings, TenantAlert, TenantBudget, alert_id
from relay_contract.spending import Rate, ToolRate
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.ledger.budget_client import BudgetClient
from relay_operator.cluster.metrics.catalogue import (
    BUDGET_ALERTS,
    BUDGET_ALERTS_UNDELIVERED,
    BUDGETS_SPENT,
)
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.webhook.budget_message import of_alert
from relay_operator.cluster.webhook.sender import Webhook
from relay_operator.decisions.ledger import budget_conditions
from relay_operator.decisions.route_status import Move
from relay_operator.errors import ApiServerRefused, Conflict, LedgerUnavailable
from relay_operator.manifests.ledger.spending import tenant_budget
from relay_operator.names import Reason
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.ledger.repeated_looks import look_again
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
ASK_SECONDS: Final = 15.0
"""Between questions how budgets stand: as late as this may an alert be."""
WRITE_SECONDS: Final = 300.0
"""Between two writes of how much of one budget is spent."""
_FAILED: Final = frozenset({"given_up", "refused"})
"""Ends of a message that no receiver took, however long it was tried."""
_NOT_FOUND: Final = 404
_UNWRITTEN: Final = -1


class BudgetPush:
    """Pushes what has changed and asks from time to time."""

    def __init__(
        self,
        *,
        client: BudgetClient,
        news: LedgerNews,
        watched_state: WatchedState,
        status: StatusWriter,
        announcer: EventRecorder,
        webhook: Webhook | None,
        queue: WorkQueue,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._status = status
        self._client = client
        self._news = news
        self._watched_state = watched_state
        self._announcer = announcer
        self._webhook = webhook
        self._queue = queue
        self._clock = clock
        self._wall = wall
        self._asked_at = float("-inf")
        self._in_force: dict[str, TenantBudget] = {}
        self._refused: set[str] = set()
        self._budgets: dict[str, tuple[Tenant, TenantBudget]] = {}
        self._rates: dict[str, tuple[tuple[Rate, ...], tuple[ToolRate, ...]]] = {}
        self._words: dict[str, Any] = {}
        self._written: dict[str, tuple[int, float]] = {}
        self._announced: set[str] = set()
        self._delivered: list[TenantAlert] = []
        self._failed: list[TenantAlert] = []
        self._away = ""

    async def run(self) -> None:
        """Looks until cancelled."""
        await look_again(
            self.look,
            every_seconds=LOOK_SECONDS,
            logger=logger,
            failure="budgets not looked at, will retry",
        )

    async def look(self) -> None:
        """Does once what is due. Raises ApiServerRefused, Conflict or Unavailable."""
        tenants = self._billed()
        self._queue_changed_rates(tenants)
        try:
            await self._push(tenants)
            if self._clock() - self._asked_at < ASK_SECONDS:
                return
            bounded = [
                uid
                for uid, one in self._in_force.items()
                if one.budget is not None or one.credit is not None
            ]
            if bounded:
                told = await self._client.standings(bounded)
                known = {one.tenant_uid for one in told.standings} | self._refused
                self._tell_again(set(bounded) - known)
                await self._hear(tenants, told)
            self._asked_at = self._clock()
            self._away = ""
        except LedgerUnavailable as error:
            if str(error) != self._away:
                logger.warning("budgets are not told the ledger", extra={"why": str(error)})
            self._away = str(error)

    def _billed(self) -> dict[str, Tenant]:
        """Returns our tenants with a price list, by UID."""
        valid = self._watched_state.tenants.valid()
        ours = (valid.get(name) for name in self._watched_state.our_tenants())
        return {
            one.metadata.uid: one
            for one in ours
            if one is not None and one.spec.billing.price_list is not None
        }

    def _queue_changed_rates(self, tenants: dict[str, Tenant]) -> None:
        """Has documents composed anew whose rates are others now: a PriceList has changed."""
        if self._news.price_specs is None:
            return
        now = {uid: self._news.reckoned(one)[:2] for uid, one in tenants.items()}
        for uid, rates in now.items():
            if self._rates.get(uid, ((), ())) != rates:
                self._queue.add(Key("Tenant", "", tenants[uid].metadata.name), Urgency.BACKGROUND)
        self._rates = now

    async def _push(self, tenants: dict[str, Tenant]) -> None:
        wanted = {uid: self._budget(one) for uid, one in tenants.items()}
        self._budgets = {uid: (tenants[uid], one) for uid, one in wanted.items()}
        for uid, held in self._in_force.items():
            if uid in wanted or not (held.budget or held.credit):
                continue
            if self._is_unbound(held):
                # in a zone that there is, or the ledger would leave it bound
                wanted[uid] = TenantBudget(tenant_uid=uid, tenant=held.tenant)
            elif self._watched_state.is_ours(held.tenant):
                # of a spec that is refused, the last valid one stays in force
                wanted[uid] = held
        changed = [one for uid, one in wanted.items() if self._in_force.get(uid) != one]
        if changed:
            refused = await self._client.put(changed)
            for one in changed:
                self._note_refused(one, refused.get(one.tenant_uid, ""))
            self._asked_at = float("-inf")
        self._in_force = wanted
        self._refused &= wanted.keys()

    def _note_refused(self, budget: TenantBudget, why: str) -> None:
        """Remembers what the ledger cannot use; the Tenant's condition Priced says so."""
        self._refused.discard(budget.tenant_uid)
        if why:
            self._refused.add(budget.tenant_uid)
            logger.warning(
                "the ledger cannot use a budget, what it has of it stays in force",
                extra={"tenant": budget.tenant, "why": why},
            )

    def _is_unbound(self, held: TenantBudget) -> bool:
        """Tells whether nothing bounds a tenant any more: it is gone, or not billed. One that has moved to another operator is bound by that."""
        watched = self._watched_state.tenants.get(held.tenant)
        if watched is None or watched.uid != held.tenant_uid:
            return True
        tenant = watched.resource
        return not isinstance(tenant, Invalid) and tenant.spec.billing.price_list is None

    def _tell_again(self, unknown: set[str]) -> None:
        """Has budgets pushed that the ledger does not know: it has begun anew, with another database or one of before."""
        if unknown:
            logger.warning(
                "the ledger has lost budgets, it is told again", extra={"budgets": len(unknown)}
            )
        for uid in unknown:
            del self._in_force[uid]

    def _budget(self, tenant: Tenant) -> TenantBudget:
        of, budget = self._budgets.get(tenant.metadata.uid, (None, None))
        return budget if of is tenant and budget is not None else tenant_budget(tenant)

    async def _hear(self, tenants: dict[str, Tenant], told: BudgetStandings) -> None:
        by_uid: dict[str, list[Any]] = {}
        for one in told.standings:
            by_uid.setdefault(one.tenant_uid, []).append(one)
        self._news.budgets = {uid: tuple(found) for uid, found in by_uid.items()}
        self._news.undelivered = told.undelivered_of
        spent = [one for one in told.standings if one.spent >= one.amount]
        BUDGETS_SPENT.set(len(spent))
        BUDGET_ALERTS_UNDELIVERED.set(told.undelivered)
        for uid, tenant in tenants.items():
            standings = self._news.budgets.get(uid, ())
            words = self._news.of_budget(tenant)
            if words != self._words.get(uid, []):
                self._words[uid] = words
                self._queue.add(Key("Tenant", "", tenant.metadata.name), Urgency.BACKGROUND)
            if standings:
                await self._write(tenant, budget_conditions.percent(standings))
        for alert in told.alerts:
            if alert.tenant_uid in tenants:
                await self._tell(tenants[alert.tenant_uid], alert)
        await self._settle()

    async def _tell(self, tenant: Tenant, found: TenantAlert) -> None:
        identity = alert_id(found.tenant_uid, found.alert)
        if identity not in self._announced:
            BUDGET_ALERTS.labels(found.alert.kind).inc()
            await self._announce(tenant, found, identity)
            self._announced.add(identity)
        if self._webhook is None:
            self._delivered.append(found)
            return

        def ended(outcome: str) -> None:
            if outcome == "delivered":
                self._delivered.append(found)
            elif outcome in _FAILED:
                self._failed.append(found)

        message = of_alert(tenant.metadata.name, found.tenant_uid, found.alert)
        self._webhook.tell(message, ended)

    async def _announce(self, tenant: Tenant, found: TenantAlert, identity: str) -> None:
        watched = self._watched_state.tenants.get(tenant.metadata.name)
        if watched is None:
            return
        move = Move(
            at=self._wall(),
            reason=Reason.BUDGET_ALERT,
            message=budget_conditions.alert_message(found.alert),
            canary_percent=0,
        )
        await self._announcer.announce(
            watched.body, kind="Tenant", action="Bill", move=move, identity=identity
        )

    async def _settle(self) -> None:
        """Says to the ledger what was delivered, and what failed: it gives up what fails for days."""
        delivered, self._delivered = self._delivered, []
        failed, self._failed = self._failed, []
        if not delivered and not failed:
            return
        try:
            await self._client.told(delivered, failed=failed)
        except LedgerUnavailable:
            self._delivered += delivered
            # what fails again is said again
            raise

    async def _write(self, tenant: Tenant, percent: int) -> None:
        """Writes how much is spent, each tenant's every few minutes at most."""
        uid, now = tenant.metadata.uid, self._clock()
        written, at = self._written.get(uid, (_UNWRITTEN, float("-inf")))
        if written == percent or now - at < WRITE_SECONDS:
            return
        watched = self._watched_state.tenants.get(tenant.metadata.name)
        if watched is None or watched.uid != uid:
            return
        billing = {"budgetPercent": percent}
        try:
            await self._status.write_beside("Tenant", watched.body, {"billing": billing})
        except Conflict:
            # the next look has the Tenant as it is by then
            return
        except ApiServerRefused as error:
            if error.status != _NOT_FOUND:
                # alerts of everybody else are told all the same
                logger.warning(
                    "how much of a budget is spent is not written, will retry",
                    extra={"tenant": tenant.metadata.name, "why": str(error)},
                )
                percent = _UNWRITTEN
        self._written[uid] = percent, now
