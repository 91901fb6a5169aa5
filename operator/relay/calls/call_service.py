"""Puts together what a worker needs to serve calls; documents go in here and reports come out."""

import time
from collections.abc import Callable
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.logs import WorkerLog
from relay.accounting.metric_report import Report
from relay.accounting.metrics import WorkerMetrics
from relay.budgets.purse import Purse
from relay.budgets.shared_counters import shared_counters
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.shadow import Shadows
from relay.calls.attempts.unheard_answers.drained_answers import DrainedAnswers
from relay.calls.attempts.unheard_answers.usage_waits import UsageWaits
from relay.calls.call_context import CallContext
from relay.calls.client_connections import ClientConnections
from relay.calls.connection_renewal import ConnectionRenewal
from relay.calls.exchanges import Exchanges
from relay.calls.ledger.ledger_access import LedgerAccess
from relay.calls.own_request import (
    ModelListRequest,
    ModelRequest,
    OtherMethods,
    OwnRequests,
    UnknownPathRequest,
)
from relay.calls.path_table import HandlerFactory, PathEntry, PathTable
from relay.calls.preflight.catalogue_probe import CatalogueProbe
from relay.calls.preflight.preflights import Preflights
from relay.calls.preflight.stream_probe import StreamProbe, plan_to
from relay.calls.retry_budget import RetryBudget
from relay.calls.tenants.tenant_map import TenantMap
from relay.calls.tool_use.resumption.kept_calls import KeptCalls
from relay.calls.tool_use.single_calls.call_memory import CallMemory
from relay.calls.tool_use.tool_request import ToolRequests
from relay.calls.usage_reading.usage_requests import (
    MeRequest,
    UsageAlertsRequest,
    UsageHistoryRequest,
    UsageReportRequest,
)
from relay.dialect.endpoints import (
    CALLS,
    MCP,
    MCP_LABEL,
    ME,
    MODEL,
    MODELS,
    OTHER,
    USAGE_ALERTS,
    USAGE_HISTORY,
    USAGE_REPORT,
)
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.segment_files import SEGMENT_BYTES
from relay.outbox.tool_call_records import ToolCallRecords
from relay.outbox.tool_call_writer import TOOL_SEGMENT_BYTES
from relay.routing.breaker import BreakerState
from relay.routing.snapshot import Snapshot, Upstream
from relay.settings import MIB, Settings
from relay_contract.provider_probe import ProviderProbe
from relay_contract.quota_use import QuotaLevel

_WRITES: Final = frozenset({b"POST"})
_TOOL_METHODS: Final = frozenset({b"POST", b"GET", b"DELETE"})
_READS: Final = frozenset({b"GET", b"HEAD"})


