"""`relay-ledger serve`: takes records until SIGTERM, then finishes what is in hand."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import Engine, text

from relay_contract.log_lines.library_log import take_over_library_logs
from relay_ledger.ingest.booking_desk import THREADS, BookingDesk, DatabaseAway
from relay_ledger.ingest.ingest_port import IngestPort
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.ingest.lease_port import LeasePort
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.ingest.listening.listener import listening
from relay_ledger.ingest.operator_port import OperatorPort
from relay_ledger.ingest.route_costs_port import RouteCostsPort
from relay_ledger.periods.zones import SECOND
from relay_ledger.reading.reading_port import ReadingPort
from relay_ledger.reading.usage_desk import READERS, UsageDesk
from relay_ledger.settings import Settings
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.books.book_store import BookStore
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.databases import reading
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.limits.dead_letters import DeadLetters
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.route_cost_reading import RouteCostReading
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore
from relay_ledger.upkeep.audits import Audits
from relay_ledger.upkeep.final_statements import FinalStatements
from relay_ledger.upkeep.rounds import Upkeep, watch_keys
from relay_ledger.upkeep.scheduled_reports import ScheduledReports

READY_SECONDS: Final = 2.0
GC_THRESHOLD: Final = 50_000
"""New objects between looks; a batch makes some ten thousand and no cycles."""
LOG_TICK_SECONDS: Final = 1.0
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; raises DatabaseUnusable, NewerSchema."""
    log = LedgerLog()
    logging.getLogger().setLevel(settings.log_level.upper())
    take_over_library_logs(log.of_library)
    with opened(settings.database.get_secret_value(), connections=THREADS + READERS) as engine:
        _spare_collections()
        try:
            asyncio.run(_serve(settings, engine, log))
        except DatabaseAway as error:
            # at the start alone: what serves waits until it answers again
            raise (error.__cause__ or error) from None


def _spare_collections() -> None:
    """Takes what was imported out of the garbage collector's sight, and lets it look less often: it took a quarter of the time."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


async def _serve(settings: Settings, engine: Engine, log: LedgerLog) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    metrics, keys = LedgerMetrics(), KeyFile(settings.keys_file)
    ledger, prices = Ledger(engine), PriceBookStore(engine)
    # what is in force and cannot be read ends the start, and not each booking
    prices.book()
    desk = BookingDesk(
        ledger,
        ToolCallStore(engine),
        prices,
        metrics,
        log=log,
        max_batches=settings.max_batches,
    )
    reconciliations = ReconciliationStore(engine)
    upkeep = Upkeep(settings, ledger, reconciliations, desk=desk, metrics=metrics, log=log)
    statements = FinalStatements(
        settings,
        StatementStore(engine, grace=settings.grace_hours * 3600 * SECOND),
        desk=desk,
        metrics=metrics,
        log=log,
    )
    audits = Audits(settings, ledger, desk=desk, metrics=metrics, log=log)
    reports = ScheduledReports(
        settings, reconciliations, engine=engine, desk=desk, metrics=metrics, log=log
    )
    await upkeep.round()
    # no relay is turned away because it came before the first look; watch_keys tells of a problem
    keys.refresh()
    application = IngestPort(settings, keys, desk, metrics, log).application()
    usage = UsageDesk(engine, log)
    ReadingPort(usage, keys, log, body_seconds=settings.body_seconds).add_routes(application)
    budgets = BudgetStore(engine, lease_seconds=settings.lease_seconds)
    LeasePort(budgets, DeadLetters(engine), keys=keys, desk=desk, settings=settings).add_routes(
        application
    )
    RouteCostsPort(
        RouteCostReading(engine), keys, desk, body_seconds=settings.body_seconds
    ).add_routes(application)
    OperatorPort(
        keys,
        desk,
        books=BookStore(engine, prices),
        months=MonthSums(engine),
        reconciliations=reconciliations,
        log=log,
    ).add_routes(application)
    admin = _admin(engine, desk, metrics)
    async with AsyncExitStack() as stack:
        stack.callback(desk.close)
        stack.callback(usage.close)
        enter = stack.enter_async_context
        await enter(_running(_ticking(log)))
        await enter(_running(upkeep.run()))
        await enter(_running(statements.run()))
        await enter(_running(audits.run()))
        await enter(_running(reports.run()))
        await enter(_running(watch_keys(keys, settings.keys_poll_seconds, log)))
        listen = partial(listening, settings=settings, metrics=metrics, log=log)
        admin_port = await enter(listen(admin, settings.admin_host, settings.admin_port, 1.0))
        ingest_port = await enter(
            listen(
                application,
                settings.ingest_host,
                settings.ingest_port,
                settings.drain_seconds,
            )
        )
        log.event("listening", ingest_port=ingest_port, admin_port=admin_port)
        await stopping.wait()
        log.event("stopping")
    log.event("stopped")


async def _ticking(log: LedgerLog) -> None:
    while True:
        await asyncio.sleep(LOG_TICK_SECONDS)
        log.tick()


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _admin(engine: Engine, desk: BookingDesk, metrics: LedgerMetrics) -> web.Application:
    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await desk.in_thread(lambda: _ask(engine))
        except (DatabaseAway, TimeoutError):
            return web.Response(status=503, text="the database does not answer\n")
        return web.Response(text="ok\n")

    async def scraped(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    application = web.Application()
    application.router.add_get(HEALTH_PATH, healthy)
    application.router.add_get(READY_PATH, ready)
    application.router.add_get(METRICS_PATH, scraped)
    return application


def _ask(engine: Engine) -> None:
    with reading(engine) as connection:
        connection.execute(text("SELECT 1"))
