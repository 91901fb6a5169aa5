"""What an attempt used, as the provider reported it, and where that is written.

An attempt, not a request, is the unit of cost: one event per provider attempt goes to a UsageSink. The log is the first
sink; a durable ledger is to be the next.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson

from relay.snapshot import SideLabel

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


class Tokens(NamedTuple):
    """input includes cached, output includes reasoning, as providers report them."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


class UsageEvent(NamedTuple):
    """One attempt. tokens is None when nothing is known to have been used; times in seconds.

    A tuple because one is made per attempt on the hot path, and a frozen dataclass of this width takes five times as
    long to make.
    """

    request_id: str
    upstream_request_id: str | None
    trace_id: str
    endpoint: str
    key: str
    route: str
    side: SideLabel
    fingerprint: str
    provider: str
    model: str
    upstream_model: str
    attempt: int
    status: int | None
    outcome: Outcome
    stream: bool
    tokens: Tokens | None
    estimated: bool
    client_gone: bool
    latency_seconds: float
    first_token_seconds: float | None
    response_id: str | None


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
    """The event as one JSON line; timestamp in seconds since the epoch.

    Names are written as JSON by orjson once per set of names; the rest is digits, fixed words and ids whose characters are
    known to be safe.
    """
    named = _names(
        event.endpoint,
        event.key,
        event.route,
        event.side,
        event.fingerprint,
        event.provider,
        event.model,
        event.upstream_model,
        pod,
    )
    return (
        f'{{"ts":{timestamp:.6f},"event":"usage",{named},'
        f'"request_id":"{event.request_id}","upstream_request_id":{_id(event.upstream_request_id)},'
        f'"trace_id":"{event.trace_id}","attempt":{event.attempt},"status":{event.status or "null"},'
        f'"outcome":"{event.outcome}","stream":{_bool(event.stream)},"tokens":{_tokens(event.tokens)},'
        f'"estimated":{_bool(event.estimated)},"client_gone":{_bool(event.client_gone)},'
        f'"latency_seconds":{event.latency_seconds:.6f},'
        f'"first_token_seconds":{_seconds(event.first_token_seconds)}}}\n'
    ).encode()


@lru_cache(maxsize=4096)
def _names(
    endpoint: str,
    key: str,
    route: str,
    side: str,
    fingerprint: str,
    provider: str,
    model: str,
    upstream_model: str,
    pod: str,
) -> str:
    names = {
        "pod": pod,
        "endpoint": endpoint,
        "key": key,
        "route": route,
        "side": side,
        "fingerprint": fingerprint,
        "provider": provider,
        "model": model,
        "upstream_model": upstream_model,
    }
    return orjson.dumps(names).decode()[1:-1]


def _id(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _seconds(value: float | None) -> str:
    return "null" if value is None else f"{value:.6f}"


def _tokens(tokens: Tokens | None) -> str:
    if tokens is None:
        return "null"
    return (
        f'{{"input":{tokens.input},"output":{tokens.output},'
        f'"cached":{tokens.cached},"reasoning":{tokens.reasoning}}}'
    )