class CallService:
    """The calls of one worker."""

    def __init__(self, settings: Settings, log: WorkerLog, purse: Purse | None = None) -> None:
        self._workers = settings.workers
        self._log = log
        self._wheel = DeadlineWheel(time.monotonic())
        self.outbox = Outbox()
        self.metrics = WorkerMetrics()
        self.exceptions = ExceptionLog(log)
        self.tenants = TenantMap()
        self.records = records_of(settings, now=time.monotonic())
        self.tool_records = tool_records_of(settings)
        self._told_trouble = self._told_tool_trouble = ""
        self.purse = purse if purse is not None else Purse(shared_counters(1), 0)
        self.providers = ProviderAccess(settings, self._wheel, self.outbox, log)
        self._shadows = Shadows(
            self.providers,
            self.metrics,
            self.exceptions,
            concurrency=settings.shadow_concurrency,
            max_body_bytes=settings.shadow_max_body_bytes,
        )
        self.usage_waits = UsageWaits(self.exceptions)
        self.drained_answers = DrainedAnswers(
            self.exceptions,
            self.metrics.drained,
            most=settings.max_drained_answers // settings.workers,
        )
        self.preflights = Preflights(self.providers, self.exceptions)
        self.call_memory = CallMemory()
        self.kept_calls = KeptCalls()
        context = CallContext(
            tenants=self.tenants,
            providers=self.providers,
            shadows=self._shadows,
            budget=RetryBudget(ratio=settings.retry_ratio, burst=settings.retry_burst),
            metrics=self.metrics,
            exceptions=self.exceptions,
            needed_records=self.records if settings.outbox_when_full == "refuse" else None,
            max_body_bytes=settings.max_body_bytes,
            stream_keepalive_seconds=settings.stream_keepalive_seconds,
            usage=LedgerAccess(settings),
            usage_waits=self.usage_waits,
            drained_answers=self.drained_answers,
        )
        self.connections = ClientConnections(
            settings,
            _paths(context, self.call_memory, self.kept_calls),
            self.metrics,
            self._wheel,
            self.outbox,
            self.exceptions,
        )
        self.renewal = ConnectionRenewal(
            self.connections, patience_seconds=float(settings.drain_seconds)
        )

    def install(self, snapshot: Snapshot) -> None:
        """Puts the snapshot in force for every request that begins from now on."""
        self.renewal.install(snapshot.document.tenant, time.monotonic())
        self.tenants.install(
            snapshot,
            share=1 / (snapshot.document.tenant.replicas * self._workers),
            metrics=self.metrics,
            log=self._log,
            purse=self.purse,
            now=time.monotonic(),
            records=self.records,
            tool_records=self.tool_records,
        )
        self.providers.install(self._upstreams())
        self.preflights.install(self.tenants.all())

    def tick(self) -> None:
        """Does what is due; call it every second."""
        now = time.monotonic()
        self._log.tick(now)
        # before deadlines: a provider that is silent when nobody waits for it any more has not failed
        self.usage_waits.tick(now)
        self.drained_answers.tick(now)
        self._wheel.turn(now)
        self.providers.tend(now)
        for tenant in self.tenants.all():
            tenant.admission.tick(now)
        self.providers.refresh_keys(self._upstreams())
        self.preflights.tick(now)
        self.renewal.tick(now)
        if self.records is not None:
            self.records.tick(now)
            self._told_trouble = self._tell_room(self.records.trouble, self._told_trouble)
        if self.tool_records is not None:
            self.tool_records.tick(now)
            self._told_tool_trouble = self._tell_room(
                self.tool_records.trouble, self._told_tool_trouble
            )

    def _tell_room(self, trouble: str, told: str) -> str:
        """Logs what is wrong with an outbox, once until it changes; returns it."""
        if trouble != told:
            self._log.event(
                "error" if trouble else "info",
                "outbox_room",
                message=trouble or "there is room again",
            )
        return trouble

    def stop(self) -> None:
        """Aborts what runs for nobody: the process is about to end.

        Calls may go on until it has, so their records do as well; the process lets go of the segments by its end.
        """
        self._shadows.stop()
        self.usage_waits.stop()
        self.drained_answers.stop()
        self.preflights.stop()
        self.kept_calls.stop()

    def missing_keys(self) -> list[str]:
        """Returns the providers in the current document that have no key file. Re-reads the files first."""
        return self.providers.missing_keys(self._upstreams())

    def probe_provider(
        self, name: str, done: Callable[[ProviderProbe], None]
    ) -> CatalogueProbe | None:
        """Asks a provider of the document in force for its models; None, after telling so, where there is no such one."""
        for upstream in self._upstreams():
            if upstream.name == name and not upstream.provider.closed:
                probe = CatalogueProbe(self.providers, self.exceptions, upstream, done)
                probe.start()
                return probe
        done(ProviderProbe(provider=name, outcome="NotInUse"))
        return None

    def probe_stream(
        self, name: str, model: str, done: Callable[[ProviderProbe], None]
    ) -> StreamProbe | None:
        """Asks a model of a provider of the document in force for a stream; None, after telling so, where there is no such one."""
        for tenant in self.tenants.all():
            plan = plan_to(tenant.snapshot.plans, name)
            if plan is not None:
                probe = StreamProbe(self.providers, self.exceptions, tenant, plan, model, done)
                probe.start()
                return probe
        done(ProviderProbe(provider=name, outcome="NotInUse", streamed=True))
        return None

    def take_trips(self) -> list[tuple[str, str, str]]:
        """Hands over tenant UID, route and fingerprint of the canaries whose breakers tripped since the last call."""
        return [
            (tenant.uid, route, fingerprint)
            for tenant in self.tenants.all()
            for route, fingerprint in tenant.router.breakers.take_trips()
        ]

    def open_breakers(self) -> list[tuple[str, str, str, int]]:
        """Returns tenant UID, route, fingerprint and failed probes of each canary that calls are kept away from."""
        return [
            (tenant.uid, route, fingerprint, breaker.failed_probes)
            for tenant in self.tenants.all()
            for (route, fingerprint), breaker in tenant.router.breakers.states()
            if breaker.state is not BreakerState.closed
        ]

    def quota_use(self) -> list[tuple[str, QuotaLevel]]:
        """Returns how much of each provider's quota is used of what this worker holds; call it every second."""
        now = time.monotonic()
        return [use for tenant in self.tenants.all() for use in tenant.admission.quota_use(now)]

    def follow_trip(self, tenant_uid: str, route: str, fingerprint: str) -> None:
        """Opens a canary's breaker because another worker of this pod tripped."""
        tenant = self.tenants.tenant(tenant_uid)
        if tenant is not None:
            tenant.follow_trip(route, fingerprint, time.monotonic())

    def report(self) -> Report:
        """Returns everything countable as plain data."""
        report = self.metrics.report()
        tenants = self.tenants.all()
        self.tenants.report_uses(report, wall=time.time(), now=time.monotonic())
        for tenant in tenants:
            tenant.report(report)
        queues = [tenant.admission.queue for tenant in tenants]
        report["relay_in_flight"] = [((), sum(queue.in_flight for queue in queues))]
        report["relay_queue_depth"] = [((), sum(queue.depth for queue in queues))]
        report["relay_client_connections"] = [((), len(self.connections.open))]
        report["relay_buffered_bytes"] = [((), self.connections.buffered_bytes)]
        report["relay_log_lines_dropped_total"] = [((), self._log.dropped)]
        report["relay_upstream_connections"] = [
            ((name,), count) for name, count in self.providers.open_connections()
        ]
        if self.records is not None:
            report["relay_outbox_records_dropped_total"] = [
                (("opened",), self.records.dropped_opened),
                (("closed",), self.records.dropped_closed),
            ]
        if self.tool_records is not None:
            report.setdefault("relay_outbox_records_dropped_total", []).append(
                (("tool_call",), self.tool_records.dropped)
            )
        return report

    def _upstreams(self) -> list[Upstream]:
        return [
            upstream
            for tenant in self.tenants.all()
            for upstream in tenant.snapshot.all_upstreams()
        ]


