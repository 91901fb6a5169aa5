"""What the answer to a preflight's call shows: that the canary can be used, or why not, in words for a person."""

import re
from dataclasses import dataclass
from typing import Final

from relay.calls.attempts.attempt import Attempt
from relay.calls.attempts.attempt_outcome import Trouble
from relay.calls.preflight.questions import Question
from relay.dialect.answers import error_shape
from relay.dialect.answers.answer_content import decoded
from relay.dialect.answers.error_report import QUOTA
from relay_contract.preflight import MAX_PREFLIGHT_MESSAGE, PreflightReason

MAX_WORDS: Final = 200
"""Characters of a provider's own words that are passed on."""
_LEAST_SECRET_CHARACTERS: Final = 8
_TELLING_CHARACTERS: Final = 6
"""Providers that name the key they got show its ends."""
_HIDDEN: Final = "[hidden]"
_STARS: Final = "**"
_BLANKS: Final = re.compile(r"(\s+)")
_MODEL_CODES: Final = frozenset({"model_not_found", "model_not_available", "deploymentnotfound"})
_MODEL_WORDS: Final = re.compile(
    r"\b(model|deployment)\b.{0,160}(not exist|not found|not available|unknown|not supported)"
    r"|(invalid|unknown|unsupported|no such) (model|deployment)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The end of one call. reason is empty where it passed; status and words are what the provider said, 0 if nothing."""

    reason: PreflightReason
    message: str = ""
    status: int = 0
    words: str = ""


PASSED: Final = Finding("")


def finding(reason: PreflightReason, message: str, *, status: int = 0, words: str = "") -> Finding:
    """Returns a finding whose message is on one line and not too long."""
    return Finding(reason, one_line(message)[:MAX_PREFLIGHT_MESSAGE], status, words)


def of_trouble(
    attempt: Attempt, trouble: Trouble, question: Question, *, why: str, seconds: float
) -> Finding:
    """Tells of an attempt without a whole answer. why is the last error in reaching the provider, seconds its time limit."""
    provider, asked = attempt.target.provider, _asked(attempt, question)
    if trouble == "no_key":
        message = (
            f"the key of provider {provider}, its client certificate or its proxy's credentials are not in the relay "
            "pod (yet); no call was sent"
        )
        return finding("Unauthorized", message)
    if trouble in ("unreachable", "undelivered"):
        words = (
            without_secret(why, attempt.credential)[:MAX_WORDS]
            or "the connection ended before the call was sent"
        )
        return finding("Unreachable", f"provider {provider} cannot be reached: {words}")
    began = attempt.first_byte_at > 0
    unfinished: PreflightReason = "NoStream" if question.stream else "NoAnswer"
    if trouble == "timeout":
        what = "did not end its answer to" if began else "did not answer"
        message = f"provider {provider} {what} {asked} within {seconds:g} s"
        return finding(unfinished if began else "Unreachable", message)
    if trouble == "invalid":
        return finding("NoAnswer", f"provider {provider} answered {asked} with what is no HTTP")
    message = f"provider {provider} closed the connection in place of an answer to {asked}"
    if began:
        message = f"provider {provider} closed the connection within its answer to {asked}"
    return finding(unfinished if began else "Unreachable", message)


def of_answer(attempt: Attempt, question: Question) -> Finding:
    """Tells of an attempt with a whole answer."""
    answer = attempt.answer
    assert answer is not None
    # a stream that nobody can read is none
    if attempt.outcome == "ok" and (not question.stream or answer.stream is not None):
        return PASSED
    error = answer.error
    reported = attempt.status < 300 and error is not None
    if attempt.status < 400 and not reported:
        return _of_unusable(attempt, question)
    words = without_secret(_words(attempt), attempt.credential)
    status = error.status if reported and error is not None else attempt.status
    reason = _reason(attempt, status, words, question)
    said = f"{attempt.status} with an error" if reported else str(attempt.status)
    message = f"provider {attempt.target.provider} answered {said} to {_asked(attempt, question)}"
    if words:
        message = f"{message}: {one_line(words)[:MAX_WORDS]}"
    elif reason == "ModelUnknown":
        message += " and did not say what it knows nothing of; look at the path of the Provider's URL as well"
    return finding(reason, message, status=status, words=words)


def _of_unusable(attempt: Attempt, question: Question) -> Finding:
    """Tells of a success, or a redirection, that holds no answer."""
    answer = attempt.answer
    message = f"provider {attempt.target.provider} answered {attempt.status} to {_asked(attempt, question)}"
    if question.stream:
        cut = answer is not None and answer.stream is not None and attempt.outcome == "truncated"
        ending = ", and its stream ended early" if cut else ", and not with a stream of events"
        return finding("NoStream", message + ending)
    media_types = [value for name, value in attempt.headers if name == b"content-type"]
    kind = media_types[0].decode("latin-1")[:64] if media_types else "no media type"
    return finding("NoAnswer", f"{message} ({kind}), and nothing in it is an answer")


def _reason(attempt: Attempt, status: int, words: str, question: Question) -> PreflightReason:
    if status == QUOTA:
        return "Throttled"
    if status in (404, 410) or _names_model(attempt, status, words):
        return "ModelUnknown"
    if status in (401, 403, 407):
        return "Unauthorized"
    if status >= 500:
        return "ServerError"
    # the same call without a stream has just been answered
    return "NoStream" if question.stream else "Refused"


def _names_model(attempt: Attempt, status: int, words: str) -> bool:
    error = attempt.answer.error if attempt.answer is not None else None
    codes = [error.details.get(name) for name in ("code", "type")] if error is not None else []
    if any(isinstance(code, str) and code.lower() in _MODEL_CODES for code in codes):
        return True
    return status in (400, 422) and _MODEL_WORDS.search(words) is not None


def _asked(attempt: Attempt, question: Question) -> str:
    kind = "small streamed call" if question.stream else "small call"
    return f"a {kind} of model {attempt.target.model} ({question.endpoint})"


def _words(attempt: Attempt) -> str:
    """Returns the provider's own words: those of its JSON, or a plain text; a page of HTML says nothing."""
    answer = attempt.answer
    assert answer is not None
    if answer.stream is not None:
        return answer.error.message if answer.error is not None else ""
    body = answer.body()
    words = error_shape.text_of(decoded(body))
    if words or body.lstrip().startswith((b"<", b"{", b"[")):
        return words
    return error_shape.bounded(body.decode(errors="replace").strip())


def without_secret(text: str, credential: bytes) -> str:
    """Returns the beginning of the text without the provider's key, and what a provider shows of it, such as its ends.

    Takes linear time: the text is the provider's, and the worker's calls wait meanwhile.
    """
    text = error_shape.bounded(text)
    secret = credential.decode("latin-1")
    if len(secret) >= _LEAST_SECRET_CHARACTERS:
        for part in (secret, secret[:_TELLING_CHARACTERS], secret[-_TELLING_CHARACTERS:]):
            text = text.replace(part, _HIDDEN)
    words = [_HIDDEN if _STARS in word or _HIDDEN in word else word for word in _BLANKS.split(text)]
    return "".join(words)


def one_line(text: str) -> str:
    """Returns the text with one space where it has blanks or characters that do not print."""
    printable = "".join(
        character if character.isprintable() else " "
        for character in text.encode(errors="replace").decode()
    )
    return " ".join(printable.split())
