"""Passes a provider's error on to the caller."""

from typing import Any, Final

import orjson

from relay.calls import own_responses
from relay.calls.attempts.attempt import Attempt
from relay.dialect.answers.error_report import ErrorReport
from relay.dialect.refusals import INVALID, SERVER, error_body

PassedOnError = tuple[int, bytes, bytes]
"""Status, header fields and body for the caller."""
_RETRY_FIELDS: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})


def passed_on(attempt: Attempt) -> PassedOnError:
    """Returns an error answer for the caller; a body without an error object is replaced by ours."""
    status = attempt.status
    body = attempt.answer.body() if attempt.answer is not None else b""
    if not _is_error_shape(body):
        message = f"The provider answered {status} without an error this relay can pass on."
        body = error_body(message=message, kind=SERVER, code="upstream_error")
        status = 502 if status >= 500 and status != 503 else status
    return status, _fields(attempt, status), body


def made_of(attempt: Attempt, error: ErrorReport) -> PassedOnError:
    """Returns what an error would have been under its own status, that was reported under a status of success.

    The provider's words stay: clients go by them. Its own failures become 502, as the relay stands between.
    """
    status = error.status
    if not error.is_callers and not error.unprocessed:
        status = 502
    details: dict[str, Any] = {
        "message": error.message or "The provider reported an error without a message.",
        "type": INVALID if error.is_callers else SERVER,
        "param": None,
        "code": "upstream_error",
    }
    if error.message:
        details |= {name: error.details[name] for name in details if name in error.details}
    return status, _fields(attempt, status), orjson.dumps({"error": details})


def _fields(attempt: Attempt, status: int) -> bytes:
    ids = own_responses.upstream_id_field(attempt.upstream_request_id)
    return own_responses.JSON + _retry_lines(attempt, status) + ids


def _is_error_shape(body: bytes) -> bool:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _retry_lines(attempt: Attempt, status: int) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in attempt.headers if field[0] in _RETRY_FIELDS]
    if not lines and status == 429:
        # the provider named no time; one second keeps clients from coming back at once
        lines.append(b"retry-after: 1\r\n")
    return b"".join(lines)
