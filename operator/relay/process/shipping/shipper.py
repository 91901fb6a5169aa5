"""Takes records out of the outbox and brings them to the ledger, as often as it takes until the ledger has them."""

import asyncio
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from relay.accounting.metric_report import Report
from relay.outbox.outbox_reader import OutboxReader, Parcel
from relay.process.shipping.delivery import Answer, Ledger
from relay_contract.billing.delivery import MAX_BATCH_BYTES, MAX_BATCH_LINES
from relay_contract.log_lines.repeated_lines import RepeatedLines

READ_SECONDS: Final = 0.5
"""Between looks at the outbox; what an attempt takes to reach the ledger, at the usual times."""
SYNC_SECONDS: Final = 1.0
READ_AHEAD: Final = 2 * MAX_BATCH_LINES
"""Lines in memory; the others wait in their files."""
PAUSES: Final = (0.5, 30.0)
"""First and longest pause after a batch that was not taken, in seconds; doubled each time, and shortened at random."""
FINAL_PAUSE: Final = 0.5
"""The longest while the process is about to end."""
_MAX_PROBLEMS: Final = 5

Event = Callable[..., None]
"""Writes a log line: level, event, fields."""


class Shipper:
    """One per pod. Nothing is taken out of the outbox but by an answer of the ledger that it has it.

    Making lines is work for the processor, which calls have first: it is done by a thread of the lowest priority, until
    more than calm_bytes wait.
    """

    def __init__(
        self, reader: OutboxReader, ledger: Ledger, log: Event, *, calm_bytes: int
    ) -> None:
        self._reader = reader
        self._calm_bytes = calm_bytes
        self._background = ThreadPoolExecutor(1, "reader", initializer=_yield_to_calls)
        self._ledger = ledger
        self._log = log
        self._repeated = RepeatedLines(lambda level, event, told: log(level, event, **told))
        self._waiting: deque[Parcel] = deque()
        self._most_lines = MAX_BATCH_LINES
        self._failures = 0
        self._shipped = self._quarantined = 0
        self._answers: Counter[str] = Counter()
        self._finish_until: float | None = None
        self._woken = asyncio.Event()
        self._synced_at = 0.0
        self._synced_figures: dict[str, int] = {}
        # taken after each read, since the thread may be reading when they are asked for
        self._read_figures = _figures(reader)

    def finish(self, seconds: float) -> None:
        """Ends `run` as soon as everything is delivered, and after that time at the latest: nothing more is written."""
        self._finish_until = time.monotonic() + seconds
        self._woken.set()

    async def run(self) -> None:
        """Delivers until finished."""
        while True:
            await self._read_in_turn()
            pause = READ_SECONDS
            if self._waiting:
                pause = await self._deliver()
            elif self._finish_until is not None and self._is_empty():
                return
            if self._finish_until is not None:
                if time.monotonic() >= self._finish_until:
                    return
                pause = min(pause, FINAL_PAUSE)
            await self._pause(pause)

    def report(self) -> Report:
        """Returns the counts as plain data."""
        now = time.time()
        oldest = self._waiting[0].dispatched_at / 1_000_000 if self._waiting else now
        values: dict[str, Any] = {
            **self._read_figures,
            "relay_outbox_records_shipped_total": self._shipped,
            "relay_outbox_records_quarantined_total": self._quarantined,
            "relay_outbox_records_waiting": len(self._waiting),
            "relay_outbox_oldest_seconds": round(max(0.0, now - oldest), 6),
        }
        report: Report = {name: [((), value)] for name, value in values.items()}
        report["relay_outbox_deliveries_total"] = [
            ((label,), count) for label, count in sorted(self._answers.items())
        ]
        return report

    def close(self) -> None:
        """Ends the thread."""
        self._background.shutdown()

    # -- reading ---------------------------------------------------------------------------------------------------

    async def _read_in_turn(self) -> None:
        if self._finish_until is not None or self._reader.unread_bytes > self._calm_bytes:
            self._read()
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._background, self._read)

    def _read(self) -> None:
        room = READ_AHEAD - len(self._waiting)
        if room <= 0:
            return
        try:
            self._waiting += self._reader.read(time.monotonic(), most=room)
        except OSError as error:
            self._tell("error", "outbox_unreadable", str(error))
        problems, self._reader.problems = self._reader.problems, []
        for problem in problems[:_MAX_PROBLEMS]:
            self._tell("error", "outbox_damaged", problem)
        self._read_figures = _figures(self._reader)

    def _is_empty(self) -> bool:
        """Returns whether nothing is left, also of attempts that nobody can close any more."""
        for _ in range(2):
            self._read()
        return not self._waiting

    async def _pause(self, seconds: float) -> None:
        self._repeated.tick(time.monotonic())
        # figures that stay as they are while nothing waits: nobody has written anything
        changed = self._waiting or self._read_figures != self._synced_figures
        if changed and time.monotonic() - self._synced_at >= SYNC_SECONDS:
            self._synced_at = time.monotonic()
            self._synced_figures = self._read_figures
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._background, self._reader.sync)
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
            self._woken.clear()
        except TimeoutError:
            return

    # -- delivering ------------------------------------------------------------------------------------------------

    async def _deliver(self) -> float:
        """Delivers one batch; returns how long to wait before the next."""
        batch = self._batch()
        answer = await self._ledger.deliver([parcel.line for parcel in batch])
        self._answers[answer.label] += 1
        if answer.is_taken:
            return self._taken(batch, answer)
        if answer.is_too_long and len(batch) > 1:
            self._most_lines = len(batch) // 2
            return 0.0
        self._failures += 1
        level, event = (
            ("error", "ledger_refuses") if answer.is_refused else ("warning", "ledger_away")
        )
        self._tell(level, event, f"{answer.label}: {answer.message}")
        first, longest = PAUSES
        pause = min(longest, first * 2.0 ** min(self._failures - 1, 16))
        return max(random.uniform(pause / 2, pause), min(answer.retry_after_seconds, longest))

    def _batch(self) -> list[Parcel]:
        batch: list[Parcel] = []
        size = 0
        for parcel in self._waiting:
            size += len(parcel.line) + 1
            if len(batch) == self._most_lines or (batch and size > MAX_BATCH_BYTES):
                break
            batch.append(parcel)
        return batch

    def _taken(self, batch: list[Parcel], answer: Answer) -> float:
        for parcel in batch:
            self._waiting.popleft()
            parcel.delivered()
        self._shipped += len(batch)
        self._quarantined += answer.quarantined
        if answer.quarantined:
            told = {"count": answer.quarantined}
            self._repeated.note(time.monotonic(), "error", "records_quarantined", told, by=())
        if self._failures:
            self._log("info", "ledger_back", after_failures=self._failures)
        self._failures = 0
        self._most_lines = min(MAX_BATCH_LINES, 2 * self._most_lines)
        # a full batch has more behind it
        return 0.0 if len(batch) >= self._most_lines else READ_SECONDS

    def _tell(self, level: str, event: str, message: str) -> None:
        """Logs what is wrong: once, and then how often."""
        told = {"message": message}
        self._repeated.note(time.monotonic(), level, event, told, by=("message",))


def _figures(reader: OutboxReader) -> dict[str, int]:
    return {
        "relay_outbox_attempts_opened_total": reader.opened,
        "relay_outbox_attempts_closed_total": reader.closed,
        "relay_outbox_attempts_left_open_total": reader.left_open,
        "relay_outbox_attempts_under_way": reader.under_way,
        "relay_outbox_unread_bytes": reader.unread_bytes,
        "relay_outbox_bytes": reader.kept_bytes,
        "relay_outbox_skipped_bytes_total": reader.skipped_bytes,
    }


def _yield_to_calls() -> None:
    """Gives this thread the lowest priority; on Linux each thread has its own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
