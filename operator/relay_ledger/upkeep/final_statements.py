"""Makes statements final once their grace is over, without anybody asking."""

import asyncio
import time
from functools import partial
from typing import Final

from relay_ledger.ingest.booking_desk import BookingDesk, DatabaseAway
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.periods.months import Period
from relay_ledger.periods.zones import SECOND, UnknownZone
from relay_ledger.settings import Settings
from relay_ledger.statements.statement import NoRate
from relay_ledger.store.bills.statement_store import PostingsGone, StatementStore
from relay_ledger.upkeep.endings import ends_well

FIRST_LOOK_SECONDS: Final = 600.0
"""After the start: terms that people and the operator give a new ledger come first."""
LOOK_SECONDS: Final = 3600.0
DAY: Final = 86_400 * SECOND


class FinalStatements:
    """One per process. Several on one database do each other no harm: who comes second finds the statement final."""

    def __init__(
        self,
        settings: Settings,
        statements: StatementStore,
        *,
        desk: BookingDesk,
        metrics: LedgerMetrics,
        log: LedgerLog,
    ) -> None:
        self._settings = settings
        self._statements = statements
        self._desk = desk
        self._metrics = metrics
        self._log = log
        self._told: set[tuple[str, str, str]] = set()
        self._held = 0

    async def run(self) -> None:
        """Looks until it is cancelled."""
        pause = FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_SECONDS
            await ends_well(self.look(now=time.time_ns() // 1000), self._log)

    async def look(self, *, now: int) -> None:
        """Makes final what is due, microseconds since 1970; raises DatabaseAway.

        A period of which nothing is kept any more is left as it is.
        """
        since, self._held = now - self._settings.kept_days * DAY, 0
        for tenant_uid in await self._desk.in_thread(self._statements.tenants):
            try:
                due = await self._desk.in_thread(
                    partial(self._statements.due, tenant_uid, since=since, now=now)
                )
            except UnknownZone as error:
                self._hold(tenant_uid, "", str(error))
                continue
            for period in due:
                await self._finalize(tenant_uid, period, now)
        self._metrics.held(self._held)

    async def _finalize(self, tenant_uid: str, period: Period, now: int) -> None:
        try:
            is_new = await self._desk.in_turn(
                tenant_uid,
                lambda: self._statements.finalize_period(tenant_uid, period, now=now),
            )
        except (NoRate, PostingsGone) as error:
            self._hold(tenant_uid, period.name, str(error))
            return
        except DatabaseAway as away:
            # if it does not answer at all, looking for what is due next says so
            self._hold(tenant_uid, period.name, str(away.__cause__).split("\n")[0])
            return
        if is_new:
            self._metrics.finalized()
            self._log.event("statement_final", tenant_uid=tenant_uid, period=period.name)

    def _hold(self, tenant_uid: str, period: str, detail: str) -> None:
        """Tells once why a statement waits; nobody else's waits for it."""
        self._held += 1
        found = tenant_uid, period, detail
        if found not in self._told:
            self._told.add(found)
            self._log.event("statement_held", tenant_uid=tenant_uid, period=period, detail=detail)
