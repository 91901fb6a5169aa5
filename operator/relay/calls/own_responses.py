"""Bodies that the relay writes itself, and the fields that it puts on every answer."""

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from relay.admission.limiter import RateView
from relay.calls.tenants.caller import Caller
from relay.dialect.refusals import Refusal
from relay.http.connection_pool import Origin
from relay.routing import model_capabilities
from relay.routing.snapshot import Snapshot
from relay_contract.document import Limits

JSON: Final = b"content-type: application/json\r\n"
NO_RETRY: Final = b"x-should-retry: false\r\n"
"""A client library would repeat the call of itself, and each repetition may be paid."""
_SHOULD_RETRY: Final = {
    True: b"x-should-retry: true\r\n",
    False: NO_RETRY,
    None: b"",
}


_MILLISECONDS: Final = tuple(f"{count}ms" for count in range(1001))
"""Ready, since most answers tell two such times."""


def duration(seconds: float) -> str:
    """Writes a duration as the OpenAI API does: `12ms`, `1s`, `1.5s`, `6m0s`, `2h0m0s`; rounded up, so that waiting suffices."""
    if seconds < 1:
        scaled = seconds * 1000
        milliseconds = int(scaled)
        return _MILLISECONDS[milliseconds + 1 if milliseconds < scaled else milliseconds]
    if seconds < 60:
        return f"{math.ceil(seconds * 1000) / 1000:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s"


def rate_fields(view: RateView) -> str:
    """Renders x-ratelimit-* of whatever is limited; nothing for what is not.

    Beside OpenAI's names stand those without a unit, of requests: their reset is in whole seconds.
    """
    text = ""
    limit, left = view.limit_requests, view.remaining_requests
    if limit is not None and left is not None:
        reset = duration(view.reset_requests_seconds or 0.0)
        text = (
            f"x-ratelimit-limit-requests: {limit}\r\nx-ratelimit-remaining-requests: {left}\r\n"
            f"x-ratelimit-reset-requests: {reset}\r\n"
            f"x-ratelimit-limit: {limit}\r\nx-ratelimit-remaining: {left}\r\n"
            f"x-ratelimit-reset: {math.ceil(view.reset_requests_seconds or 0.0)}\r\n"
        )
    limit, left = view.limit_tokens, view.remaining_tokens
    if limit is not None and left is not None:
        reset = duration(view.reset_tokens_seconds or 0.0)
        text = (
            f"{text}x-ratelimit-limit-tokens: {limit}\r\nx-ratelimit-remaining-tokens: {left}\r\n"
            f"x-ratelimit-reset-tokens: {reset}\r\n"
        )
    return text


def common_fields(
    request_id: str,
    caller: Caller | None,
    model: str,
    now: float,
    *,
    upstream_request_id: str | None = None,
) -> bytes:
    """Renders what stands on every answer: the request's id, and what is left of the caller's limits for this model.

    upstream_request_id is the id that the provider gave the request, if it gave one.
    """
    rest = "" if caller is None else _rest_of_limits(caller, model, now)
    upstream = upstream_id_field(upstream_request_id)
    return f"x-request-id: {request_id}\r\n{rest}{upstream}".encode()


def upstream_id_field(upstream_request_id: str | None) -> str:
    """Renders the id that the provider gave the request, if it gave one."""
    if upstream_request_id is None:
        return ""
    return f"x-upstream-request-id: {upstream_request_id}\r\n"


def _rest_of_limits(caller: Caller, model: str, now: float) -> str:
    view = caller.tenant.admission.limiter.view(key=caller.key.name, model=model, now=now)
    return rate_fields(view)


def retry_fields(refusal: Refusal, retry_after_seconds: float | None) -> bytes:
    """Renders retry-after in whole seconds rounded up, retry-after-ms exactly, and x-should-retry where the status misleads."""
    fields = _SHOULD_RETRY[refusal.value.retry]
    if retry_after_seconds is not None:
        milliseconds = math.ceil(retry_after_seconds * 1000)
        seconds = max(1, math.ceil(retry_after_seconds))
        fields += b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (seconds, milliseconds)
    return fields


def models_body(snapshot: Snapshot) -> bytes:
    """Renders GET /v1/models: the models that this tenant may ask for."""
    return orjson.dumps(
        {"object": "list", "data": [_model(snapshot, name) for name in snapshot.models]}
    )


