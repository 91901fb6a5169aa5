"""What is known of an attempt when it has ended: the unit of cost is an attempt, not a request."""

from typing import Literal

from relay.accounting.metrics import AttemptSeries, SideCounters
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.routing.snapshot import SideLabel

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
"""How an attempt ended. client_error: a 4xx the caller caused; cancelled: the caller left; no_key: never sent, because
the relay has no key for the provider."""


class Subject:
    """What attempts of one kind have in common: who asked for which model, and which side of which route was asked.

    Kept with the route's leg and used again, so that an attempt is booked without building or looking up a name. `names`
    is the sink's own: the subject as it writes it, None before it first did.
    """

    __slots__ = (
        "endpoint",
        "fingerprint",
        "key",
        "model",
        "names",
        "provider",
        "route",
        "series",
        "side",
        "slo",
        "upstream_model",
    )

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        key: str,
        route: str,
        side: SideLabel,
        fingerprint: str,
        provider: str,
        model: str,
        upstream_model: str,
        series: AttemptSeries,
        slo: SideCounters,
    ) -> None:
        self.endpoint = endpoint
        self.key = key
        self.route = route
        self.side = side
        self.fingerprint = fingerprint
        self.provider = provider
        self.model = model
        self.upstream_model = upstream_model
        self.series = series
        self.slo = slo
        self.names: str | None = None


class UsageEvent:
    """One attempt. tokens is None when nothing is known to have been used; times in seconds."""

    __slots__ = (
        "attempt",
        "client_gone",
        "estimated",
        "first_token_seconds",
        "latency_seconds",
        "outcome",
        "request_id",
        "response_id",
        "status",
        "stream",
        "subject",
        "tokens",
        "trace_id",
        "upstream_request_id",
    )

    def __init__(
        self,
        subject: Subject,
        *,
        request_id: str,
        upstream_request_id: str | None,
        trace_id: str,
        attempt: int,
        status: int | None,
        outcome: Outcome,
        stream: bool,
        tokens: Tokens | None,
        estimated: bool,
        client_gone: bool,
        latency_seconds: float,
        first_token_seconds: float | None,
        response_id: str | None,
    ) -> None:
        self.subject = subject
        self.request_id = request_id
        self.upstream_request_id = upstream_request_id
        self.trace_id = trace_id
        self.attempt = attempt
        self.status = status
        self.outcome = outcome
        self.stream = stream
        self.tokens = tokens
        self.estimated = estimated
        self.client_gone = client_gone
        self.latency_seconds = latency_seconds
        self.first_token_seconds = first_token_seconds
        self.response_id = response_id
