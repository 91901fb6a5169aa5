"""What an attempt used, as the provider reported it, and where that is written.

An attempt, not a request, is the unit of cost: one event per provider attempt goes to a UsageSink. The log is the first
sink; a durable ledger is to be the next.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import orjson

from relay.accounting.metrics import AttemptSeries, SideCounters
from relay.dialect.endpoints import Endpoint
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

BYTES_PER_TOKEN: Final = 4
"""A rough rule for English text and JSON; used where no provider reported, and flagged."""
MICROS: Final = 1_000_000


class Tokens:
    """input includes cached, output includes reasoning, as providers report them."""

    __slots__ = ("cached", "input", "output", "reasoning")

    def __init__(
        self,
        input: int,  # noqa: A002 - the API's own word
        output: int,
        cached: int = 0,
        reasoning: int = 0,
    ) -> None:
        self.input = input
        self.output = output
        self.cached = cached
        self.reasoning = reasoning

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self._counts() == other._counts()

    def __hash__(self) -> int:
        return hash(self._counts())

    def __repr__(self) -> str:
        return f"Tokens{self._counts()}"

    def _counts(self) -> tuple[int, int, int, int]:
        return self.input, self.output, self.cached, self.reasoning


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


class UsageSink(Protocol):
    """Takes events in the order attempts end. Called on the hot path: it must not block."""

    def record(self, event: UsageEvent) -> None:
        """The event is on its way to where it is kept."""


def reported_tokens(usage: object) -> Tokens | None:
    """The tokens of a provider's usage object, of either API (chat completions or responses); None if it is neither."""
    if not isinstance(usage, dict):
        return None
    if "prompt_tokens" in usage:
        names = (
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
        )
    elif "input_tokens" in usage:
        names = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
    else:
        return None
    return Tokens(
        input=_count(usage, names[0]),
        output=_count(usage, names[1]),
        cached=_detail(usage, names[2], "cached_tokens"),
        reasoning=_detail(usage, names[3], "reasoning_tokens"),
    )


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and value > 0 else 0


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return _count(details, name) if type(details) is dict else 0


def usage_line(event: UsageEvent, *, timestamp: float, pod: str) -> bytes:
    """The event as one JSON line; timestamp in seconds since the epoch, pod the same for every line of a process.

    Names are written as JSON by orjson once per subject; the rest is digits, fixed words and ids whose characters are
    known to be safe.
    """
    subject = event.subject
    names = subject.names
    if names is None:
        names = subject.names = _names(subject, pod)
    micros = str(int(timestamp * MICROS))
    return (
        f'{{"ts":{micros[:-6]}.{micros[-6:]},"event":"usage",{names},'
        f'"request_id":"{event.request_id}","upstream_request_id":{_id(event.upstream_request_id)},'
        f'"trace_id":"{event.trace_id}","attempt":{event.attempt},"status":{event.status or "null"},'
        f'"outcome":"{event.outcome}","stream":{_bool(event.stream)},"tokens":{_tokens(event.tokens)},'
        f'"estimated":{_bool(event.estimated)},"client_gone":{_bool(event.client_gone)},'
        f'"latency_seconds":{_seconds(event.latency_seconds)},'
        f'"first_token_seconds":{_seconds(event.first_token_seconds)}}}\n'
    ).encode()


def _names(subject: Subject, pod: str) -> str:
    names = {
        "pod": pod,
        "endpoint": subject.endpoint,
        "key": subject.key,
        "route": subject.route,
        "side": subject.side,
        "fingerprint": subject.fingerprint,
        "provider": subject.provider,
        "model": subject.model,
        "upstream_model": subject.upstream_model,
    }
    return orjson.dumps(names).decode()[1:-1]


def _id(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _seconds(value: float | None) -> str:
    if value is None:
        return "null"
    micros = int(value * MICROS)
    # one string of digits is made much faster than a float of fixed precision, and most times are below a second
    return f"0.{str(MICROS + micros)[1:]}" if 0 <= micros < MICROS else f"{value:.6f}"


def _tokens(tokens: Tokens | None) -> str:
    if tokens is None:
        return "null"
    return (
        f'{{"input":{tokens.input},"output":{tokens.output},'
        f'"cached":{tokens.cached},"reasoning":{tokens.reasoning}}}'
    )