def model_body(snapshot: Snapshot, name: str) -> bytes | None:
    """Renders GET /v1/models/{id}; None when the tenant has no such model."""
    return orjson.dumps(_model(snapshot, name)) if name in snapshot.models else None


def no_such_model(snapshot: Snapshot, model: str) -> str:
    """Renders the message of model_not_found; it names at most 20 of the models that exist."""
    shown = ", ".join(snapshot.models[:20])
    more = f" and {len(snapshot.models) - 20} more" if len(snapshot.models) > 20 else ""
    known = f"; this tenant has {shown}{more}" if shown else "; this tenant has no models"
    return f"The model `{model[:128]}` does not exist{known}."


def me_body(
    caller: Caller,
    now: float,
    *,
    balance: str | None,
    budget: Mapping[str, str] | None,
    contract: Mapping[str, str] | None,
) -> bytes:
    """Renders GET /v1/me: who the caller is and what is left for it in this pod.

    balance is the tenant's credit in USD, contract the same in the currency of its contract where that is another, budget that of the period that is now, as the ledger has it; None where there is none. `data` says the same in the form that scripts of older relays read.
    """
    snapshot, admission = caller.snapshot, caller.tenant.admission
    document, key = snapshot.document, caller.key
    view = admission.limiter.view(key=key.name, model="", now=now)
    return orjson.dumps(
        {
            "object": "relay.me",
            "tenant": document.tenant.name,
            "tier": document.tenant.tier or None,
            "api_key": {
                "name": key.name,
                "generation": "previous" if key.is_previous else "current",
                "priority": key.priority,
                "limits": _key_limits(snapshot, key.name),
            },
            "generation": document.generation,
            "models": list(snapshot.models),
            "limits": {
                "scope": "PerReplicaShare",
                "share": admission.share,
                "configured": _limits(document.tenant.limits),
                "remaining_here": _remaining(view),
            },
            "queue": {
                "concurrency": document.tenant.queue.concurrency,
                "max_depth": document.tenant.queue.max_depth,
                "max_wait_seconds": document.tenant.queue.max_wait_seconds,
                "waiting_here": admission.queue.depth,
                "in_flight_here": admission.queue.in_flight,
            },
            "isolation": {"relay": "dedicated", "namespace": document.tenant.namespace},
            "data": {
                "subscription_tier": document.tenant.tier or None,
                "limits": _least_limits(document.tenant.limits, _key_limits(snapshot, key.name)),
                "credits": {"balance": balance}
                | ({"contract": contract} if contract is not None else {}),
                "budget": budget,
                "isolation": {"level": "dedicated"},
            },
        }
    )


def _model(snapshot: Snapshot, name: str) -> Mapping[str, Any]:
    """Renders a model; beside the fields of the OpenAI API what it can do, as far as the platform says so."""
    fields = {"id": name, "object": "model", "created": 0, "owned_by": "relay"}
    return fields | model_capabilities.of_model(snapshot, name)


def _limits(limits: Limits) -> Mapping[str, Any]:
    return {
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "burst_seconds": limits.burst_seconds,
        "models": [
            {
                "name": model.name,
                "requests_per_minute": model.requests_per_minute,
                "tokens_per_minute": model.tokens_per_minute,
            }
            for model in limits.models
        ],
    }


def _key_limits(snapshot: Snapshot, name: str) -> Mapping[str, Any]:
    for key in snapshot.document.tenant.keys:
        if key.name == name:
            return {
                "requests_per_minute": key.requests_per_minute,
                "tokens_per_minute": key.tokens_per_minute,
            }
    return {}


def _least_limits(limits: Limits, of_key: Mapping[str, Any]) -> Mapping[str, Any]:
    """Renders what holds for calls with this key: the lower of its own limit and the tenant's, null for none."""
    own = {
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
    }
    return {
        name: min((each for each in (limit, of_key.get(name)) if each is not None), default=None)
        for name, limit in own.items()
    }


def _remaining(view: RateView) -> Mapping[str, Any]:
    return {
        "requests": view.remaining_requests,
        "tokens": view.remaining_tokens,
        "reset_requests_seconds": view.reset_requests_seconds,
        "reset_tokens_seconds": view.reset_tokens_seconds,
    }


def trouble_message(refusal: Refusal, origin: Origin) -> str | None:
    """Returns what a caller is told beyond the table: that a proxy stands before a provider out of reach."""
    if refusal is not Refusal.upstream_unreachable or origin.proxy is None:
        return None
    return "No connection to the provider could be made through its proxy."
