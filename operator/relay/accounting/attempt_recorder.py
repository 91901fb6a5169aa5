"""Counts the attempts of one tenant: metrics, SLO counters, what calls usually use, the usage log, and the ledger's records."""

from collections.abc import Iterable
from typing import Final

from relay.accounting.logs import WorkerLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.slo_counters import SideCounters, SideName, SloCounters
from relay.accounting.token_estimates import TokenEstimator
from relay.accounting.token_rates import ModelRates
from relay.accounting.usage_event import FAILURES, Subject, UsageEvent
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.outbox.attempt_closing import Closing
from relay.outbox.attempt_names import AttemptNames
from relay.outbox.attempt_writer import AttemptWriter
from relay.routing.routes import Target
from relay.routing.snapshot import RoutePlan

REMEMBERED_SUBJECTS: Final = 4096
"""A target that routing does not remember comes once and never again, so the memory needs a bound."""
REMEMBERED_RATES: Final = 1024
"""Outlive a document, since a model that it still names is the same; those of models that none names any more have to go some day."""


class AttemptRecorder:
    """One per tenant and worker; outlives every document. metrics, log and records are the worker's; without a ledger there
    are no records, as keeps_records says."""

    __slots__ = (
        "_log",
        "_metrics",
        "_rates",
        "_records",
        "_subjects",
        "_tenant",
        "_tenant_uid",
        "estimator",
        "keeps_records",
        "slo",
    )

    def __init__(
        self,
        *,
        tenant: str,
        tenant_uid: str,
        metrics: WorkerMetrics,
        log: WorkerLog,
        records: AttemptWriter | None = None,
    ) -> None:
        self._tenant = tenant
        self._tenant_uid = tenant_uid
        self._metrics = metrics
        self._log = log
        self._records = records
        self.keeps_records = records is not None
        self._subjects: dict[tuple[Target, Endpoint, str, str], Subject] = {}
        self._rates: dict[tuple[str, str, Endpoint], ModelRates] = {}
        self.estimator = TokenEstimator()
        self.slo = SloCounters(tenant_uid)

    def forget_subjects(self) -> None:
        """Lets the targets of a former document go."""
        self._subjects = {}

    def subject(
        self,
        target: Target,
        plan: RoutePlan,
        *,
        endpoint: Endpoint,
        key: str,
        model: str,
        model_label: str,
        manifest_revision: str = "",
    ) -> Subject:
        """Returns the subject of a call's attempts at this target, which the call's route names."""
        # a call that began before the document in force may be held to another manifest
        name = (target, endpoint, key, manifest_revision)
        subject = self._subjects.get(name)
        if subject is None:
            if len(self._subjects) >= REMEMBERED_SUBJECTS:
                self._subjects = {}
            subject = self._subjects[name] = self._new_subject(
                target,
                plan,
                endpoint=endpoint,
                key=key,
                model=model,
                model_label=model_label,
                manifest_revision=manifest_revision,
            )
        return subject

    def _new_subject(
        self,
        target: Target,
        plan: RoutePlan,
        *,
        endpoint: Endpoint,
        key: str,
        model: str,
        model_label: str,
        manifest_revision: str,
    ) -> Subject:
        side, fingerprint = target.destination.label, target.destination.fingerprint
        return Subject(
            tenant=self._tenant,
            tenant_uid=self._tenant_uid,
            endpoint=endpoint,
            key=key,
            route=plan.name,
            side=side,
            fingerprint=fingerprint,
            provider=target.provider,
            model=model,
            model_label=model_label,
            upstream_model=target.model,
            objectives=plan.objectives,
            series=self._metrics.attempts(plan.name, side, target.provider, model_label),
            slo=self.slo.side(plan.name, side, fingerprint),
            # of a model that no document names the caller chooses the name
            rates=self._rates_of(
                target.provider, target.model if model == model_label else model_label, endpoint
            ),
            manifest_revision=manifest_revision,
        )

    def _rates_of(self, provider: str, upstream_model: str, endpoint: Endpoint) -> ModelRates:
        name = (provider, upstream_model, endpoint)
        rates = self._rates.get(name)
        if rates is None:
            if len(self._rates) >= REMEMBERED_RATES:
                self._rates = {}
            rates = self._rates[name] = ModelRates()
        return rates

    def opened(
        self,
        subject: Subject,
        *,
        attempt: int,
        stream: bool,
        call_id: str,
        request_id: str,
        expected: tuple[int, int],
    ) -> bytes:
        """Records for the ledger that an attempt is about to be sent; returns what its end refers to, empty without a ledger."""
        records = self._records
        if records is None:
            return b""
        names = subject.record_names
        if names is None:
            names = subject.record_names = _record_names(records, subject)
        return records.open_attempt(
            names,
            attempt=attempt,
            stream=stream,
            call_id=call_id,
            request_id=request_id,
            expected=expected,
        )

    def closed(self, subject: Subject, opening: bytes, closing: Closing) -> None:
        """Records for the ledger how an attempt has ended."""
        records, names = self._records, subject.record_names
        if records is not None and names is not None:
            records.close_attempt(names, opening, closing)

    def closed_with_report(
        self,
        subject: Subject,
        opening: bytes,
        *,
        seconds: float,
        status: int,
        delivered: bool,
        report: bytes,
        upstream_request_id: str | None,
    ) -> None:
        """Records for the ledger that an attempt has ended well, whose answer reported all that is booked."""
        records, names = self._records, subject.record_names
        if records is not None and names is not None:
            records.close_with_report(
                names,
                opening,
                seconds=seconds,
                status=status,
                delivered=delivered,
                report=report,
                upstream_request_id=upstream_request_id,
            )

    def started(self, subject: Subject) -> None:
        """Counts an attempt that is sent."""
        subject.slo.started += 1

    def slow(self, subject: Subject, signal: str) -> None:
        """Counts an attempt as slow that is still under way: its objective has passed.

        Were it only counted at its end, a provider that takes calls and does not answer would look healthy for minutes.
        """
        subject.slo.timed[signal] += 1
        subject.slo.slow[signal] += 1

    def left(self, event: UsageEvent) -> None:
        """Counts for its side an attempt that is read on for a caller who has left, as if it had ended with that."""
        _count_outcome(event.subject.slo, event)
        self._count_times(event)
        if event.tokens is not None:
            _count_reported(event.subject.slo, event.tokens)

    def record(self, event: UsageEvent) -> None:
        """Counts an attempt that has ended and writes its usage line.

        An attempt that was never sent for want of a key counts against no side: it is the platform's own lack.
        """
        subject, outcome = event.subject, event.outcome
        outcomes = subject.series.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "no_key":
            return
        if not event.was_left:
            _count_outcome(subject.slo, event)
            self._count_times(event)
        if event.unreadable:
            self._metrics.unreadable[subject.route, subject.side] += 1
        tokens = event.tokens
        if tokens is not None:
            self._count_tokens(event, tokens)
        self._log.record(event)

    def _count_times(self, event: UsageEvent) -> None:
        """Counts the signals of an answer that came: a failed attempt's time says how it failed, not how fast the side is."""
        first_token, status = event.first_token_seconds, event.status
        if first_token is None or status is None or status >= 400:
            return
        subject = event.subject
        counters = subject.slo
        subject.series.first_token.observe(first_token)
        if subject.is_served:
            # nobody waited for the relay where there is no caller
            self._metrics.overhead.observe(event.overhead_seconds)
        counters.overhead_seconds += event.overhead_seconds
        counted = event.counted_slow
        for signal, limit in subject.signals:
            if counted and signal in counted:
                continue
            seconds = _signal_seconds(signal, event)
            if seconds is not None:
                counters.timed[signal] += 1
                if seconds > limit:
                    counters.slow[signal] += 1

    def _count_tokens(self, event: UsageEvent, tokens: Tokens) -> None:
        subject = event.subject
        subject.series.tokens.add(tokens)
        if event.estimated:
            self._metrics.estimated[subject.route, subject.side] += 1
        else:
            # an estimate is the relay's own: it says nothing of the side
            if not event.was_left:
                _count_reported(subject.slo, tokens)
            if subject.is_served:
                # what copies and probes use says nothing of the calls that limits hold tokens for
                self.estimator.learn(subject.model_label, event.estimate, tokens)


