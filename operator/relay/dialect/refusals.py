"""Every refusal of the relay in one table: status, OpenAI error type, code, sentence, and whether a retry can help.

Shapes follow the OpenAI API (`{"error": {"message", "type", "param", "code"}}`); 429 is the tenant's own doing, 502 and
504 are the provider's, 503 is the relay's own state.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import orjson

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """retry is x-should-retry; None leaves it to the client library's own rule for the status."""

    status: int
    type: str
    code: str
    message: str
    retry: bool | None = None
    param: str | None = None


class Refusal(Enum):
    """Why a call gets no provider's answer. The member's name is the `reason` label of relay_rejections_total."""

    bad_request = RefusalRow(400, INVALID, "bad_request", "The request is not valid HTTP/1.1.")
    invalid_json = RefusalRow(400, INVALID, "invalid_json", "The body is not a JSON object.")
    missing_model = RefusalRow(
        400,
        INVALID,
        "missing_model",
        'The body names no model: set "model" to a string.',
        param="model",
    )
    ambiguous_model = RefusalRow(
        400, INVALID, "ambiguous_model", "The body names a model more than once.", param="model"
    )
    missing_api_key = RefusalRow(
        401,
        INVALID,
        "invalid_api_key",
        "No API key was given: send it as `Authorization: Bearer KEY`.",
    )
    invalid_api_key = RefusalRow(
        401, INVALID, "invalid_api_key", "The API key is not valid for this relay."
    )
    tenant_mismatch = RefusalRow(
        403,
        INVALID,
        "tenant_mismatch",
        "X-Tenant-ID does not agree with the tenant of the API key.",
    )
    tenant_suspended = RefusalRow(403, INVALID, "tenant_suspended", "This tenant is suspended.")
    unknown_url = RefusalRow(404, INVALID, "unknown_url", "There is nothing at this path.")
    model_not_found = RefusalRow(
        404, INVALID, "model_not_found", "The model does not exist.", param="model"
    )
    method_not_allowed = RefusalRow(
        405, INVALID, "method_not_allowed", "This path does not take this method."
    )
    request_timeout = RefusalRow(
        408, INVALID, "request_timeout", "The request did not arrive in time."
    )
    payload_too_large = RefusalRow(
        413, INVALID, "payload_too_large", "The body is larger than this relay takes."
    )
    uri_too_long = RefusalRow(414, INVALID, "uri_too_long", "The request target is too long.")
    unsupported_encoding = RefusalRow(
        415, INVALID, "unsupported_encoding", "Send the body without content-encoding."
    )
    expectation_failed = RefusalRow(
        417, INVALID, "expectation_failed", "Only the expectation 100-continue is known."
    )
    headers_too_large = RefusalRow(
        431, INVALID, "headers_too_large", "The request head is larger than this relay takes."
    )
    requests_limited = RefusalRow(
        429,
        "requests",
        "rate_limit_exceeded",
        "The tenant's limit of requests per minute is reached.",
    )
    tokens_limited = RefusalRow(
        429, "tokens", "rate_limit_exceeded", "The tenant's limit of tokens per minute is reached."
    )
    model_requests_limited = RefusalRow(
        429,
        "requests",
        "rate_limit_exceeded",
        "The limit of requests per minute for this model is reached.",
    )
    model_tokens_limited = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "The limit of tokens per minute for this model is reached.",
    )
    key_requests_limited = RefusalRow(
        429,
        "requests",
        "rate_limit_exceeded",
        "The limit of requests per minute for this API key is reached.",
    )
    key_tokens_limited = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "The limit of tokens per minute for this API key is reached.",
    )
    request_too_large = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "This request alone needs more tokens than the limit allows in a minute; make it smaller.",
        retry=False,
    )
    queue_full = RefusalRow(429, "requests", "queue_full", "The tenant's queue is full.")
    queue_timeout = RefusalRow(
        429, "requests", "queue_timeout", "The call waited its longest time in the tenant's queue."
    )
    not_implemented = RefusalRow(
        501, SERVER, "not_implemented", "This method is not known.", retry=False
    )
    version_not_supported = RefusalRow(
        505, SERVER, "version_not_supported", "Speak HTTP/1.1 or HTTP/1.0.", retry=False
    )
    not_ready = RefusalRow(503, SERVER, "relay_not_ready", "The relay has no configuration yet.")
    overloaded = RefusalRow(
        503, SERVER, "relay_overloaded", "The relay holds too many request bodies right now."
    )
    draining = RefusalRow(503, SERVER, "relay_draining", "The relay is shutting down.")
    upstream_key_missing = RefusalRow(
        503, SERVER, "upstream_key_missing", "The relay holds no key for the provider.", retry=False
    )
    upstream_unreachable = RefusalRow(
        502, SERVER, "upstream_unreachable", "No connection to the provider could be made."
    )
    upstream_unauthorized = RefusalRow(
        502,
        SERVER,
        "upstream_unauthorized",
        "The provider refused the relay's own credential; the platform team has to act.",
        retry=False,
    )
    upstream_invalid = RefusalRow(
        502, SERVER, "upstream_invalid", "The provider's answer broke the protocol."
    )
    upstream_truncated = RefusalRow(
        502, SERVER, "upstream_truncated", "The provider's answer ended before it was complete."
    )
    upstream_error = RefusalRow(502, SERVER, "upstream_error", "The provider failed.")
    upstream_limited = RefusalRow(
        429, "requests", "upstream_rate_limited", "The provider's own rate limit is reached."
    )
    upstream_timeout = RefusalRow(
        504, SERVER, "upstream_timeout", "The provider did not answer in time."
    )


LIMIT_REFUSALS: Final = {
    "tenant_requests": Refusal.requests_limited,
    "tenant_tokens": Refusal.tokens_limited,
    "model_requests": Refusal.model_requests_limited,
    "model_tokens": Refusal.model_tokens_limited,
    "key_requests": Refusal.key_requests_limited,
    "key_tokens": Refusal.key_tokens_limited,
    "key_tokens_request_too_large": Refusal.request_too_large,
    "tenant_tokens_request_too_large": Refusal.request_too_large,
    "model_tokens_request_too_large": Refusal.request_too_large,
    "provider_tokens_request_too_large": Refusal.request_too_large,
    "queue_full": Refusal.queue_full,
    "queue_timeout": Refusal.queue_timeout,
}
"""Reasons of relay.admission.limiter and relay.admission.fair_queue as refusals; a reason not named here is queue_full's kin and answers so."""


class RelayMisconfigured(Exception):
    """The process cannot start as it was told to; the message names the setting and what to do."""


def error_body(*, message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """The OpenAI error object as JSON."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def refusal_body(refusal: Refusal, message: str | None = None) -> bytes:
    """The refusal's JSON; message replaces its sentence where more is known than the table says."""
    row = refusal.value
    return error_body(message=message or row.message, kind=row.type, code=row.code, param=row.param)
