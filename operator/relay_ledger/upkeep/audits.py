"""Audits what is booked, as `relay-ledger audit` does, again and again without anybody asking.

It runs in the process that serves: on SQLite no other one may open the file, and it needs no right and no pod of its own.
"""

import asyncio
import time
from functools import partial
from typing import Final

from relay_ledger.ingest.booking_desk import BookingDesk, DatabaseAway
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.periods.zones import QUARTER, SECOND
from relay_ledger.settings import Settings
from relay_ledger.store.ledger import Ledger

FIRST_AUDIT_SECONDS: Final = 900.0
"""After the start: relays deliver first what they have kept."""
AGAIN_SECONDS: Final = 300.0
"""After one that the database did not answer."""
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
        pause = FIRST_AUDIT_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = self._settings.audit_hours * 3600.0
            try:
                await self.audit(now=time.time_ns() // 1000)
            except DatabaseAway:
                # the log has the reason
                pause = AGAIN_SECONDS
            except (
                Exception
            ) as error:  # the entry loop: what fails today must not end all that comes after
                pause = AGAIN_SECONDS
                self._log.failed(error)

    async def audit(self, *, now: int) -> int:
        """Compares sums with their postings, of every day that records may still come for, and what was opened with what became of it.

        Returns how many differ, and tells the first; raises DatabaseAway. Between two days it waits as long as the first one took, so that it
        has half of one thread of those that book.
        """
        found = 0
        first = (now - self._settings.past_days * DAY) // DAY * DAY
        for day in range(first, now + 1, DAY):
            started = time.monotonic()
            differences = await self._desk.in_thread(
                partial(self._ledger.differences, start=day, end=min(day + DAY, _quarter_end(now)))
            )
            for difference in differences[: max(MAX_TOLD - found, 0)]:
                self._log.event("audit_difference", **difference)
            found += len(differences)
            await asyncio.sleep(time.monotonic() - started)
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


def _quarter_end(at: int) -> int:
    return at // QUARTER * QUARTER + QUARTER
