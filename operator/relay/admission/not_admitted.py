"""The one way in which queue and limits say no."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """A call was turned away and nothing was charged for it.

    reason is stable and names what refused (queue_full, tenant_requests, model_tokens, ...); the relay's table of
    refusals maps it to status and code. retry_after_seconds is the computed time after which the same call would
    be admitted if nothing else arrived; jitter is the caller's. With waiting_helps False no wait makes the call fit
    and retry_after_seconds is 0.
    """

    reason: str
    retry_after_seconds: float
    waiting_helps: bool = True
