"""Reasons for which the queue or a limit does not admit a call."""

from dataclasses import dataclass
from enum import StrEnum


class NotAdmittedReason(StrEnum):
    """The limit or queue that refused. relay.calls.refusal_of maps every member to the answer that the caller gets."""

    TENANT_REQUESTS = "tenant_requests"
    TENANT_TOKENS = "tenant_tokens"
    TENANT_REQUEST_TOO_LARGE = "tenant_request_too_large"
    MODEL_REQUESTS = "model_requests"
    MODEL_TOKENS = "model_tokens"
    MODEL_REQUEST_TOO_LARGE = "model_request_too_large"
    KEY_REQUESTS = "key_requests"
    KEY_TOKENS = "key_tokens"
    KEY_REQUEST_TOO_LARGE = "key_request_too_large"
    PROVIDER_REQUESTS = "provider_requests"
    PROVIDER_TOKENS = "provider_tokens"
    PROVIDER_REQUEST_TOO_LARGE = "provider_request_too_large"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    QUEUE_WAIT_TOO_LONG = "queue_wait_too_long"
    PROVIDER_QUEUE_FULL = "provider_queue_full"
    PROVIDER_QUEUE_TIMEOUT = "provider_queue_timeout"
    PROVIDER_QUEUE_WAIT_TOO_LONG = "provider_queue_wait_too_long"


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """The refusal of a call, for which nothing was charged.

    retry_after_seconds is the computed time after which the same call would be admitted if nothing else arrived. With
    waiting_helps False no wait makes the call fit and retry_after_seconds is 0.
    """

    reason: NotAdmittedReason
    retry_after_seconds: float
    waiting_helps: bool = True
