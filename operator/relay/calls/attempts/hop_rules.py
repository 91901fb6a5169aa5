"""Says after which attempts a call may be tried at the next target of its route.

Without being asked the relay goes on only where the provider did not process the call: nobody is to pay for it twice. What a
provider's retryOn names is tried again at the risk of who set it. Whether anything of the answer has reached the caller,
after which nothing is tried again, is not known here.
"""

from typing import Final

from relay.calls.attempts.attempt import Attempt
from relay.calls.attempts.attempt_outcome import Trouble
from relay.dialect.answers.error_report import OF_THE_SIDE, TIMEOUTS, UNPROCESSED, ErrorReport
from relay_contract.document import Failure

UNPROCESSED_TROUBLES: Final[frozenset[Trouble]] = frozenset(
    {"unreachable", "undelivered", "no_key"}
)
_FAILURE_OF: Final[dict[Trouble, Failure]] = {
    "timeout": "Timeout",
    "reset": "Disconnect",
    "truncated": "Disconnect",
    "invalid": "InvalidAnswer",
}
REQUEST_TIMEOUT: Final = 408
_LACKS: Final = OF_THE_SIDE - {REQUEST_TIMEOUT}
"""A provider lacks an account in order, the model or the path. After a timeout it may have processed the call."""


PAID_REASONS: Final = frozenset({"timeout", "truncated", *map(str, TIMEOUTS)})
"""Troubles and statuses after which the call may have been processed, and be paid, by the target that it left."""


def goes_on_after_trouble(attempt: Attempt, trouble: Trouble) -> bool:
    """Says if the call goes on after an attempt without a whole answer."""
    return trouble in UNPROCESSED_TROUBLES or _is_named(attempt, _FAILURE_OF[trouble])


def goes_on_after_error(attempt: Attempt) -> bool:
    """Says if the call goes on after an answer with a status of failure."""
    error = attempt.answer.error if attempt.answer is not None else None
    return _goes_on(attempt, attempt.status, error)


def goes_on_after_unusable(attempt: Attempt) -> bool:
    """Says if the call goes on after an answer under a status of success that holds nothing for the caller."""
    error = attempt.answer.error if attempt.answer is not None else None
    if error is not None:
        return _goes_on(attempt, error.status, error)
    broken_off = attempt.outcome == "truncated"
    return _is_named(attempt, "Disconnect" if broken_off else "InvalidAnswer")


def _goes_on(attempt: Attempt, status: int, error: ErrorReport | None) -> bool:
    destination = attempt.target.destination
    if status in UNPROCESSED or status in destination.upstream.retry_statuses:
        return True
    if destination.label == "canary" and _is_the_canarys_lack(attempt, status, error):
        return True
    return status < 400 and _is_named(attempt, "InvalidAnswer")


def _is_the_canarys_lack(attempt: Attempt, status: int, error: ErrorReport | None) -> bool:
    """Says if the canary refused the call for want of what stable may have; a redirect says that its API is elsewhere."""
    if attempt.outcome == "client_error":
        return False
    return status in _LACKS or status < 400 or (error is not None and error.names_side)


def _is_named(attempt: Attempt, failure: Failure) -> bool:
    return failure in attempt.target.destination.upstream.retry_failures
