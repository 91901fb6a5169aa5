"""Table of the relay's refusals: status, OpenAI error type, code, message, and whether a retry can help.

Shapes follow the OpenAI API (`{"error": {"message", "type", "param", "code"}}`); 429 is a limit or quota of
the tenant, 502 and 504 are failures of the provider, 503 is a state of the relay.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import orjson

from relay.dialect.body_fields import MAX_NESTING

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
QUOTA: Final = "insufficient_quota"
"""Client libraries and agents know this code: money is missing, and waiting does not bring it."""


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """One answer. retry is x-should-retry; None leaves it to the client library's own rule for the status."""

    status: int
    type: str
    code: str
    message: str
    retry: bool | None = None
    param: str | None = None


class Refusal(Enum):
    """An answer of the relay in place of the provider's. The member's name is the `reason` label of relay_rejections_total."""

    bad_request = RefusalRow(400, INVALID, "bad_request", "The request is not valid HTTP/1.1.")
    invalid_json = RefusalRow(
        400,
        INVALID,
        "invalid_json",
        "The body is not one JSON object in UTF-8 without a byte order mark, nested at most "
        f"{MAX_NESTING} deep.",
    )
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
    invalid_model = RefusalRow(
        400, INVALID, "invalid_model", "The model's name is not valid Unicode text.", param="model"
    )
    tools_denied = RefusalRow(
        400,
        INVALID,
        "tool_not_permitted",
        "The call asks for a tool that this tenant may not use.",
        param="tools",
    )
    tools_unreadable = RefusalRow(
        400,
        INVALID,
        "invalid_tools",
        "What the call offers the model cannot be told for certain: a field of it, or a key inside its tools, stands there twice "
        "or in another spelling, or there are more than 512 KiB of tools or 128 fields.",
        param="tools",
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
    provider_closed = RefusalRow(
        403,
        INVALID,
        "provider_not_allowed",
        "The provider that serves this model is not open to this tenant any more; the platform team decides on that.",
        param="model",
    )
    unknown_url = RefusalRow(404, INVALID, "unknown_url", "Unknown path.")
    model_not_found = RefusalRow(
        404, INVALID, "model_not_found", "The model does not exist.", param="model"
    )
    method_not_allowed = RefusalRow(
        405, INVALID, "method_not_allowed", "This path does not accept this method."
    )
    request_timeout = RefusalRow(
        408, INVALID, "request_timeout", "The request did not arrive in time."
    )
    payload_too_large = RefusalRow(
        413, INVALID, "payload_too_large", "The body is larger than this relay accepts."
    )
    uri_too_long = RefusalRow(
        414,
        INVALID,
        "uri_too_long",
        "The request target is too long, or its query has more than 100 parameters.",
    )
    unsupported_encoding = RefusalRow(
        415, INVALID, "unsupported_encoding", "Send the body without content-encoding."
    )
    unsupported_charset = RefusalRow(
        415,
        INVALID,
        "unsupported_charset",
        "Send the body in UTF-8, and name no other charset in content-type (RFC 8259, section 8.1).",
    )
    expectation_failed = RefusalRow(
        417, INVALID, "expectation_failed", "Only Expect: 100-continue is supported."
    )
    headers_too_large = RefusalRow(
        431, INVALID, "headers_too_large", "The request head is larger than this relay accepts."
    )
    internal_error = RefusalRow(
        500,
        SERVER,
        "internal_error",
        "The relay failed to handle this request; its log names the place.",
        # the provider may have been asked: a repetition might be paid twice
        retry=False,
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
    request_too_large = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "This request alone needs more tokens than the tenant may use in a minute; make it smaller.",
        retry=False,
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
    model_request_too_large = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "This request alone needs more tokens than the limit for this model allows in a minute; make it smaller.",
        retry=False,
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
    key_request_too_large = RefusalRow(
        429,
        "tokens",
        "rate_limit_exceeded",
        "This request alone needs more tokens than the limit for this API key allows in a minute; make it smaller.",
        retry=False,
    )
    provider_requests_limited = RefusalRow(
        429,
        "requests",
        "upstream_rate_limited",
        "The tenant's part of the provider's requests per minute is used up.",
    )
    provider_tokens_limited = RefusalRow(
        429,
        "tokens",
        "upstream_rate_limited",
        "The tenant's part of the provider's tokens per minute is used up.",
    )
    provider_request_too_large = RefusalRow(
        429,
        "tokens",
        "upstream_rate_limited",
        "This request alone needs more tokens than the tenant's part of the provider's tokens per minute; make it smaller.",
        retry=False,
    )
    provider_queue_full = RefusalRow(
        429,
        "requests",
        "upstream_rate_limited",
        "The tenant's part of the provider's quota is used up and too many calls wait for it.",
    )
    provider_queue_timeout = RefusalRow(
        429,
        "requests",
        "upstream_rate_limited",
        "The call waited for the maximum time for the tenant's part of the provider's quota.",
    )
    provider_queue_wait_too_long = RefusalRow(
        429,
        "requests",
        "upstream_rate_limited",
        "The expected wait for the tenant's part of the provider's quota exceeds the maximum wait.",
    )
    queue_full = RefusalRow(
        429,
        "requests",
        "queue_full",
        "Every seat of the tenant is in use and its queue has no place for this call.",
    )
    queue_timeout = RefusalRow(
        429, "requests", "queue_timeout", "The call waited in the queue for the maximum time."
    )
    queue_wait_too_long = RefusalRow(
        429,
        "requests",
        "queue_wait_too_long",
        "The expected wait in the tenant's queue exceeds the maximum wait.",
    )
    budget_spent = RefusalRow(429, QUOTA, QUOTA, "The tenant's budget is spent.", retry=False)
    credit_spent = RefusalRow(429, QUOTA, QUOTA, "The tenant's credit is spent.", retry=False)
    budget_pending = RefusalRow(
        429,
        "requests",
        "budget_pending",
        "The part of the tenant's budget that this relay pod holds does not cover the call; more was asked for.",
    )
    session_capped = RefusalRow(
        429, "requests", "session_limit_exceeded", "This session has reached its cap.", retry=False
    )
    model_unpriced = RefusalRow(
        503,
        SERVER,
        "model_unpriced",
        "This model has no price for the tenant, and calls without one are refused; the platform team has to act.",
        retry=False,
        param="model",
    )
    ledger_away = RefusalRow(
        503,
        SERVER,
        "ledger_unavailable",
        "What this relay may spend of the tenant's budget is used up, and the ledger does not answer.",
    )
    not_implemented = RefusalRow(
        501, SERVER, "not_implemented", "The relay does not know this HTTP method.", retry=False
    )
    version_not_supported = RefusalRow(
        505,
        SERVER,
        "version_not_supported",
        "Only HTTP/1.1 and HTTP/1.0 are supported.",
        retry=False,
    )
    not_ready = RefusalRow(503, SERVER, "relay_not_ready", "The relay has no configuration yet.")
    outbox_full = RefusalRow(
        503,
        SERVER,
        "usage_not_recorded",
        "The relay has no room to record what calls use, and is set to refuse them until it has. Try again shortly.",
    )
    overloaded = RefusalRow(
        503,
        SERVER,
        "relay_overloaded",
        "The relay has no memory left for a body of this size; smaller ones may still fit. Try again shortly.",
    )
    usage_question_invalid = RefusalRow(
        400,
        INVALID,
        "invalid_usage_question",
        "This cannot be asked of the tenant's use.",
    )
    usage_not_kept = RefusalRow(
        404,
        INVALID,
        "usage_not_kept",
        "This platform keeps no ledger, so there is nothing to tell of the tenant's use.",
        retry=False,
    )
    usage_busy = RefusalRow(
        429,
        "requests",
        "rate_limit_exceeded",
        "The tenant's use is asked for too often; keep what was answered, and ask less.",
    )
    usage_unavailable = RefusalRow(
        503,
        SERVER,
        "usage_unavailable",
        "The ledger does not answer now. Calls are served all the same; ask again later.",
    )
    upstream_key_missing = RefusalRow(
        503,
        SERVER,
        "upstream_key_missing",
        "The relay lacks what the provider is to be shown: its key, certificate or proxy credentials.",
        retry=False,
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
    upstream_unpaid = RefusalRow(
        502,
        SERVER,
        "upstream_payment_required",
        "The provider wants payment for the relay's account; the platform team has to act.",
        retry=False,
    )
    upstream_redirected = RefusalRow(
        502,
        SERVER,
        "upstream_invalid",
        "The provider answered with a redirect, which the relay does not follow.",
    )
    upstream_invalid = RefusalRow(
        502, SERVER, "upstream_invalid", "The provider's answer is not valid HTTP/1.1."
    )
    upstream_unusable = RefusalRow(
        502,
        SERVER,
        "upstream_invalid",
        "The provider answered with success, but without an answer to this call.",
    )
    tool_call_denied = RefusalRow(
        502,
        SERVER,
        "tool_not_permitted",
        "The model called a tool that this tenant may not use, or in a way that cannot be read for certain; its answer ends there.",
        # whoever repeats the call pays for it again
        retry=False,
    )
    upstream_reset = RefusalRow(
        502,
        SERVER,
        "upstream_truncated",
        "The provider closed the connection before it answered.",
    )
    upstream_truncated = RefusalRow(
        502,
        SERVER,
        "upstream_truncated",
        "The provider's answer ended before it was complete.",
        # whoever repeats the call pays for it again
        retry=False,
    )
    upstream_timeout = RefusalRow(
        504,
        SERVER,
        "upstream_timeout",
        "The provider sent nothing for longer than the relay waits. It may have processed the call.",
        # a client library would repeat the call of itself, and each repetition may be paid
        retry=False,
    )


def error_body(*, message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """Returns the OpenAI error object as JSON."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def stream_error(refusal: Refusal, *, responses_api: bool, sequence_number: int) -> bytes:
    """Returns the event that ends a stream of either API early; the official SDKs raise on both shapes.

    sequence_number is that of the Responses API, where each event has one.
    """
    row = refusal.value
    if not responses_api:
        return b"data: " + refusal_body(refusal, None) + b"\n\n"
    event = {
        "type": "error",
        "code": row.code,
        "message": row.message,
        "param": None,
        "sequence_number": sequence_number,
    }
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"


def refusal_body(refusal: Refusal, message: str | None = None) -> bytes:
    """Returns the refusal's JSON; message replaces the table's where more is known."""
    row = refusal.value
    return error_body(message=message or row.message, kind=row.type, code=row.code, param=row.param)
