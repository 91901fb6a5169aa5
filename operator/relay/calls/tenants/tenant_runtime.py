"""Everything that belongs to one tenant in one worker."""

import random
from typing import Final

from relay.accounting.attempt_recorder import AttemptRecorder, sides
from relay.accounting.logs import WorkerLog
from relay.accounting.metric_report import Report
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.tool_call_recorder import ToolCallRecorder
from relay.accounting.usage_event import FAILURES, UsageEvent
from relay.admission.admission import Admission
from relay.budgets.purse import Purse
from relay.budgets.spender import Spender
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.tool_call_records import ToolCallRecords
from relay.routing.breaker import BreakerState
from relay.routing.router import Router
from relay.routing.routes import Target
from relay.routing.snapshot import Snapshot
from relay.tools.seats import ToolSeats

_UNTOLD: Final = ("cancelled", "no_key")
"""Ends of attempts that say nothing of their side."""


class TenantRuntime:
    """The tenant's snapshot in force, and its admission, routing and counters, which outlive every document.

    share is the part of what the tenant is granted that this worker holds.
    """

    __slots__ = (
        "_log",
        "admission",
        "recorder",
        "router",
        "snapshot",
        "spender",
        "tool_calls",
        "tool_seats",
        "uid",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        share: float,
        metrics: WorkerMetrics,
        log: WorkerLog,
        purse: Purse,
        now: float,
        records: AttemptWriter | None = None,
        tool_records: ToolCallRecords | None = None,
    ) -> None:
        tenant = snapshot.document.tenant
        self.uid = tenant.uid
        self.snapshot = snapshot
        self.admission = Admission(tenant, snapshot.quotas(), share=share, now=now)
        self.router = Router(random.random)
        self.router.install(snapshot)
        self.recorder = AttemptRecorder(
            tenant=tenant.name, tenant_uid=tenant.uid, metrics=metrics, log=log, records=records
        )
        self.tool_calls = ToolCallRecorder(
            tenant=tenant.name,
            tenant_uid=tenant.uid,
            metrics=metrics,
            log=log,
            records=tool_records,
        )
        self.tool_seats = ToolSeats()
        self.spender = Spender(purse)
        self.spender.install(tenant.spending)
        self._log = log

    def install(self, snapshot: Snapshot, *, share: float, now: float) -> None:
        """Puts the snapshot in force for every request that begins from now on."""
        self.snapshot = snapshot
        self.router.install(snapshot)
        self.recorder.forget_subjects()
        self.spender.install(snapshot.document.tenant.spending)
        self.admission.reconfigure(
            snapshot.document.tenant, snapshot.quotas(), share=share, now=now
        )

    def attempt_ended(self, event: UsageEvent, now: float) -> None:
        """Counts the attempt and lets routing learn from it."""
        self.recorder.record(event)
        if not event.was_left:
            self._learn(event, now)

    def attempt_left(self, event: UsageEvent, now: float) -> None:
        """Counts for its side, as cancelled, an attempt that is read on for a caller who has left."""
        self.recorder.left(event)
        self._learn(event, now)

    def _learn(self, event: UsageEvent, now: float) -> None:
        subject = event.subject
        if subject.side == "canary":
            self._judge_canary(event, now)
        elif subject.side == "stable" and event.outcome not in _UNTOLD:
            failed = event.outcome in FAILURES
            self.router.breakers.stable_finished(subject.route, failed=failed)

    def _judge_canary(self, event: UsageEvent, now: float) -> None:
        breakers, subject, outcome = self.router.breakers, event.subject, event.outcome
        if outcome in _UNTOLD:
            breakers.cancelled(subject.route, subject.fingerprint, probe=event.probe)
            return
        tripped = breakers.finished(
            subject.route,
            subject.fingerprint,
            failed=outcome in FAILURES,
            probe=event.probe,
            now=now,
        )
        if tripped:
            self.admission.reconsider()
            self._log.event(
                "warning",
                "breaker_opened",
                tenant_uid=subject.tenant_uid,
                route=subject.route,
                fingerprint=subject.fingerprint,
            )

    def cool_down(self, target: Target, seconds: float, now: float) -> None:
        """Passes the target over for so long, also for calls that wait for its provider's quota."""
        cool_downs = self.router.cool_downs
        was_cooling = cool_downs.is_cooling(target, now)
        cool_downs.note(target, seconds, now)
        if not was_cooling:
            self.admission.reconsider()

    def follow_trip(self, route: str, fingerprint: str, now: float) -> None:
        """Opens a canary's breaker because another worker of this pod tripped."""
        self.router.breakers.follow(route, fingerprint, now)
        self.admission.reconsider()

    def report(self, report: Report) -> None:
        """Adds the tenant's SLO series and breakers to the report."""
        self.recorder.slo.report(report, sides(self.snapshot.plans))
        for plan in self.snapshot.plans:
            if plan.canary is not None and plan.shadow_percent:
                self.recorder.slo.report_copies(report, plan.name, plan.canary.fingerprint)
        is_open = report.setdefault("relay_slo_breaker_open", [])
        trips = report.setdefault("relay_slo_breaker_trips_total", [])
        failed_probes = report.setdefault("relay_slo_breaker_failed_probes", [])
        for (route, fingerprint), breaker in self.router.breakers.states():
            labels = (self.uid, route, fingerprint)
            is_open.append((labels, int(breaker.state is not BreakerState.closed)))
            trips.append((labels, breaker.trips))
            failed_probes.append((labels, breaker.failed_probes))
