"""Audits what is booked, as `relay-ledger audit` does, again and again without anybody asking.

It runs in the process that serves: on SQLite no other one may open the file, and it needs no right and no pod of its own.
"""

import asyncio
import time
from functools import partial
from typing import Final

from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.periods.zones import QUARTER, SECOND
from relay_ledger.settings import Settings
from relay_ledger.store.ledger import Ledger
from relay_ledger.upkeep.endings import ends_well

FIRST_AUDIT_SECONDS: Final = 900.0
"""After the start: relays deliver first what they have kept."""
AGAIN_SECONDS: Final = 300.0
"""After one that did not end; twice as long after each further one, up to the time between two that did."""
QUICK_SECONDS: Final = 0.5
"""Of a tenant of whom a time took less, twice as long a time is compared next."""
MAX_TOLD: Final = 10
DAY: Final = 86_400 * SECOND


class Audits:
    """One per process. Each looks at one state of the database, so that what is being booked makes no difference."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        desk: BookingDesk,
        metrics: LedgerMetrics,
        log: LedgerLog,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._desk = desk
        self._metrics = metrics
        self._log = log

    async def run(self) -> None:
        """Audits until it is cancelled."""
        between = self._settings.audit_hours * 3600.0
        pause, again = FIRST_AUDIT_SECONDS, AGAIN_SECONDS
        while True:
            await asyncio.sleep(pause)
            if await ends_well(self.audit(now=time.time_ns() // 1000), self._log):
                pause, again = between, AGAIN_SECONDS
            else:
                pause, again = again, min(2 * again, between)

    async def audit(self, *, now: int) -> int:
        """Compares sums with their postings, of every day that records may still come for, and what was opened with what became of it.

        Returns how many differ, and tells the first; raises DatabaseAway.
        """
        found = 0
        tenant_uid = await self._desk.in_thread(partial(self._ledger.tenant_after, ""))
        while tenant_uid is not None:
            found += await self._audit_tenant(tenant_uid, now, told=found)
            tenant_uid = await self._desk.in_thread(partial(self._ledger.tenant_after, tenant_uid))
        standing = await self._desk.in_thread(self._ledger.standing)
        if standing.tally.in_flight != standing.in_flight:
            found += 1
            self._log.event(
                "audit_unbalanced",
                in_flight=standing.in_flight,
                tally=standing.tally.in_flight,
            )
        self._log.event("audit", differences=found, days=self._settings.past_days)
        self._metrics.audited(found, now / SECOND)
        return found

    async def _audit_tenant(self, tenant_uid: str, now: int, *, told: int) -> int:
        """Compares day after day, or more at once where a tenant has little, so that no statement takes long.

        Between two it waits as long as the first one took, so that it has half of one thread of those that book.
        """
        found, width = 0, DAY
        at, end = (now - self._settings.past_days * DAY) // DAY * DAY, _quarter_end(now)
        while at < end:
            started = time.monotonic()
            differences = await self._desk.in_thread(
                partial(self._ledger.differences_of, tenant_uid, start=at, end=min(at + width, end))
            )
            took = time.monotonic() - started
            for difference in differences[: max(MAX_TOLD - told - found, 0)]:
                self._log.event("audit_difference", **difference)
            found += len(differences)
            at += width
            width = 2 * width if took < QUICK_SECONDS else DAY
            await asyncio.sleep(took)
        return found


def _quarter_end(at: int) -> int:
    return at // QUARTER * QUARTER + QUARTER
