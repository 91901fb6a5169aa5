"""A round of upkeep, again and again. What fails is told and tried again in the next round."""

import asyncio
import time
from typing import Final

from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.settings import Settings
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.ledger import Ledger
from relay_ledger.upkeep.endings import ends_well

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
RETENTION_SECONDS: Final = 3600.0
"""Between looks for months that are old enough."""


class Upkeep:
    """One per process. Several processes on one database do each other no harm: each step takes the same locks."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        reconciliations: ReconciliationStore,
        *,
        desk: BookingDesk,
        metrics: LedgerMetrics,
        log: LedgerLog,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._reconciliations = reconciliations
        self._desk = desk
        self._metrics = metrics
        self._log = log
        self._retained_at = float("-inf")

    async def run(self) -> None:
        """Goes round until it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.upkeep_seconds)
            await ends_well(self.round(), self._log)

    async def round(self) -> None:
        """Does everything that is due now; raises DatabaseAway."""
        now = time.time_ns() // 1000
        overdue = now - self._settings.open_seconds * SECOND
        swept = await self._desk.in_thread(lambda: self._ledger.sweep(sent_before=overdue, now=now))
        if swept:
            self._log.event("swept", attempts=swept)
        await self._retain(now)
        self._metrics.stand(await self._desk.in_thread(self._ledger.standing))

    async def _retain(self, now: int) -> None:
        if time.monotonic() - self._retained_at < RETENTION_SECONDS:
            return
        kept, changing = (
            now - days * DAY for days in (self._settings.kept_days, self._settings.past_days)
        )
        gone = await self._desk.in_thread(lambda: self._ledger.drop_before(kept))
        # no record comes any more that another look would find
        superseded = await self._desk.in_thread(
            lambda: self._reconciliations.drop_superseded(changing)
        )
        pods = await self._desk.in_thread(lambda: self._ledger.forget_pods(changing))
        self._retained_at = time.monotonic()
        if gone or superseded or pods:
            self._log.event(
                "dropped", tables=gone, superseded_reconciliations=superseded, pods=pods
            )


async def watch_keys(keys: KeyFile, seconds: float, log: LedgerLog) -> None:
    """Looks for changed keys until it is cancelled; tells of a problem once."""
    told: str | None = None
    while True:
        problem = await asyncio.to_thread(keys.refresh)
        if problem not in (None, told):
            log.event("keys", detail=problem)
        told = problem
        await asyncio.sleep(seconds)
