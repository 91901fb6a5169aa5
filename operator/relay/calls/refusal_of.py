"""Tables from the reasons of admission, the problems of HTTP and the troubles of attempts to refusals.

A test proves them total.
"""

from typing import Final

from relay.accounting.usage_event import Outcome
from relay.admission.not_admitted import NotAdmittedReason
from relay.calls.attempts.attempt_outcome import Trouble
from relay.dialect.refusals import Refusal
from relay.http.problem import Problem

REFUSAL_OF: Final = {
    NotAdmittedReason.TENANT_REQUESTS: Refusal.requests_limited,
    NotAdmittedReason.TENANT_TOKENS: Refusal.tokens_limited,
    NotAdmittedReason.TENANT_REQUEST_TOO_LARGE: Refusal.request_too_large,
    NotAdmittedReason.MODEL_REQUESTS: Refusal.model_requests_limited,
    NotAdmittedReason.MODEL_TOKENS: Refusal.model_tokens_limited,
    NotAdmittedReason.MODEL_REQUEST_TOO_LARGE: Refusal.model_request_too_large,
    NotAdmittedReason.KEY_REQUESTS: Refusal.key_requests_limited,
    NotAdmittedReason.KEY_TOKENS: Refusal.key_tokens_limited,
    NotAdmittedReason.KEY_REQUEST_TOO_LARGE: Refusal.key_request_too_large,
    NotAdmittedReason.PROVIDER_REQUESTS: Refusal.provider_requests_limited,
    NotAdmittedReason.PROVIDER_TOKENS: Refusal.provider_tokens_limited,
    NotAdmittedReason.PROVIDER_REQUEST_TOO_LARGE: Refusal.provider_request_too_large,
    NotAdmittedReason.QUEUE_FULL: Refusal.queue_full,
    NotAdmittedReason.QUEUE_TIMEOUT: Refusal.queue_timeout,
    NotAdmittedReason.QUEUE_WAIT_TOO_LONG: Refusal.queue_wait_too_long,
    NotAdmittedReason.PROVIDER_QUEUE_FULL: Refusal.provider_queue_full,
    NotAdmittedReason.PROVIDER_QUEUE_TIMEOUT: Refusal.provider_queue_timeout,
    NotAdmittedReason.PROVIDER_QUEUE_WAIT_TOO_LONG: Refusal.provider_queue_wait_too_long,
}

PROBLEM_REFUSAL: Final = {
    Problem.BAD_REQUEST: Refusal.bad_request,
    Problem.VERSION_NOT_SUPPORTED: Refusal.version_not_supported,
    Problem.METHOD_UNKNOWN: Refusal.not_implemented,
    Problem.METHOD_NOT_ALLOWED: Refusal.method_not_allowed,
    Problem.URI_TOO_LONG: Refusal.uri_too_long,
    Problem.HEADERS_TOO_LARGE: Refusal.headers_too_large,
    Problem.BODY_TOO_LARGE: Refusal.payload_too_large,
    Problem.BODY_MEMORY_FULL: Refusal.overloaded,
    Problem.TIMEOUT: Refusal.request_timeout,
}

PROBLEM_RETRY_SECONDS: Final = {Problem.BODY_MEMORY_FULL: 1.0}
"""When it helps to try again; the other problems stay."""

TROUBLE_REFUSAL: Final[dict[Trouble, Refusal]] = {
    "no_key": Refusal.upstream_key_missing,
    "unreachable": Refusal.upstream_unreachable,
    "undelivered": Refusal.upstream_unreachable,
    "timeout": Refusal.upstream_timeout,
    "reset": Refusal.upstream_reset,
    "truncated": Refusal.upstream_truncated,
    "invalid": Refusal.upstream_invalid,
}

CREDENTIAL_REFUSAL: Final = {
    401: Refusal.upstream_unauthorized,
    402: Refusal.upstream_unpaid,
    403: Refusal.upstream_unauthorized,
    407: Refusal.upstream_unauthorized,
}
"""Statuses by which a provider refuses the relay's account; they would tell a caller that its own key is wrong."""
UNUSABLE_REFUSAL: Final[dict[Outcome, Refusal]] = {"truncated": Refusal.upstream_truncated}
"""Answers without an error in them that hold nothing; those that are not listed are unusable."""

BROKEN_STREAM_REFUSAL: Final[dict[Outcome, Refusal]] = {
    "truncated": Refusal.upstream_truncated,
    "invalid": Refusal.upstream_unusable,
}
"""Streams of events that must not end like whole ones."""
