"""Passes a provider's error answer on to the caller."""

from typing import Final

import orjson

from relay.calls import own_responses
from relay.calls.attempts.attempt import Attempt
from relay.dialect.refusals import error_body

MAX_ERROR_BYTES: Final = 64 * 1024
"""An error answer is read whole before it is passed on, up to this."""
_RETRY_FIELDS: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})


def passed_on(attempt: Attempt, body: bytes) -> tuple[int, bytes, bytes]:
    """Returns status, header fields and body for the caller; a body without an error object is replaced by ours."""
    status = attempt.status
    ids = own_responses.upstream_id_field(attempt.upstream_request_id)
    fields = own_responses.JSON + _retry_lines(attempt) + ids
    if not _is_error_shape(body):
        message = f"The provider answered {status} without an error this relay can pass on."
        body = error_body(message=message, kind="server_error", code="upstream_error")
        status = 502 if status >= 500 and status != 503 else status
    return status, fields, body


def _is_error_shape(body: bytes) -> bool:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _retry_lines(attempt: Attempt) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in attempt.headers if field[0] in _RETRY_FIELDS]
    if not lines and attempt.status == 429:
        # the provider named no time; one second keeps clients from coming back at once
        lines.append(b"retry-after: 1\r\n")
    return b"".join(lines)