def _record_names(records: AttemptWriter, subject: Subject) -> AttemptNames:
    return records.names(
        {
            "tenant": subject.tenant,
            "side": subject.side,
            "route": subject.route,
            "keyName": subject.key,
            "provider": subject.provider,
            "endpoint": subject.endpoint.value,
            "requestedModel": subject.model,
            "routedModel": subject.upstream_model,
            **(
                {"manifestRevision": subject.manifest_revision} if subject.manifest_revision else {}
            ),
        }
    )


def sides(plans: Iterable[RoutePlan]) -> list[SideName]:
    """Returns the sides whose SLO series are exported, from 0, before any call: those of routes with a canary.

    Nobody judges the others, and the scrapes are short.
    """
    names: list[SideName] = []
    for plan in plans:
        if plan.canary is None:
            continue
        names.append((plan.name, "stable", plan.stable.fingerprint))
        names.append((plan.name, "canary", plan.canary.fingerprint))
        if plan.shadow_percent:
            names.append((plan.name, "shadow", plan.canary.fingerprint))
    return names


def _count_outcome(counters: SideCounters, event: UsageEvent) -> None:
    outcome = event.outcome
    if outcome == "cancelled":
        counters.cancelled += 1
        return
    counters.finished += 1
    if outcome in FAILURES:
        counters.failed += 1
        # an answer that fell silent after its head has ended early too
        silent = outcome == "timeout" and event.first_byte_seconds > 0
        counters.truncated += silent or outcome == "truncated"
    elif outcome == "throttled":
        counters.throttled += 1
    elif outcome == "client_error":
        counters.refused += 1


def _count_reported(counters: SideCounters, tokens: Tokens) -> None:
    counters.reported += 1
    counters.tokens.add(tokens)


def _signal_seconds(signal: str, event: UsageEvent) -> float | None:
    if signal == "Overhead":
        return event.overhead_seconds
    if signal == "FirstToken":
        return event.first_token_seconds
    return event.latency_seconds - event.paused_seconds if event.outcome == "ok" else None
