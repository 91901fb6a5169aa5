"""The delivering process as the supervisor sees it: started, started again after a crash, and told to finish."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from typing import Final

from relay.accounting.logs import Log
from relay.accounting.metric_report import Report, merge, received, without_gauges
from relay.process.forking import become_worker
from relay.process.shipping.shipping_process import run_shipper
from relay.process.worker_channel import Message, WorkerChannel
from relay.settings import Settings

RESTART_SECONDS: Final = 1.0
FINAL_RESTART_SECONDS: Final = 0.2
"""The same while the pod ends."""
HEAR_SECONDS: Final = 0.5
"""For what a process that has ended told before; it is in the socket already."""


class Shipping:
    """One per pod; does nothing without a ledger. report is what the process told last, of all its lives."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._pid = 0
        self._channel: WorkerChannel | None = None
        # a time of the loop
        self._finish_until: float | None = None
        self._gone = asyncio.Event()
        self._heard = asyncio.Event()
        self._retired: Report = {}
        self._report: Report = {}
        self._connecting: asyncio.Task[None] | None = None

    @property
    def reports(self) -> list[Report]:
        """Returns the counts of the process, and of those before it."""
        return [self._retired, self._report]

    def start(self) -> None:
        """Starts the process, if there is a ledger and none runs; when the time to finish is over, there will be none."""
        if self._settings.ledger_url is None or self._pid:
            return
        if self._finish_until is not None and self._finish_until <= self._loop.time():
            self._gone.set()
            return
        ours, theirs = socket.socketpair()
        # as for workers: what is in memory stays shared
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            ours.close()
            become_worker(
                lambda: run_shipper(self._settings, theirs), keep={0, 1, 2, theirs.fileno()}
            )
        gc.unfreeze()
        theirs.close()
        self._pid = pid
        self._connecting = self._loop.create_task(self._connect(ours))

    def reap(self) -> None:
        """Starts the process again if it has ended."""
        if not self._pid:
            return
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        finish_until = self._finish_until
        if finish_until is not None and (code == os.EX_OK or finish_until <= self._loop.time()):
            # what it has told last is what it leaves
            self._gone.set()
            return
        self._channel = None
        merged = merge([self._retired, without_gauges(self._report)])
        self._retired = {name: list(series.items()) for name, series in merged.items()}
        self._report = {}
        # the little time that is left is for delivering
        pause = RESTART_SECONDS if finish_until is None else FINAL_RESTART_SECONDS
        self._log.event("error", "shipper_ended", code=code, again_in=pause)
        self._loop.call_later(pause, self.start)

    async def finish(self, seconds: float) -> None:
        """Lets the process deliver what is left, and ends it; takes that time at the most. One that crashes is started again."""
        if not self._pid:
            # it has just crashed, and there is no time to wait until it is due
            self.start()
        if not self._pid:
            return
        self._finish_until = self._loop.time() + seconds
        if self._channel is not None:
            self._channel.send("finish", seconds=seconds)
        try:
            async with asyncio.timeout(seconds + 0.5):
                await self._gone.wait()
        except TimeoutError:
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
                await self._gone.wait()
        await self._hear_out()
        left = merge(self.reports)
        records, unread = (
            sum(left.get(name, {}).values())
            for name in ("relay_outbox_records_waiting", "relay_outbox_unread_bytes")
        )
        # what the ledger does not have goes with the volume, if the pod does
        level = "error" if records or unread else "info"
        self._log.event(level, "outbox_left", records=records, unread_bytes=unread)

    async def _hear_out(self) -> None:
        """Waits until everything is read that the process has told."""
        if self._channel is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEAR_SECONDS):
                    await self._heard.wait()

    async def _connect(self, control: socket.socket) -> None:
        self._heard.clear()
        channel = WorkerChannel(self._received, self._heard.set)
        await self._loop.create_connection(lambda: channel, sock=control)
        self._channel = channel
        if self._finish_until is not None:
            channel.send("finish", seconds=max(0.0, self._finish_until - self._loop.time()))

    def _received(self, message: Message) -> None:
        if message["kind"] == "metrics":
            self._report = received(message["report"])
