"""The record of an attempt that has ended: the unit of cost is an attempt, not a request."""

from collections.abc import Mapping
from typing import Final, Literal

from relay.accounting.metrics import AttemptSeries
from relay.accounting.slo_counters import SideCounters
from relay.accounting.token_estimates import CallEstimate
from relay.accounting.token_rates import ModelRates
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.outbox.attempt_names import AttemptNames
from relay.routing.snapshot import SERVED, SideLabel

Outcome = Literal[
    "ok",
    "client_error",
    "throttled",
    "failed",
    "unreachable",
    "timeout",
    "truncated",
    "invalid",
    "cancelled",
    "no_key",
]
"""Ways in which an attempt ends. client_error: a 4xx the caller caused; cancelled: the caller left; no_key: never sent, because
the relay has no key for the provider."""
FAILURES: Final = frozenset({"failed", "unreachable", "timeout", "truncated", "invalid"})
"""Outcomes a provider is to blame for."""


class Subject:
    """Everything that attempts of one kind have in common: whose they are, which model they ask for, and of which side.

    Kept by the recorder and used again, so that an attempt is counted without building or looking up a name. objectives
    maps a signal to its limit in seconds, and signals are its items; model_label is the model as metrics name it, from a
    bounded set. manifest_revision is that of the tenant's tool manifest, empty without one. is_served says that callers get its answers. `names` belongs to the usage log: the subject as it writes it,
    None before the first line; record_names are the same for the ledger's records.
    """

    __slots__ = (
        "endpoint",
        "fingerprint",
        "is_served",
        "key",
        "manifest_revision",
        "model",
        "model_label",
        "names",
        "objectives",
        "provider",
        "rates",
        "record_names",
        "route",
        "series",
        "side",
        "signals",
        "slo",
        "tenant",
        "tenant_uid",
        "upstream_model",
    )

    def __init__(
        self,
        *,
        tenant: str,
        tenant_uid: str,
        endpoint: Endpoint,
        key: str,
        route: str,
        side: SideLabel,
        fingerprint: str,
        provider: str,
        model: str,
        model_label: str,
        upstream_model: str,
        objectives: Mapping[str, float],
        series: AttemptSeries,
        slo: SideCounters,
        rates: ModelRates,
        manifest_revision: str = "",
    ) -> None:
        self.tenant = tenant
        self.tenant_uid = tenant_uid
        self.endpoint = endpoint
        self.key = key
        self.route = route
        self.side = side
        self.is_served = side in SERVED
        self.fingerprint = fingerprint
        self.provider = provider
        self.model = model
        self.model_label = model_label
        self.upstream_model = upstream_model
        self.manifest_revision = manifest_revision
        self.objectives = objectives
        self.signals = tuple(objectives.items())
        self.series = series
        self.slo = slo
        self.rates = rates
        self.names: str | None = None
        self.record_names: AttemptNames | None = None


class UsageEvent:
    """An attempt that has ended, with everything that is counted of it.

    tokens is None when nothing is known to have been used; charged_tokens are what limits
    count of them, estimate is what was expected of the call. Times are seconds since the attempt's start, but for
    overhead_seconds, which the relay added, and paused_seconds, in which the caller did not read; first_byte_seconds is 0 when none came. counted_slow names the signals it was
    counted slow for while it was under way; probe says that it decides for its canary's breaker. call_id and attempt_id are
    the relay's own and never repeat, request_id is the caller's label. unreadable says that the provider reported usage that
    could not be used, was_left that the side's counters have the attempt since its caller left.
    """

    __slots__ = (
        "attempt",
        "attempt_id",
        "call_id",
        "charged_tokens",
        "client_gone",
        "counted_slow",
        "estimate",
        "estimated",
        "first_byte_seconds",
        "first_token_seconds",
        "latency_seconds",
        "outcome",
        "overhead_seconds",
        "paused_seconds",
        "probe",
        "request_id",
        "response_id",
        "status",
        "stream",
        "subject",
        "tokens",
        "trace_id",
        "unreadable",
        "upstream_request_id",
        "was_left",
    )

    def __init__(
        self,
        subject: Subject,
        *,
        call_id: str,
        attempt_id: str,
        request_id: str,
        upstream_request_id: str | None,
        trace_id: str,
        attempt: int,
        status: int | None,
        outcome: Outcome,
        stream: bool,
        tokens: Tokens | None,
        charged_tokens: int,
        estimated: bool,
        unreadable: bool,
        client_gone: bool,
        latency_seconds: float,
        first_token_seconds: float | None,
        response_id: str | None,
        estimate: CallEstimate,
        first_byte_seconds: float,
        overhead_seconds: float,
        counted_slow: tuple[str, ...],
        probe: bool,
        paused_seconds: float = 0.0,
        was_left: bool = False,
    ) -> None:
        self.subject = subject
        self.call_id = call_id
        self.attempt_id = attempt_id
        self.request_id = request_id
        self.upstream_request_id = upstream_request_id
        self.trace_id = trace_id
        self.attempt = attempt
        self.status = status
        self.outcome = outcome
        self.stream = stream
        self.tokens = tokens
        self.charged_tokens = charged_tokens
        self.estimated = estimated
        self.unreadable = unreadable
        self.client_gone = client_gone
        self.latency_seconds = latency_seconds
        self.paused_seconds = paused_seconds
        self.first_token_seconds = first_token_seconds
        self.response_id = response_id
        self.estimate = estimate
        self.first_byte_seconds = first_byte_seconds
        self.overhead_seconds = overhead_seconds
        self.counted_slow = counted_slow
        self.probe = probe
        self.was_left = was_left
