"""What the exchanges of one worker share: the snapshot in force, and everything that outlives it."""

import random
import time
from collections.abc import Iterable

from relay import answers, routing
from relay.admission import Admission, Applicant, Claim
from relay.attempt import FAILURES, Accounts, Attempt, Consumer
from relay.body import CallBody
from relay.breaker import BreakerState, CanaryBreaker
from relay.callers import Caller
from relay.credentials import Credentials
from relay.deadlines import DeadlineWheel
from relay.endpoints import CALLS, RESPONSES
from relay.estimates import Estimator
from relay.exchange import Exchange
from relay.http.downstream import ClientConnection, ClientLimits, Host
from relay.http.headers import trace_context
from relay.http.message import Request
from relay.http.pool import Origin, Pool, PoolLimits
from relay.http.resolver import Resolver
from relay.http.tls import provider_context
from relay.ids import random_id
from relay.limits import Hold
from relay.logs import WorkerLog
from relay.metrics import Labels, Report, TokenCounts, WorkerMetrics
from relay.order import Order
from relay.refused import Refused
from relay.retry import RetryBudget
from relay.routing import Leg, Routed
from relay.sessions import ResponseOwners, session_key, session_point
from relay.settings import Settings
from relay.shadow import Shadows
from relay.snapshot import Destination, RoutePlan, Snapshot, Upstream
from relay.usage import Subject, Tokens, UsageEvent

OTHER_MODEL = "other"
REMEMBERED_ROUTES = 10_000
"""Pairs of model and task; tasks are the callers' own words, so the memory needs a bound."""
RESPONSE_OWNERS = 10_000
"""Stored responses whose creator is remembered: a few MB at most."""


