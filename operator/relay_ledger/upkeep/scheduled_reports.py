"""Compares what is booked with what providers report, each day and without anybody asking, for providers whose key of an administrator is given.

The work is that of `relay-ledger reconcile`, in a process of its own: a month of attempts takes minutes of one core, which those who book must not wait
for, and the key is read there alone. On SQLite that process is in the same pod as this one, the only place that the file can be opened.
"""

import asyncio
import os
import random
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy import Engine

from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.periods.months import month_period, read_month
from relay_ledger.periods.zones import QUARTER, SECOND, zone
from relay_ledger.settings import ReportSource, Settings
from relay_ledger.store.bills.own_use_reading import first_use
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.upkeep.endings import ends_well

FIRST_LOOK_SECONDS: Final = 1200.0
SPREAD_SECONDS: Final = 600.0
"""So that of several processes on one database one comes first, and the others find what it has found."""
LOOK_SECONDS: Final = 3600.0
LONGEST_SECONDS: Final = 3600.0
MAX_DETAIL: Final = 500
MOST_BEFORE: Final = 12
"""Months before the newest that may be due: a key that fails for longer has somebody compare the rest by hand."""
MEBIBYTE: Final = 1024 * 1024
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR
_LOWEST: Final = 19
"""Priority, as of `nice`: who books comes first."""
_COMMAND: Final = (sys.executable, "-m", "relay_ledger", "reconcile")
_REFUSAL: Final = "relay-ledger: "
"""How the command begins what it refuses. What else it writes is a traceback, which may hold anything, a key too."""
_COMPARED: Final = frozenset({0, 3})
"""Exit codes of a comparison that was made; 3 says that something is flagged."""


class ScheduledReports:
    """One per process."""

    def __init__(
        self,
        settings: Settings,
        store: ReconciliationStore,
        *,
        engine: Engine,
        desk: BookingDesk,
        metrics: LedgerMetrics,
        log: LedgerLog,
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._desk = desk
        self._metrics = metrics
        self._log = log
        self._not_before: dict[tuple[str, str], int] = {}
        """By provider and month, of what took too long."""
        self._first_use: dict[str, int] = {}
        """By provider, of those of which something is booked."""

    async def run(self) -> None:
        """Looks for what is due until it is cancelled; returns at once where no source is named."""
        if not self._settings.reports:
            return
        pause = FIRST_LOOK_SECONDS + random.uniform(0, SPREAD_SECONDS)
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_SECONDS
            await ends_well(self.look(now=time.time_ns() // 1000), self._log)

    async def look(self, *, now: int) -> None:
        """Compares each provider that was not compared for long enough, one after the other; raises DatabaseAway.

        What fails is told and tried again with the next look; what took too long, after report_hours.
        """
        again = self._settings.report_hours * HOUR
        for source in self._settings.reports:
            made = await self._desk.in_thread(partial(self._store.made, source.provider))
            since = await self._since(source.provider, made, now)
            settle_hours = source.settle_hours
            for period in due(made, now, settle_hours=settle_hours, again=again, since=since):
                if now >= self._not_before.get((source.provider, period), 0):
                    await self._compare(source, period, now)

    async def _since(self, provider: str, made: Mapping[int, int], now: int) -> int:
        """Returns since when there is something to compare: what is booked, or what somebody has compared, of months that are kept."""
        kept = now - self._settings.kept_days * DAY
        first = self._first_use.get(provider)
        if first is None:
            first = await self._desk.in_thread(
                partial(first_use, self._engine, provider, since=kept // QUARTER * QUARTER)
            )
            if first is not None:
                self._first_use[provider] = first
        return max(min([now if first is None else first, *made]), kept)

    async def _compare(self, source: ReportSource, period: str, now: int) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                *arguments(source, period),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            # no room for one more process, above all: others may find some
            self._failed(source, period, f"it did not start: {error.strerror}")
            return
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST)
            # what it takes beyond that would end the whole container, and who books with it
            most = self._settings.report_mebibytes * MEBIBYTE
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                _, said = await process.communicate()
        except TimeoutError:
            said = f"{_REFUSAL}it took too long".encode()
            again = self._settings.report_hours * HOUR
            self._not_before = {(source.provider, period): now + again} | {
                one: at for one, at in self._not_before.items() if at > now
            }
        finally:
            # also where this process is to end
            with suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
        if code in _COMPARED:
            self._metrics.reconciled(source.provider, now / SECOND)
            self._log.event(
                "reconciled", provider=source.provider, period=period, flagged=code != 0
            )
            return
        self._failed(source, period, reason(said, code))

    def _failed(self, source: ReportSource, period: str, detail: str) -> None:
        self._log.event("report_failed", provider=source.provider, period=period, detail=detail)


def due(
    made: Mapping[int, int], now: int, *, settle_hours: int, again: int, since: int
) -> list[str]:
    """Returns the months to compare, by when those of a provider were compared last: made is of their starts, again in microseconds.

    That is the month of the last settled day, and each of those before, from that of since on, until it was compared as a whole: once all
    of its days were settled.
    """
    newest = read_month(month_due(now, settle_hours=settle_hours))
    months = [month_period(newest, zone("UTC"))]
    while len(months) <= MOST_BEFORE and months[0].start > since:
        months.insert(0, month_period(newest.moved(-len(months)), zone("UTC")))
    *before, last = months
    found = [one.name for one in before if made.get(one.start, 0) < one.end + settle_hours * HOUR]
    if last.start not in made or now - made[last.start] >= again:
        found.append(last.name)
    return found


def month_due(now: int, *, settle_hours: int) -> str:
    """Returns the month of the last day that is settled: the one before, until the first day of this one is."""
    settled = now - settle_hours * HOUR - DAY
    return f"{datetime.fromtimestamp(settled // SECOND, UTC):%Y-%m}"


def reason(said: bytes, code: int) -> str:
    """Returns why the command ended with a code, from what it wrote: its refusals alone, at most MAX_DETAIL characters."""
    lines = said.decode(errors="replace").splitlines()
    refusals = [line.removeprefix(_REFUSAL) for line in lines if line.startswith(_REFUSAL)]
    return "; ".join(refusals)[-MAX_DETAIL:] or f"it ended with code {code}"


def arguments(source: ReportSource, period: str) -> list[str]:
    """Returns the arguments of the command for a source and a month."""
    base = [f"--api-base={source.base}"] if source.base else []
    return [
        f"--period={period}",
        f"--dialect={source.dialect}",
        f"--api-key-file={source.key_file}",
        f"--settle-hours={source.settle_hours}",
        *base,
        *(f"--own-key={key}" for key in source.own_keys),
        *(f"--project={project}" for project in source.projects),
        "--",
        source.provider,
    ]
