"""Requests for a tenant's own use, which the ledger answers."""

import time
from abc import abstractmethod
from typing import Any, Final

import orjson

from relay.calls import own_responses
from relay.calls.ledger.ledger_question import NO_ANSWER, OK, LedgerAnswer, LedgerQuestion
from relay.calls.own_request import TenantRequest
from relay.calls.own_responses import JSON
from relay.calls.tenants.caller import Caller
from relay.dialect.refusals import Refusal
from relay_contract.billing.usage_reading import (
    CREDIT_PATH,
    MAX_QUESTION_BYTES,
    USAGE_ALERTS_PATH,
    USAGE_HISTORY_PATH,
    USAGE_REPORT_PATH,
)

USAGE_SECONDS: Final = 5.0
CREDIT_SECONDS: Final = 1.0
"""Who asks who it is waits no longer for its credit."""
MAX_QUERY_BYTES: Final = 512
_MAX_MESSAGE: Final = 500
_BUDGET_FIGURES: Final = ("period", "limit", "spent", "remaining", "resets_at")
_CONTRACT_FIGURES: Final = ("currency", "balance", "rate", "rate_since")


class UsageRequest(TenantRequest):
    """Passes a question on, and the answer back."""

    __slots__ = ()

    @abstractmethod
    def question(self) -> LedgerQuestion | None:
        """Returns what to ask, None for what is too long."""

    def tell(self, caller: Caller) -> None:
        usage = self._context.usage
        if not usage.is_on:
            self.refuse(Refusal.usage_not_kept)
            return
        question = self.question()
        if question is None:
            self.refuse(Refusal.payload_too_large)
        elif not usage.ask(question, self.answered):
            self.refuse(Refusal.usage_busy, fields=_retry(1.0))

    def answered(self, answer: LedgerAnswer) -> None:
        """Passes on what the ledger said."""
        if self._over:
            return
        match answer.status:
            case 200:
                self.send(OK, JSON, answer.body)
            case 400:
                self.refuse(Refusal.usage_question_invalid, message=_message(answer.body))
            case 429:
                self.refuse(Refusal.usage_busy, fields=_retry(answer.retry_after or 1.0))
            case _:
                self.refuse(Refusal.usage_unavailable, fields=_retry(answer.retry_after or 1.0))


class MeRequest(TenantRequest):
    """GET /v1/me. Credit and budget are the ledger's word; without a ledger, or one that answers in time, they are null."""

    __slots__ = ()

    def tell(self, caller: Caller) -> None:
        question = LedgerQuestion(
            method="GET", target=CREDIT_PATH, body=b"", seconds=CREDIT_SECONDS
        )
        usage = self._context.usage
        if not usage.is_on or not usage.ask(question, self.answered):
            self._send_with(caller, LedgerAnswer(NO_ANSWER))

    def answered(self, answer: LedgerAnswer) -> None:
        """Answers with what the ledger knows of credit and budget."""
        if not self._over and self.caller is not None:
            self._send_with(self.caller, answer)

    def _send_with(self, caller: Caller, answer: LedgerAnswer) -> None:
        told = _told(answer)
        balance = told.get("balance")
        body = own_responses.me_body(
            caller,
            time.monotonic(),
            balance=balance if isinstance(balance, str) else None,
            budget=_texts(told.get("budget"), _BUDGET_FIGURES),
            contract=_texts(told.get("contract"), _CONTRACT_FIGURES),
        )
        self.send(OK, JSON, body)


class UsageReportRequest(UsageRequest):
    """GET /v1/usage/report."""

    __slots__ = ()

    def question(self) -> LedgerQuestion | None:
        return _asked(USAGE_REPORT_PATH, self.request.query)


class UsageAlertsRequest(UsageRequest):
    """GET /v1/usage/alerts."""

    __slots__ = ()

    def question(self) -> LedgerQuestion | None:
        return _asked(USAGE_ALERTS_PATH, self.request.query)


class UsageHistoryRequest(UsageRequest):
    """POST /v1/usage/history."""

    __slots__ = ()

    def question(self) -> LedgerQuestion | None:
        body = self.request.body
        if len(body) > MAX_QUESTION_BYTES:
            return None
        return LedgerQuestion(
            method="POST", target=USAGE_HISTORY_PATH, body=body, seconds=USAGE_SECONDS
        )


def _asked(path: str, query: bytes) -> LedgerQuestion | None:
    """Returns a question without a body, None for a query that is too long."""
    if len(query) > MAX_QUERY_BYTES:
        return None
    target = path + ("?" + query.decode("latin-1") if query else "")
    return LedgerQuestion(method="GET", target=target, body=b"", seconds=USAGE_SECONDS)


def _told(answer: LedgerAnswer) -> dict[str, Any]:
    """Returns what the ledger answered; nothing where it is no object."""
    if answer.status != OK:
        return {}
    try:
        told = orjson.loads(answer.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _texts(told: object, names: tuple[str, ...]) -> dict[str, str] | None:
    """Returns these figures, each a text; None where one is none."""
    if not isinstance(told, dict):
        return None
    found = {name: told.get(name) for name in names}
    texts = {name: text for name, text in found.items() if isinstance(text, str)}
    return texts if len(texts) == len(found) else None


def _retry(seconds: float) -> bytes:
    return b"retry-after: %d\r\n" % max(1, int(seconds))


def _message(body: bytes) -> str | None:
    """Returns the ledger's own words."""
    try:
        content: Any = orjson.loads(body)
        message = content["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return None
    return message[:_MAX_MESSAGE] if isinstance(message, str) else None
