"""The process that delivers: forked from the supervisor, it lives as long as that does, and ends when all is delivered."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from pathlib import Path
from typing import Final

from relay.accounting.logs import Log
from relay.accounting.metric_report import Report
from relay.outbox.outbox_reader import OutboxReader
from relay.outbox.segment_files import UNFINISHED_SECONDS, remove_unfinished
from relay.outbox.tool_call_reader import ToolCallReader
from relay.outbox.tool_call_writer import (
    DIRECTORY as TOOL_CALLS_DIRECTORY,
)
from relay.process.allocator import give_back_freed_memory
from relay.process.shipping.delivery import LedgerClient
from relay.process.shipping.shipper import Shipper
from relay.process.shipping.shippers import Shippers
from relay.process.worker_channel import Message, WorkerChannel
from relay.settings import MIB, Settings
from relay_contract.billing.delivery import ATTEMPTS_PATH, TOOL_CALLS_PATH
from relay_contract.log_lines.library_log import take_over_library_logs

PROCESS_NAME: Final = "relay-shipper"
REPORT_SECONDS: Final = 1.0
GC_THRESHOLD: Final = 50_000


def run_shipper(settings: Settings, control: socket.socket) -> int:
    """Delivers in this fresh process until it is told to finish, or the supervisor is gone; returns the exit code."""
    # the supervisor decides when it ends: the workers' last records come after a signal to the group
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        # the name in a list of processes
        Path("/proc/self/comm").write_text(PROCESS_NAME)
    give_back_freed_memory()
    # as in a worker: records make no cycles
    gc.set_threshold(GC_THRESHOLD)
    asyncio.run(_life(settings, control))
    return os.EX_OK


async def _life(settings: Settings, control: socket.socket) -> None:
    assert settings.ledger_url is not None
    assert settings.ledger_token_file is not None
    log = Log(level=settings.log_level, pod=settings.pod_name, process="shipper")
    take_over_library_logs(log.repeated)
    address, token_file = settings.ledger_url, settings.ledger_token_file
    directory = settings.outbox_directory
    calls_directory = directory / TOOL_CALLS_DIRECTORY
    with contextlib.suppress(OSError):
        # reading says why there is none
        calls_directory.mkdir(exist_ok=True)
    reader = OutboxReader(directory, settings.tenant_uid)
    calls_reader = ToolCallReader(calls_directory, settings.tenant_uid)
    gone = asyncio.Event()
    async with (
        LedgerClient(address, ATTEMPTS_PATH, token_file) as ledger,
        LedgerClient(address, TOOL_CALLS_PATH, token_file) as calls_ledger,
    ):
        shippers = Shippers(
            attempts=Shipper(
                reader, ledger, log.event, calm_bytes=settings.outbox_mebibytes * MIB // 4
            ),
            tool_calls=Shipper(
                calls_reader,
                calls_ledger,
                log.event,
                calm_bytes=settings.tool_call_mebibytes * MIB // 4,
            ),
        )

        def received(message: Message) -> None:
            if message["kind"] == "finish":
                shippers.finish(message["seconds"])

        channel = WorkerChannel(received, gone.set)
        await asyncio.get_running_loop().create_connection(lambda: channel, sock=control)
        tidying = asyncio.create_task(_tidy(directory, calls_directory))
        reporting = asyncio.create_task(_report(shippers, channel, log))
        running = asyncio.create_task(shippers.run())
        waiting = asyncio.create_task(gone.wait())
        tasks = (running, waiting, reporting, tidying)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        channel.send("metrics", report=shippers.report())
        channel.close()
    for problem in ended:
        if isinstance(problem, Exception):
            raise problem
    shippers.close()
    reader.close()
    calls_reader.close()


async def _report(shippers: Shippers, channel: WorkerChannel, log: Log) -> None:
    """Tells the supervisor the counts whenever they have changed, and the log how often what was said."""
    told: Report = {}
    while True:
        log.tick(time.monotonic())
        report = shippers.report()
        if report != told:
            told = report
            channel.send("metrics", report=report)
        await asyncio.sleep(REPORT_SECONDS)


async def _tidy(*directories: Path) -> None:
    """Takes away what workers that were killed have left, so that it takes no room from the others."""
    while True:
        for directory in directories:
            # reading says why a directory cannot be read
            with contextlib.suppress(OSError):
                remove_unfinished(directory, older_than=time.time() - UNFINISHED_SECONDS)
        await asyncio.sleep(UNFINISHED_SECONDS)
