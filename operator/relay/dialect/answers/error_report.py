"""What a provider says went wrong, in an error answer, inside a 200 or inside a stream, and whose doing it is.

Providers disagree on the shape: OpenAI and Anthropic send `error` with a type or a code in words, vLLM a flat object with a
number, Gemini a list with the words of gRPC, OpenRouter an error within a choice.
"""

import re
from typing import Any, Final

QUOTA: Final = 429
OVERLOADED: Final = frozenset({503, 529})
"""With these a provider says that it did not take the call for want of capacity."""
UNPROCESSED: Final = OVERLOADED | {QUOTA}
"""With these a provider says that it did not take the call."""
SERVER_ERROR: Final = 500
TIMEOUTS: Final = frozenset({408, 504, 524})
"""With these a provider, or a proxy in front of it, says that the answer took too long; the call may have been processed."""

CREDENTIAL: Final = frozenset({401, 402, 403, 407})
"""The relay's own account with the provider is refused: the caller has none."""
OF_THE_SIDE: Final = CREDENTIAL | {404, 405, 408, 410, 411, 417, 421, 425, 426}
"""4xx that say the provider, its model, its path or the relay's account are not right. The caller chooses none of them."""

_STATUS_OF_WORD: Final = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "bad_request": 400,
    "bad_request_error": 400,
    "badrequesterror": 400,
    "badrequest": 400,
    "invalid_argument": 400,
    "client specified an invalid argument": 400,
    "validationexception": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "validation_error": 400,
    "validation": 422,
    "content_filter": 400,
    "content_policy_violation": 400,
    "responsibleaipolicyviolation": 400,
    "context_length_exceeded": 400,
    "string_above_max_length": 400,
    "request_too_large": 413,
    "unprocessable_entity": 422,
    "unprocessableentityerror": 422,
    "authentication_error": 401,
    "authenticationerror": 401,
    "account_deactivated": 401,
    "invalid_organization": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "unauthorized": 401,
    "billing_error": 402,
    "payment_required": 402,
    "billing_hard_limit_reached": 402,
    "billing_not_active": 402,
    "insufficient_balance": 402,
    "insufficient_credits": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "permissiondeniederror": 403,
    "accessdeniedexception": 403,
    "forbidden": 403,
    "unsupported_country_region_territory": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "not_found": 404,
    "model_not_found": 404,
    "model_not_available": 404,
    "deploymentnotfound": 404,
    "resourcenotfoundexception": 404,
    "rate_limit_exceeded": QUOTA,
    "rate_limit_error": QUOTA,
    "ratelimiterror": QUOTA,
    "too_many_requests": QUOTA,
    "resource_exhausted": QUOTA,
    "throttlingexception": QUOTA,
    "servicequotaexceededexception": QUOTA,
    "insufficient_quota": QUOTA,
    "requests": QUOTA,
    "tokens": QUOTA,
    "overloaded_error": 503,
    "overloaded": 503,
    "engine_overloaded": 503,
    "engine_overloaded_error": 503,
    "server_overloaded": 503,
    "model_overloaded": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "serviceunavailableerror": 503,
    "unavailable": 503,
    "serviceunavailableexception": 503,
    "modelnotreadyexception": 503,
    "timeout": 504,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "modeltimeoutexception": 504,
}
"""Types and codes in words, in lower case; what is not listed is the provider's own failure."""
_CALLERS_PREFIXES: Final = (
    "invalid_",
    "image_",
    "unsupported_",
    "empty_image",
    "failed_to_download",
)
"""Codes of the Responses API for input that cannot be used, such as invalid_prompt and image_too_large."""
_NAMED_MODEL: Final = frozenset({"model_not_found", "model_not_available", "deploymentnotfound"})
_STATUS: Final = re.compile(r"[45][0-9]{2}(?![^ :-])")
_NUMBERS: Final = ("code", "status", "status_code", "http_code", "http_status")
_WORDS: Final = ("code", "type", "status", "error_type")


class ErrorReport:
    """An error as its provider reports it.

    status is the HTTP status that would say the same, 500 where nothing tells. details is the error's own object, around
    what it stands in.
    callers_content says that the caller's content was refused, whatever the status; names_side that the provider does not
    have the model or refuses the relay's account.
    """

    __slots__ = ("callers_content", "details", "message", "names_side", "status")

    def __init__(self, details: dict[str, Any], around: dict[str, Any]) -> None:
        self.details = details
        message = details.get("message")
        self.message = message if isinstance(message, str) else ""
        words = _words(details) or _words(around)
        self.names_side = any(
            word in _NAMED_MODEL or _STATUS_OF_WORD.get(word) in CREDENTIAL for word in words
        )
        metadata = details.get("metadata")
        self.callers_content = isinstance(metadata, dict) and "flagged_input" in metadata
        self.status = _number(details) or _number(around) or _status_of(words)

    @property
    def is_callers(self) -> bool:
        """True if the caller made the mistake."""
        if self.callers_content or self.names_side:
            return self.callers_content
        return 400 <= self.status < 500 and self.status != QUOTA and self.status not in OF_THE_SIDE

    @property
    def unprocessed(self) -> bool:
        """True if it says that the call was not taken."""
        return self.status in UNPROCESSED


def read_error(document: object, *, event: bytes = b"") -> ErrorReport | None:
    """Returns the error that a decoded answer or event reports, None if it reports none.

    event is the name of the event in its stream.
    """
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return ErrorReport({}, {}) if event == b"error" else None
    error = _error_in(document)
    if error is None and (
        event == b"error" or document.get("type") == "error" or document.get("object") == "error"
    ):
        error = document
    return None if error is None else ErrorReport(_details(error, document), document)


def _error_in(document: dict[str, Any]) -> object:
    """Returns what a document has for an error, empty where it only says that it ended with one; None without any."""
    error = document.get("error")
    if isinstance(error, dict) and not any(error.values()):
        # some fill in the object in every answer
        error = {}
    if error is None and document.get("type") == "response.failed":
        response = document.get("response")
        return (response.get("error") if isinstance(response, dict) else None) or {}
    if error:
        return error
    if document.get("object") == "response" and document.get("status") == "failed":
        return {}
    return _error_of_choice(document.get("choices"))


def _details(error: object, document: dict[str, Any]) -> dict[str, Any]:
    """Returns an error's own object. A text is its message, a list has no words of its own, and what else stands for an
    error only says that there is one, perhaps with its status.
    """
    if isinstance(error, dict):
        return error
    if isinstance(error, str | list):
        return {"message": error if isinstance(error, str) else ""}
    return {**document, "status_code": error}


def _error_of_choice(choices: object) -> object:
    """Returns the error within a choice; an empty one where a choice only says that it ended with one."""
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict):
            if choice.get("error"):
                return choice["error"]
            if choice.get("finish_reason") == "error":
                return {}
    return None


def _words(details: dict[str, Any]) -> list[str]:
    return [word.lower() for name in _WORDS if isinstance(word := details.get(name), str)]


def _number(details: dict[str, Any]) -> int:
    """Returns the HTTP status among the fields, as a number or as text, perhaps with its phrase; 0 without one."""
    for name in _NUMBERS:
        value = details.get(name)
        if isinstance(value, str) and _STATUS.match(value) is not None:
            value = int(value[:3])
        if type(value) is int and 400 <= value < 600:
            return value
    return 0


def _status_of(words: list[str]) -> int:
    for word in words:
        status = _STATUS_OF_WORD.get(word)
        if status is not None:
            return status
        if word.startswith(_CALLERS_PREFIXES) and "server" not in word:
            return 400
    return SERVER_ERROR
