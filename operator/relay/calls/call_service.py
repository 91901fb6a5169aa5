"""What the exchanges of one worker share: the snapshot in force, and everything that outlives it."""

import random
import time
from collections.abc import Iterable

from relay.accounting.attempt_recorder import AttemptRecorder, sides
from relay.accounting.logs import WorkerLog
from relay.accounting.metrics import Report, WorkerMetrics
from relay.accounting.usage_event import Subject, UsageEvent
from relay.admission.admission import Admission, Applicant
from relay.admission.not_admitted import NotAdmitted
from relay.admission.reservation import Reservation
from relay.admission.token_buckets import Hold
from relay.calls import own_responses
from relay.calls.attempt import Accounts, Attempt, Consumer
from relay.calls.call import Call
from relay.calls.caller import Caller
from relay.calls.exchange import Exchange
from relay.calls.provider_keys import ProviderKeys
from relay.calls.provider_pools import ProviderPools
from relay.calls.retry_budget import RetryBudget
from relay.calls.shadow import Shadows
from relay.dialect.endpoints import CALLS
from relay.dialect.header_fields import STEERING
from relay.dialect.request_body import CallBody
from relay.dialect.session_key import session_key
from relay.http.connection_pool import Pool
from relay.http.deadlines import DeadlineWheel
from relay.http.downstream import ClientConnection, ClientLimits, ConnectionHost
from relay.http.headers import SINGLE, trace_context
from relay.http.message import Request
from relay.http.outbox import Outbox
from relay.random_ids import random_id
from relay.routing import routes
from relay.routing.routes import Leg, Routed
from relay.routing.sessions import session_point
from relay.routing.snapshot import Destination, RoutePlan, Snapshot, Upstream
from relay.settings import Settings

OTHER_MODEL = "other"
REMEMBERED_ROUTES = 10_000
"""Pairs of model and task; tasks are the callers' own words, so the memory needs a bound."""