class Service(Accounts, Host):
    """The worker's state. Implements relay.http.downstream.Host too."""

    def __init__(self, settings: Settings, log: WorkerLog) -> None:
        now = time.monotonic()
        self.settings = settings
        self.log = log
        self.metrics = WorkerMetrics()
        self.wheel = DeadlineWheel(now)
        self.client_limits = _client_limits(settings)
        self.first_byte_timeout = settings.first_byte_timeout_seconds
        self.upstream_idle_timeout = settings.upstream_idle_timeout_seconds
        self.snapshot: Snapshot | None = None
        self.admission: Admission | None = None
        self.connections: set[ClientConnection] = set()
        self.budget = RetryBudget(ratio=settings.retry_ratio, burst=settings.retry_burst)
        self.credentials = Credentials(settings.upstream_keys_directory)
        self.shadows = Shadows(self)
        self.draining = False
        self.tripped: list[tuple[str, str]] = []
        self._resolver = Resolver(settings.dns_ttl_seconds)
        self._pools: dict[str, Pool] = {}
        self._leaving_pools: list[Pool] = []
        self._breakers: dict[tuple[str, str], CanaryBreaker] = {}
        self._owners = ResponseOwners(RESPONSE_OWNERS)
        self._estimator = Estimator()
        self._buffered = 0
        self._routed: dict[tuple[str, str | None], Routed] = {}
        self._keyless: set[str] = set()

    # -- the document ----------------------------------------------------------------------------------------------

    def install(self, snapshot: Snapshot) -> None:
        """The snapshot is in force for every request that begins from now on."""
        now = time.monotonic()
        share = 1 / (snapshot.document.replicas * self.settings.workers)
        if self.admission is None:
            self.admission = Admission(snapshot, share=share, now=now)
        else:
            self.admission.reconfigure(snapshot, share=share, now=now)
        self._pools_for(snapshot)
        self._breakers_for(snapshot.plans)
        self.refresh_keys(snapshot.upstreams.values())
        self._routed = {}
        self.snapshot = snapshot

    def _pools_for(self, snapshot: Snapshot) -> None:
        pools: dict[str, Pool] = {}
        for name, upstream in snapshot.upstreams.items():
            former = self._pools.pop(name, None)
            if former is not None and former.origin == upstream.origin:
                pools[name] = former
                continue
            if former is not None:
                self._retire(former)
            pools[name] = self._new_pool(upstream.origin)
        for pool in self._pools.values():
            self._retire(pool)
        self._pools = pools

    def _new_pool(self, origin: Origin) -> Pool:
        tls = provider_context(origin.ca_bundle) if origin.scheme == "https" else None
        return Pool(
            origin,
            limits=_pool_limits(self.settings),
            resolver=self._resolver,
            tls=tls,
            wheel=self.wheel,
        )

    def _former_pool(self, origin: Origin) -> Pool:
        """For a call whose snapshot named a provider that the one in force does not."""
        for pool in self._leaving_pools:
            if pool.origin == origin:
                return pool
        pool = self._new_pool(origin)
        self._retire(pool)
        return pool

    def _retire(self, pool: Pool) -> None:
        pool.close()
        self._leaving_pools.append(pool)

    def _breakers_for(self, plans: Iterable[RoutePlan]) -> None:
        breakers: dict[tuple[str, str], CanaryBreaker] = {}
        for plan in plans:
            if plan.canary is None:
                continue
            name = (plan.name, plan.canary.fingerprint)
            breaker = breakers[name] = self._breakers.get(name) or CanaryBreaker(plan.breaker)
            breaker.reconfigure(plan.breaker)
        self._breakers = breakers

    # -- relay.http.downstream.Host --------------------------------------------------------------------------------

    def admit_connection(self, connection: ClientConnection) -> bool:
        if len(self.connections) >= self.settings.max_connections:
            self.metrics.rejections[("connections",)] += 1
            return False
        self.connections.add(connection)
        return True

    def forget_connection(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)

    def exchange(self, connection: ClientConnection, request: Request) -> Exchange:
        return Exchange(self, connection, request)

    def reserve_body(self, size: int) -> bool:
        if self._buffered + size > self.settings.max_buffered_bytes:
            return False
        self._buffered += size
        return True

    def release_body(self, size: int) -> None:
        self._buffered -= size

    def connection_age(self) -> float:
        return self.settings.connection_age_seconds * random.uniform(0.75, 1.0)

    # -- what exchanges ask ----------------------------------------------------------------------------------------

    def order(
        self, request: Request, caller: Caller, plan: RoutePlan, body: CallBody, request_id: str
    ) -> Order:
        """The call as its attempts need it, with its place in a trace and what it will probably use."""
        trace = trace_context(request.fields.get(b"traceparent"))
        trace_id, flags = trace or (random_id(32), "00")
        known = caller.snapshot.known_models
        label = body.model if body.model in known else OTHER_MODEL
        self.budget.deposit()
        return Order(
            endpoint=CALLS[request.path],
            key_name=caller.key.name,
            plan=plan,
            body=body,
            model_label=label,
            headers=request.headers,
            heads=caller.heads,
            connection_field=request.fields.get(b"connection"),
            query=request.query,
            request_id=request_id,
            trace_id=trace_id,
            trace_flags=flags,
            input_tokens=self._estimator.input_tokens(label, len(body.raw)),
            output_tokens=self._estimator.output_tokens(label, body.output_tokens_asked()),
        )

    def routed(self, snapshot: Snapshot, model: str, task: str | None) -> Routed | None:
        """How this model is routed under the snapshot; remembered for the one in force."""
        if snapshot is not self.snapshot or model not in snapshot.known_models:
            return routing.find_route(snapshot, model, task)
        name = (model, task)
        routed = self._routed.get(name)
        if routed is None:
            routed = routing.find_route(snapshot, model, task)
            if routed is not None and len(self._routed) < REMEMBERED_ROUTES:
                self._routed[name] = routed
        return routed

    def chain(self, routed: Routed, order: Order, request: Request) -> tuple[Leg, ...]:
        """The legs this call's session tries, in order."""
        return routed.canary if self._on_canary(routed, order, request) else routed.stable

    def _on_canary(self, routed: Routed, order: Order, request: Request) -> bool:
        plan = routed.plan
        canary, percent = plan.canary, plan.canary_percent
        if canary is None or percent == 0 or not routed.canary:
            return False
        previous = order.body.document.get("previous_response_id")
        if isinstance(previous, str):
            owner = self._owners.owner(previous)
            if owner is not None:
                return owner == canary.fingerprint
        if percent == 100:
            return True
        key = session_key(order.body.document, request.fields.get(b"x-session-id"))
        point = (
            random.uniform(0, 100) if key is None else session_point(key, seed=plan.session_seed)
        )
        return routing.takes_canary(routed, point=point)

    def without_open_canary(self, order: Order, chain: tuple[Leg, ...]) -> tuple[Leg, ...]:
        """The chain, less a canary whose breaker is open."""
        first = chain[0].destination
        if first.label != "canary":
            return chain
        breaker = self._breakers.get((order.plan.name, first.fingerprint))
        if breaker is None or breaker.admits(time.monotonic()):
            return chain
        return chain[1:]

    def enter(self, applicant: Applicant, destination: Destination, now: float) -> None:
        """The call asks for a seat."""
        assert self.admission is not None
        self.admission.enter(applicant, destination, now)

    def slice_of(self, order: Order, destination: Destination) -> Hold | Refused | None:
        """A hold on the destination's slice, None where it has no limit, or why there is no room now."""
        assert self.admission is not None
        return self.admission.try_slice(order, destination)

    def leave(self, claim: Claim, now: float) -> None:
        """The call's seat is free."""
        assert self.admission is not None
        self.admission.leave(claim, now)

    def attempt(
        self,
        consumer: Consumer,
        order: Order,
        leg: Leg,
        *,
        number: int,
        hold: Hold | None,
    ) -> Attempt:
        """An attempt, not started."""
        return Attempt(self, consumer, order, leg, number=number, hold=hold)

    def me(self, caller: Caller) -> bytes:
        """The body of GET /v1/me."""
        admission = self.admission
        assert admission is not None
        return answers.me_body(
            caller.snapshot,
            key=caller.key.name,
            priority=caller.key.priority,
            share=admission.share,
            view=admission.limiter.view(model="", now=time.monotonic()),
            depth=admission.queue.depth,
            in_flight=admission.queue.in_flight,
        )

    def common_fields(
        self, request_id: str, caller: Caller | None, model: str | None, now: float
    ) -> bytes:
        """What stands on every answer: the request's id, and what is left of the tenant's limits."""
        ids = f"x-request-id: {request_id}\r\n".encode()
        if caller is None or self.admission is None:
            return ids
        view = self.admission.limiter.view(model=model or "", now=now)
        return ids + answers.rate_fields(view)

    def exchange_over(self, exchange: Exchange, now: float) -> None:
        """The call is counted."""
        request, status = exchange.request, exchange.reply.status
        endpoint = CALLS.get(request.path)
        series = self.metrics.calls(endpoint or "other", exchange.model_label)
        series.answered(status)
        series.duration.observe(now - request.received_at)

    # -- relay.attempt.Accounts ------------------------------------------------------------------------------------

    def pool(self, destination: Destination) -> Pool:
        origin = destination.upstream.origin
        pool = self._pools.get(origin.name)
        if pool is not None and (pool.origin is origin or pool.origin == origin):
            return pool
        return self._former_pool(origin)

    def auth_line(self, destination: Destination) -> bytes | None:
        line = self.credentials.line(destination.upstream)
        if line is None:
            # mounted since the last look, perhaps: asked for is read now
            self.refresh_keys([destination.upstream])
            line = self.credentials.line(destination.upstream)
        return line

    def subject(self, attempt: Attempt) -> Subject:
        order, leg = attempt.order, attempt.leg
        subject = leg.subjects.get((order.endpoint, order.key_name))
        if subject is None:
            subject = self._new_subject(order, leg)
        if subject.side == "canary":
            breaker = self._breakers.get((subject.route, subject.fingerprint))
            attempt.probe = breaker is not None and breaker.state is BreakerState.half_open
        return subject

    def _new_subject(self, order: Order, leg: Leg) -> Subject:
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

    def attempt_ended(self, attempt: Attempt, event: UsageEvent) -> None:
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
            self._owners.created(event.response_id, subject.fingerprint)
        self.log.record(event)

    def _note_missing_key(self, attempt: Attempt, subject: Subject) -> None:
        if attempt.hold is not None:
            attempt.hold.settle(0, now=attempt.ended_at)
        breaker = self._breakers.get((subject.route, subject.fingerprint))
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
            self._estimator.learn(order.model_label, body_bytes=len(order.body.raw), tokens=tokens)

    def _note_breaker(self, attempt: Attempt, event: UsageEvent, *, failed: bool) -> None:
        name = (event.subject.route, event.subject.fingerprint)
        breaker = self._breakers.get(name)
        if breaker is None:
            return
        if event.outcome == "cancelled":
            breaker.cancelled(probe=attempt.probe)
        elif breaker.finished(failed=failed, probe=attempt.probe, now=attempt.ended_at):
            self.tripped.append(name)
            self.log.event("warning", "breaker_opened", route=name[0], fingerprint=name[1])

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Meant to be called every second."""
        now = time.monotonic()
        self.wheel.turn(now)
        for pool in self._pools.values():
            pool.tend(now)
        self._leaving_pools = [pool for pool in self._leaving_pools if not pool.closed]
        if self.admission is not None:
            self.admission.tick(now)
        if self.snapshot is not None:
            self.refresh_keys(self.snapshot.upstreams.values())

    def refresh_keys(self, upstreams: Iterable[Upstream]) -> None:
        """The upstreams' keys are those of their files as they are now."""
        for name in self.credentials.refresh(upstreams):
            self._keyless.discard(name)
            self.log.event("info", "upstream_key_read", key_file=name)

    def missing_keys(self) -> list[str]:
        """The providers of the snapshot in force that cannot be called for want of a key, after another look."""
        if self.snapshot is None:
            return []
        upstreams = self.snapshot.upstreams.values()
        self.refresh_keys(upstreams)
        return [u.name for u in upstreams if self.credentials.line(u) is None]

    def trip(self, route: str, fingerprint: str) -> None:
        """Another worker of this pod tripped."""
        breaker = self._breakers.get((route, fingerprint))
        if breaker is not None:
            breaker.follow(time.monotonic())

    def cut_all(self) -> None:
        """Every connection is cut: the drain's time is over."""
        for connection in list(self.connections):
            connection.abort()

    def report(self) -> Report:
        """Everything countable as plain data."""
        report = self.metrics.report(sides=self._sides())
        admission = self.admission
        report["relay_in_flight"] = [((), admission.queue.in_flight if admission else 0)]
        report["relay_queue_depth"] = [((), admission.queue.depth if admission else 0)]
        report["relay_client_connections"] = [((), len(self.connections))]
        report["relay_buffered_bytes"] = [((), self._buffered)]
        report["relay_log_lines_dropped_total"] = [((), self.log.dropped)]
        report["relay_upstream_connections"] = [
            ((name,), pool.open_connections()) for name, pool in self._pools.items()
        ]
        report["relay_slo_breaker_open"] = [
            (name, int(breaker.state is not BreakerState.closed))
            for name, breaker in self._breakers.items()
        ]
        report["relay_slo_breaker_trips_total"] = [
            (name, breaker.trips) for name, breaker in self._breakers.items()
        ]
        return report

    def _sides(self) -> Iterable[Labels]:
        if self.snapshot is None:
            return
        for plan in self.snapshot.plans:
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


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        header_timeout=settings.header_timeout_seconds,
        body_timeout=settings.body_timeout_seconds,
        idle_timeout=settings.idle_timeout_seconds,
        slow_reader=settings.slow_reader_seconds,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_body_bytes=settings.max_body_bytes,
    )


def _pool_limits(settings: Settings) -> PoolLimits:
    return PoolLimits(
        connect_timeout=settings.connect_timeout_seconds,
        keepalive=settings.upstream_keepalive_seconds,
        age=settings.upstream_age_seconds,
        warm=settings.upstream_warm_connections,
    )
