"""Passes a provider's error on to the caller."""

from typing import Any, Final

import orjson

from relay.calls import own_responses
from relay.calls.attempts.attempt import Attempt
from relay.dialect.answers import error_shape
from relay.dialect.answers.answer_content import decoded
from relay.dialect.answers.error_report import OVERLOADED, TIMEOUTS, ErrorReport
from relay.dialect.answers.hidden_secret import without_secret
from relay.dialect.refusals import INVALID, SERVER, error_body

PassedOnError = tuple[int, bytes, bytes]
"""Status, header fields and body for the caller."""
_RETRY_FIELDS: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})


def passed_on(attempt: Attempt) -> PassedOnError:
    """Returns an error answer for the caller: byte for byte where it has the caller's shape, else its words in that shape.

    A body without words is replaced by ours.
    """
    status = attempt.status
    body = attempt.answer.body() if attempt.answer is not None else b""
    document = decoded(body)
    if not error_shape.has_openai_shape(document):
        error = error_shape.error_object(document, status=status)
        if error is not None:
            body = _rendered(error)
        elif not error_shape.has_error_object(document):
            body, status = _without_words(attempt, body, status)
    return (
        status,
        _fields(attempt, status, said=attempt.status),
        without_secret(attempt.credential, body),
    )


def made_of(attempt: Attempt, error: ErrorReport) -> PassedOnError:
    """Returns what an error would have been under its own status, that was reported under a status of success.

    The provider's words stay: clients go by them. Its own failures become 502, as the relay stands between.
    """
    status = error.status
    if not error.is_callers and not error.unprocessed:
        status = 502
    words = error_shape.text_of(error.details)
    details: dict[str, Any] = {
        "message": words or "The provider reported an error without a message.",
        "type": INVALID if error.is_callers else SERVER,
        "param": None,
        "code": "upstream_error",
    }
    if error.message:
        details |= {name: error.details[name] for name in details if name in error.details}
    if details["type"] == "error":
        # the name of an event, and of no kind of error
        details["type"] = INVALID if error.is_callers else SERVER
    body = without_secret(attempt.credential, _rendered(details))
    return status, _fields(attempt, status, said=error.status), body


def _rendered(details: dict[str, Any]) -> bytes:
    """Renders the error; what JSON in UTF-8 cannot hold, or not that deep, is left out of it."""
    try:
        return orjson.dumps({"error": details})
    except orjson.JSONEncodeError:
        return orjson.dumps({"error": {name: _plain(value) for name, value in details.items()}})


def _plain(value: object) -> str | None:
    """Returns a text or number as text, without halves of surrogate pairs."""
    if not isinstance(value, str | int | float):
        return None
    return str(value).encode(errors="replace").decode()


def _without_words(attempt: Attempt, body: bytes, status: int) -> tuple[bytes, int]:
    """Returns a body and a status in place of an error that holds no JSON, or none that says anything."""
    text = _plain_text(attempt, body)
    message = text or f"The provider answered {status} without an error this relay can pass on."
    passed = status if status < 500 or status in OVERLOADED else 502
    return error_body(message=message, kind=SERVER, code="upstream_error"), passed


def _plain_text(attempt: Attempt, body: bytes) -> str:
    """Returns the text of an error that is plain text, as proxies in front of providers send it."""
    media_types = [value for name, value in attempt.headers if name == b"content-type"]
    if not media_types or not media_types[0].lower().startswith(b"text/plain"):
        return ""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError:
        return ""
    return "" if text.startswith("<") else error_shape.bounded(text)


def _fields(attempt: Attempt, status: int, *, said: int) -> bytes:
    ids = own_responses.upstream_id_field(attempt.upstream_request_id).encode()
    return own_responses.JSON + _retry_lines(attempt, status, said) + ids


def _retry_lines(attempt: Attempt, status: int, said: int) -> bytes:
    """Renders what the provider said about trying again; said is the status that it gave.

    A client library would repeat a call that timed out of itself, and each repetition may be paid.
    """
    found = [field for field in attempt.headers if field[0] in _RETRY_FIELDS]
    lines = [b"%b: %b\r\n" % field for field in found]
    if not lines and status == 429:
        # the provider named no time; one second keeps clients from coming back at once
        lines.append(b"retry-after: 1\r\n")
    if said in TIMEOUTS and all(name != b"x-should-retry" for name, _ in found):
        lines.append(own_responses.NO_RETRY)
    return b"".join(lines)