class CallService(Accounts, ConnectionHost):
    """The worker's state. Implements relay.http.downstream.ConnectionHost too."""

    def __init__(self, settings: Settings, log: WorkerLog) -> None:
        now = time.monotonic()
        self.settings = settings
        self.log = log
        self.metrics = WorkerMetrics()
        self.wheel = DeadlineWheel(now)
        self.outbox = Outbox()
        self.client_limits = _client_limits(settings)
        self.first_byte_timeout = settings.first_byte_timeout_seconds
        self.upstream_idle_timeout = settings.upstream_idle_timeout_seconds
        self.snapshot: Snapshot | None = None
        self.admission: Admission | None = None
        self.connections: set[ClientConnection] = set()
        self.budget = RetryBudget(ratio=settings.retry_ratio, burst=settings.retry_burst)
        self.credentials = ProviderKeys(settings.upstream_keys_directory)
        self.shadows = Shadows(self)
        self.draining = False
        self.books = AttemptRecorder(self.metrics, log)
        self.pools = ProviderPools(settings, self.wheel, self.outbox)
        self._buffered = 0
        self._routed: dict[tuple[str, str | None], Routed] = {}

    # -- the document ----------------------------------------------------------------------------------------------

    def install(self, snapshot: Snapshot) -> None:
        """The snapshot is in force for every request that begins from now on."""
        now = time.monotonic()
        tenant = snapshot.document.tenant
        share = 1 / (tenant.replicas * self.settings.workers)
        quotas = {name: used.provider.limits for name, used in snapshot.upstreams.items()}
        if self.admission is None:
            self.admission = Admission(tenant, quotas, share=share, now=now)
        else:
            self.admission.reconfigure(tenant, quotas, share=share, now=now)
        self.pools.install(upstream.origin for upstream in snapshot.upstreams.values())
        self.books.install(snapshot.plans)
        self.refresh_keys(snapshot.upstreams.values())
        self._routed = {}
        self.snapshot = snapshot

    # -- relay.http.downstream.ConnectionHost --------------------------------------------------------------------------------

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
    ) -> Call:
        """The call as its attempts need it, with its place in a trace and what it will probably use."""
        trace = trace_context(request.fields.get(b"traceparent"))
        trace_id, flags = trace or (random_id(32), "00")
        known = caller.snapshot.known_models
        label = body.model if body.model in known else OTHER_MODEL
        self.budget.deposit()
        return Call(
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
            input_tokens=self.books.estimator.input_tokens(label, len(body.raw)),
            output_tokens=self.books.estimator.output_tokens(label, body.output_tokens_asked()),
        )

    def routed(self, snapshot: Snapshot, model: str, task: str | None) -> Routed | None:
        """How this model is routed under the snapshot; remembered for the one in force."""
        if snapshot is not self.snapshot or model not in snapshot.known_models:
            return routes.find_route(snapshot, model, task)
        name = (model, task)
        routed = self._routed.get(name)
        if routed is None:
            routed = routes.find_route(snapshot, model, task)
            if routed is not None and len(self._routed) < REMEMBERED_ROUTES:
                self._routed[name] = routed
        return routed

    def chain(self, routed: Routed, order: Call, request: Request) -> tuple[Leg, ...]:
        """The legs this call's session tries, in order."""
        return routed.canary if self._on_canary(routed, order, request) else routed.stable

    def _on_canary(self, routed: Routed, order: Call, request: Request) -> bool:
        plan = routed.plan
        canary, percent = plan.canary, plan.canary_percent
        if canary is None or percent == 0 or not routed.canary:
            return False
        previous = order.body.document.get("previous_response_id")
        if isinstance(previous, str):
            owner = self.books.owners.owner(previous)
            if owner is not None:
                return owner == canary.fingerprint
        if percent == 100:
            return True
        key = session_key(order.body.document, request.fields.get(b"x-session-id"))
        point = (
            random.uniform(0, 100) if key is None else session_point(key, seed=plan.session_seed)
        )
        return routes.takes_canary(routed, point=point)

    def without_open_canary(self, order: Call, chain: tuple[Leg, ...]) -> tuple[Leg, ...]:
        """The chain, less a canary whose breaker is open."""
        first = chain[0].destination
        if first.label != "canary":
            return chain
        admitted = self.books.admits_canary(order.plan.name, first.fingerprint, time.monotonic())
        return chain if admitted else chain[1:]

    def enter(self, applicant: Applicant, now: float) -> None:
        """Asks for a seat for the call."""
        assert self.admission is not None
        self.admission.enter(applicant, now)

    def slice_of(self, order: Call, destination: Destination) -> Hold | NotAdmitted | None:
        """A hold on the destination's slice, None where it has no limit, or why there is no room now."""
        assert self.admission is not None
        return self.admission.try_quota(
            destination.upstream.name,
            input_tokens=order.input_tokens,
            output_tokens=order.output_tokens,
        )

    def try_provider(self, reservation: Reservation, provider: str) -> bool:
        """Moves the call to this provider if its quota has room now; returns whether it has."""
        assert self.admission is not None
        return self.admission.try_provider(reservation, provider)

    def leave(self, reservation: Reservation, now: float) -> None:
        """Gives up the call's seat."""
        assert self.admission is not None
        self.admission.leave(reservation, now)

    def attempt(
        self,
        consumer: Consumer,
        order: Call,
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
        return own_responses.me_body(
            caller.snapshot,
            key=caller.key.name,
            priority=caller.key.priority,
            share=admission.share,
            view=admission.limiter.view(key=caller.key.name, model="", now=time.monotonic()),
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
        view = self.admission.limiter.view(key=caller.key.name, model=model or "", now=now)
        return ids + own_responses.rate_fields(view)

    def exchange_over(self, exchange: Exchange, now: float) -> None:
        """The call is counted."""
        request, status = exchange.request, exchange.reply.status
        endpoint = CALLS.get(request.path)
        series = self.metrics.calls(endpoint or "other", exchange.model_label)
        series.answered(status)
        series.duration.observe(now - request.received_at)

    # -- relay.calls.attempt.Accounts ------------------------------------------------------------------------------------

    def pool(self, destination: Destination) -> Pool:
        return self.pools.of(destination.upstream.origin)

    def auth_line(self, destination: Destination) -> bytes | None:
        line = self.credentials.line(destination.upstream)
        if line is None:
            # mounted since the last look, perhaps: asked for is read now
            self.refresh_keys([destination.upstream])
            line = self.credentials.line(destination.upstream)
        return line

    def subject(self, attempt: Attempt) -> Subject:
        return self.books.subject(attempt)

    def attempt_ended(self, attempt: Attempt, event: UsageEvent) -> None:
        self.books.ended(attempt, event)

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Meant to be called every second."""
        now = time.monotonic()
        self.wheel.turn(now)
        self.pools.tend(now)
        if self.admission is not None:
            self.admission.tick(now)
        if self.snapshot is not None:
            self.refresh_keys(self.snapshot.upstreams.values())

    def refresh_keys(self, upstreams: Iterable[Upstream]) -> None:
        """The upstreams' keys are those of their files as they are now."""
        for name in self.credentials.refresh(upstreams):
            self.books.key_read(name)

    def missing_keys(self) -> list[str]:
        """The providers of the snapshot in force that cannot be called for want of a key, after another look."""
        if self.snapshot is None:
            return []
        upstreams = self.snapshot.upstreams.values()
        self.refresh_keys(upstreams)
        return [u.name for u in upstreams if self.credentials.line(u) is None]

    def trip(self, route: str, fingerprint: str) -> None:
        """Another worker of this pod tripped."""
        self.books.trip(route, fingerprint, time.monotonic())

    def cut_all(self) -> None:
        """Every connection is cut: the drain's time is over."""
        for connection in list(self.connections):
            connection.abort()

    def report(self) -> Report:
        """Everything countable as plain data."""
        plans = self.snapshot.plans if self.snapshot is not None else ()
        report = self.metrics.report(sides=sides(plans))
        self.books.report(report)
        admission = self.admission
        report["relay_in_flight"] = [((), admission.queue.in_flight if admission else 0)]
        report["relay_queue_depth"] = [((), admission.queue.depth if admission else 0)]
        report["relay_client_connections"] = [((), len(self.connections))]
        report["relay_buffered_bytes"] = [((), self._buffered)]
        report["relay_log_lines_dropped_total"] = [((), self.log.dropped)]
        report["relay_upstream_connections"] = [
            ((name,), count) for name, count in self.pools.open_connections()
        ]
        return report


def _client_limits(settings: Settings) -> ClientLimits:
    return ClientLimits(
        header_timeout=settings.header_timeout_seconds,
        body_timeout=settings.body_timeout_seconds,
        idle_timeout=settings.idle_timeout_seconds,
        slow_reader=settings.slow_reader_seconds,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        max_body_bytes=settings.max_body_bytes,
        single_fields=SINGLE | STEERING,
    )
