"""A usage event as a line of the log."""

from typing import Final

import orjson
import xxhash

from relay.accounting.usage_event import Subject, UsageEvent
from relay.dialect.reported_usage import Tokens

MICROS: Final = 1_000_000
EVENT_VERSION: Final = 1
"""Part of every event's id: a line that means something else has another id."""


def usage_line(event: UsageEvent, *, timestamp: float, pod: str) -> bytes:
    """Renders the event as one JSON line; timestamp in seconds since the epoch, pod the same for every line of a process.

    Names are written as JSON by orjson once per subject; the rest is digits, fixed words and ids whose characters are
    known to be safe.
    """
    subject = event.subject
    names = subject.names
    if names is None:
        names = subject.names = _names(subject, pod)
    micros = str(int(timestamp * MICROS))
    return (
        f'{{"ts":{micros[:-6]}.{micros[-6:]},"event":"usage","event_id":"{event_id(event)}",'
        f'"call_id":"{event.call_id}","attempt_id":"{event.attempt_id}",{names},'
        f'"request_id":"{event.request_id}","upstream_request_id":{_id(event.upstream_request_id)},'
        f'"trace_id":"{event.trace_id}","attempt":{event.attempt},"status":{_number(event.status)},'
        f'"outcome":"{event.outcome}","stream":{_bool(event.stream)},"tokens":{_tokens(event.tokens)},'
        f'"estimated":{_bool(event.estimated)},"client_gone":{_bool(event.client_gone)},'
        f'"latency_seconds":{_seconds(event.latency_seconds)},'
        f'"first_token_seconds":{_seconds(event.first_token_seconds)}}}\n'
    ).encode()


def event_id(event: UsageEvent) -> str:
    """Returns the event's id: computed, so that a line written again is recognised, and never from what a caller sent."""
    name = f"{event.subject.tenant_uid}/{event.attempt_id}/usage/{EVENT_VERSION}"
    return xxhash.xxh3_128_hexdigest(name.encode())


def _names(subject: Subject, pod: str) -> str:
    names = {
        "pod": pod,
        "tenant": subject.tenant,
        "tenant_uid": subject.tenant_uid,
        "endpoint": subject.endpoint,
        "key": subject.key,
        "route": subject.route,
        "side": subject.side,
        "fingerprint": subject.fingerprint,
        "provider": subject.provider,
        "model": subject.model,
        "upstream_model": subject.upstream_model,
        "manifest_revision": subject.manifest_revision or None,
    }
    return orjson.dumps(names).decode()[1:-1]


def _id(value: str | None) -> str:
    return "null" if value is None else f'"{value}"'


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _seconds(value: float | None) -> str:
    if value is None:
        return "null"
    micros = int(value * MICROS)
    if micros < 0:
        return f"{value:.6f}"
    # two strings of digits are made much faster than a float of fixed precision
    seconds = micros // MICROS
    return f"{seconds}.{str(MICROS + micros - seconds * MICROS)[1:]}"


def _tokens(tokens: Tokens | None) -> str:
    if tokens is None:
        return "null"
    return (
        f'{{"input":{tokens.input},"output":{tokens.output},'
        f'"cached":{tokens.cached},"reasoning":{tokens.reasoning}}}'
    )
