"""Judges how an attempt ended: what the side did, what its quota did, and what the caller did are kept apart."""

from typing import Final, Literal

from relay.accounting.usage_event import Outcome
from relay.dialect.answers.error_report import OF_THE_SIDE, QUOTA, ErrorReport
from relay.dialect.answers.event_stream import SseScan
from relay.dialect.endpoints import Endpoint
from relay.http.upstream import Fault

Trouble = Fault | Literal["no_key"]
"""A fault, or the relay's own lack of the provider's key."""

TROUBLE_OUTCOMES: Final[dict[Trouble, Outcome]] = {
    "no_key": "no_key",
    "unreachable": "unreachable",
    "undelivered": "unreachable",
    "timeout": "timeout",
    "reset": "failed",
    "truncated": "truncated",
    "invalid": "invalid",
}

_STORED: Final = (
    b'"previous_response_id"',
    b'"conversation"',
    b'"item_reference"',
    b'"file_id"',
    b'"file_ids"',
    b'"vector_store_ids"',
    b'"container"',
)
"""Fields and values by which a call names something that is stored at the provider."""


def judge_status(
    status: int, error: ErrorReport | None, *, endpoint: Endpoint, call_body: bytes
) -> Outcome:
    """Judges an answer that is no success, by its status and by what its body says.

    The caller has no account with the provider and does not choose the model there or the path: 401 to 404 are the side's
    doing, unless what was not found is something stored that the call names.
    """
    if status < 400:
        return "invalid"
    if status == QUOTA:
        return "throttled"
    if status >= 500:
        return "failed"
    if error is not None and (error.callers_content or error.names_side):
        return "client_error" if error.callers_content else "failed"
    if status == 404 and _names_stored(endpoint, call_body):
        return "client_error"
    return "failed" if status in OF_THE_SIDE else "client_error"


def judge_error(error: ErrorReport) -> Outcome:
    """Judges an error that was reported under a status of success."""
    if error.is_callers:
        return "client_error"
    return "throttled" if error.status == QUOTA else "failed"


def judge_stream(stream: SseScan, *, asked_for: bool) -> Outcome:
    """Judges a stream of events whose HTTP message is whole; who asked for a document finds none in it."""
    if stream.garbage:
        return "invalid"
    if stream.error is not None:
        return judge_error(stream.error)
    if not stream.whole:
        return "truncated"
    return "ok" if stream.begun and asked_for else "invalid"


def _names_stored(endpoint: Endpoint, call_body: bytes) -> bool:
    if endpoint is Endpoint.RESPONSES and b'"prompt"' in call_body:
        return True
    return any(name in call_body for name in _STORED)
