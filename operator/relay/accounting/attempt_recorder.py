"""Where attempts are counted: metrics, SLO counters, breakers, what calls usually use, and the usage log."""

from collections.abc import Iterable
from typing import Final

from relay.accounting.logs import WorkerLog
from relay.accounting.metric_catalogue import Labels
from relay.accounting.metrics import Report, TokenCounts, WorkerMetrics
from relay.accounting.token_estimates import TokenEstimator
from relay.accounting.usage_event import Subject, UsageEvent
from relay.calls.attempt import FAILURES, Attempt
from relay.calls.call import Call
from relay.dialect.endpoints import RESPONSES
from relay.dialect.reported_usage import Tokens
from relay.routing.breaker import BreakerState, CanaryBreaker
from relay.routing.routes import Leg
from relay.routing.sessions import ResponseOwners
from relay.routing.snapshot import RoutePlan

RESPONSE_OWNERS: Final = 10_000
"""Stored responses whose creator is remembered: a few MB at most."""


class AttemptRecorder:
    """One per worker; outlives every document."""

    def __init__(self, metrics: WorkerMetrics, log: WorkerLog) -> None:
        self.metrics = metrics
        self.log = log
        self.breakers: dict[tuple[str, str], CanaryBreaker] = {}
        self.estimator = TokenEstimator()
        self.owners = ResponseOwners(RESPONSE_OWNERS)
        self.tripped: list[tuple[str, str]] = []
        self._keyless: set[str] = set()

    def install(self, plans: Iterable[RoutePlan]) -> None:
        """The canaries of these routes have a breaker; one that stood before keeps its state."""
        breakers: dict[tuple[str, str], CanaryBreaker] = {}
        for plan in plans:
            if plan.canary is None:
                continue
            name = (plan.name, plan.canary.fingerprint)
            breaker = breakers[name] = self.breakers.get(name) or CanaryBreaker(plan.breaker)
            breaker.reconfigure(plan.breaker)
        self.breakers = breakers

    def admits_canary(self, route: str, fingerprint: str, now: float) -> bool:
        """Whether a call may go to the canary; after the breaker's open time it is the probe."""
        breaker = self.breakers.get((route, fingerprint))
        return breaker is None or breaker.admits(now)

    def trip(self, route: str, fingerprint: str, now: float) -> None:
        """Another worker of this pod tripped."""
        breaker = self.breakers.get((route, fingerprint))
        if breaker is not None:
            breaker.follow(now)

    def key_read(self, name: str) -> None:
        """The key file holds another key; that it is missing is news again."""
        self._keyless.discard(name)
        self.log.event("info", "upstream_key_read", key_file=name)

    def subject(self, attempt: Attempt) -> Subject:
        """What the attempt is booked on; the attempt's probe is set if it is one."""
        order, leg = attempt.order, attempt.leg
        subject = leg.subjects.get((order.endpoint, order.key_name))
        if subject is None:
            subject = self._new_subject(order, leg)
        if subject.side == "canary":
            breaker = self.breakers.get((subject.route, subject.fingerprint))
            attempt.probe = breaker is not None and breaker.state is BreakerState.half_open
        return subject

    def _new_subject(self, order: Call, leg: Leg) -> Subject:
        destination, route = leg.destination, order.plan.name
        label, provider = destination.label, destination.upstream.name
        subject = Subject(
            endpoint=order.endpoint,
            key=order.key_name,
            route=route,
            side=label,
            fingerprint=destination.fingerprint,
            provider=provider,
            model=order.body.model,
            upstream_model=leg.model,
            series=self.metrics.attempts(route, label, provider, order.model_label),
            slo=self.metrics.side(route, label, destination.fingerprint),
        )
        leg.subjects[order.endpoint, order.key_name] = subject
        return subject

    def overdue(self, attempt: Attempt, now: float) -> None:
        """An attempt still under way is slow from the moment its objective has passed.

        Were it only counted at its end, a provider that takes calls and says nothing would look healthy for minutes.
        """
        if attempt.settled or not attempt.sent_at:
            return
        waited = now - attempt.started_at
        counters = attempt.subject.slo
        for signal, limit in attempt.order.plan.objectives.items():
            under_way = signal == "Total" or (signal == "FirstToken" and not attempt.first_token_at)
            if under_way and waited > limit and signal not in attempt.overdue:
                attempt.overdue += (signal,)
                counters.timed[signal] += 1
                counters.slow[signal] += 1

    def ended(self, attempt: Attempt, event: UsageEvent) -> None:
        """Everything that is counted once per attempt."""
        subject, outcome = event.subject, event.outcome
        outcomes = subject.series.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "no_key":
            self._note_missing_key(attempt, subject)
            return
        counters = subject.slo
        counters.finished += 1
        failed = outcome in FAILURES
        if failed:
            counters.failed += 1
            # an answer that fell silent after its head has ended early too
            silent = outcome == "timeout" and attempt.first_byte_at > 0
            counters.truncated += silent or outcome == "truncated"
        elif outcome == "throttled":
            counters.throttled += 1
        self._note_times(attempt, event)
        tokens = event.tokens
        if tokens is not None:
            self._note_tokens(attempt, event, tokens)
        if attempt.hold is not None:
            total = tokens.input + tokens.output if tokens is not None else 0
            attempt.hold.settle(total, now=attempt.ended_at)
        if subject.side == "canary":
            self._note_breaker(attempt, event, failed=failed)
        if event.response_id is not None and subject.endpoint is RESPONSES:
            self.owners.created(event.response_id, subject.fingerprint)
        self.log.record(event)

    def _note_missing_key(self, attempt: Attempt, subject: Subject) -> None:
        if attempt.hold is not None:
            attempt.hold.settle(0, now=attempt.ended_at)
        breaker = self.breakers.get((subject.route, subject.fingerprint))
        if breaker is not None:
            breaker.cancelled(probe=attempt.probe)
        key_file = attempt.destination.upstream.key_file or ""
        if key_file not in self._keyless:
            self._keyless.add(key_file)
            self.log.event("warning", "upstream_key_missing", provider=subject.provider)

    def _note_times(self, attempt: Attempt, event: UsageEvent) -> None:
        """Signals of answers that came: a failed attempt's time says how it failed, not how fast the side is."""
        first_token = event.first_token_seconds
        if first_token is None or attempt.status >= 400:
            return
        subject = event.subject
        counters = subject.slo
        subject.series.first_token.observe(first_token)
        self.metrics.overhead.observe(attempt.overhead_seconds)
        counters.overhead_seconds += attempt.overhead_seconds
        for signal, limit in attempt.order.plan.objectives.items():
            if signal in attempt.overdue:
                continue
            seconds = _signal_seconds(signal, attempt, event)
            if seconds is not None:
                counters.timed[signal] += 1
                counters.slow[signal] += seconds > limit

    def _note_tokens(self, attempt: Attempt, event: UsageEvent, tokens: Tokens) -> None:
        subject, order = event.subject, attempt.order
        _add_tokens(subject.slo.tokens, tokens)
        _add_tokens(subject.series.tokens, tokens)
        if event.estimated:
            self.metrics.estimated[subject.route, subject.side] += 1
        else:
            self.estimator.learn(order.model_label, body_bytes=len(order.body.raw), tokens=tokens)

    def _note_breaker(self, attempt: Attempt, event: UsageEvent, *, failed: bool) -> None:
        name = (event.subject.route, event.subject.fingerprint)
        breaker = self.breakers.get(name)
        if breaker is None:
            return
        if event.outcome == "cancelled":
            breaker.cancelled(probe=attempt.probe)
        elif breaker.finished(failed=failed, probe=attempt.probe, now=attempt.ended_at):
            self.tripped.append(name)
            self.log.event("warning", "breaker_opened", route=name[0], fingerprint=name[1])

    def report(self, report: Report) -> None:
        """The breakers' series are added to the report."""
        report["relay_slo_breaker_open"] = [
            (name, int(breaker.state is not BreakerState.closed))
            for name, breaker in self.breakers.items()
        ]
        report["relay_slo_breaker_trips_total"] = [
            (name, breaker.trips) for name, breaker in self.breakers.items()
        ]


def sides(plans: Iterable[RoutePlan]) -> Iterable[Labels]:
    """The sides whose SLO series are exported, from 0, before any call."""
    for plan in plans:
        yield (plan.name, "stable", plan.stable.fingerprint)
        if plan.canary is not None:
            yield (plan.name, "canary", plan.canary.fingerprint)
            if plan.shadow_percent:
                yield (plan.name, "shadow", plan.canary.fingerprint)


def _add_tokens(counts: TokenCounts, tokens: Tokens) -> None:
    counts.input += tokens.input
    counts.output += tokens.output
    counts.cached += tokens.cached
    counts.reasoning += tokens.reasoning


def _signal_seconds(signal: str, attempt: Attempt, event: UsageEvent) -> float | None:
    if signal == "Overhead":
        return attempt.overhead_seconds
    if signal == "FirstToken":
        return event.first_token_seconds
    return event.latency_seconds if event.outcome == "ok" else None