def records_of(settings: Settings, *, now: float) -> AttemptWriter | None:
    """Makes the writer of this worker's records for the ledger; None without a ledger."""
    if settings.ledger_url is None:
        return None
    # each worker may look for room at the same moment and find the same
    spare = settings.workers - 1
    return AttemptWriter(
        settings.outbox_directory,
        relay=settings.pod_name or "relay",
        most_segments=settings.outbox_mebibytes * MIB // SEGMENT_BYTES - spare,
        now=now,
    )


def tool_records_of(settings: Settings) -> ToolCallRecords | None:
    """Makes what writes this worker's records of tool calls; None without a ledger."""
    if settings.ledger_url is None:
        return None
    return ToolCallRecords(
        settings.outbox_directory,
        relay=settings.pod_name or "relay",
        most_segments=settings.tool_call_mebibytes * MIB // TOOL_SEGMENT_BYTES,
    )


def _paths(context: CallContext, memory: CallMemory, kept: KeptCalls) -> PathTable:
    """Registers every path of the relay."""
    paths = PathTable(unknown=OwnRequests(context, UnknownPathRequest))
    for path, endpoint in CALLS.items():
        others = OtherMethods(context, endpoint=endpoint, methods=b"POST")
        paths.register(path, PathEntry(_WRITES, Exchanges(context, endpoint), others))
    paths.register(MODELS, _own(context, OwnRequests(context, ModelListRequest)))
    paths.register(ME, _own(context, OwnRequests(context, MeRequest)))
    paths.register(USAGE_REPORT, _own(context, OwnRequests(context, UsageReportRequest)))
    paths.register(USAGE_ALERTS, _own(context, OwnRequests(context, UsageAlertsRequest)))
    others = OtherMethods(context, endpoint=OTHER, methods=b"POST")
    history = OwnRequests(context, UsageHistoryRequest)
    paths.register(USAGE_HISTORY, PathEntry(_WRITES, history, others))
    others = OtherMethods(context, endpoint=MCP_LABEL, methods=b"POST, GET, DELETE")
    tools = ToolRequests(context, memory, kept)
    paths.register(MCP, PathEntry(_TOOL_METHODS, tools, others))
    paths.register_prefix(MODEL, _own(context, OwnRequests(context, ModelRequest)))
    return paths


def _own(context: CallContext, handlers: HandlerFactory) -> PathEntry:
    return PathEntry(_READS, handlers, OtherMethods(context, endpoint=OTHER, methods=b"GET, HEAD"))
