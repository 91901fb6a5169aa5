"""The routes by which use is read and credit is added. A token's tenant is all that is ever told of."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiohttp import web

from relay_contract.billing.usage_reading import (
    CREDIT_PATH,
    CREDITS_PATH,
    MAX_QUESTION_BYTES,
    USAGE_ALERTS_PATH,
    USAGE_HISTORY_PATH,
    USAGE_REPORT_PATH,
)
from relay_ledger.ingest.booking_desk import DatabaseAway, TooBusy
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.periods.divisions import TooManyParts
from relay_ledger.periods.moments import NotATime
from relay_ledger.periods.zones import utc_text
from relay_ledger.reading.credit_form import read_credit
from relay_ledger.reading.pace import Pace
from relay_ledger.reading.usage_desk import UsageDesk
from relay_ledger.reports.usage_alerts import read_alerts_question
from relay_ledger.reports.usage_history import BadQuestion, read_question
from relay_ledger.statements.statement import NoRate
from relay_ledger.statements.statement_table import minor_digits
from relay_ledger.store.credits import Balance, ReferenceTaken, TooMuch, UnknownTenant
from relay_ledger.store.limits.budget_store import BudgetNow

QUESTIONS_PER_SECOND: Final = 5.0
QUESTION_BURST: Final = 30
_BEARER: Final = "bearer "
_PARAMETERS: Final = frozenset({"start", "end"})
Answer = Callable[[web.Request, str], Awaitable[web.Response]]


class Callers(Protocol):
    """Knows whose a token is."""

    def tenant_of(self, token: str) -> str | None: ...

    def is_operators(self, token: str) -> bool: ...

    def is_payments(self, token: str) -> bool: ...


class ReadingPort:
    """Adds its routes to the application that relays speak to."""

    def __init__(
        self, desk: UsageDesk, callers: Callers, log: LedgerLog, *, body_seconds: float
    ) -> None:
        self._desk = desk
        self._callers = callers
        self._log = log
        self._body_seconds = body_seconds
        self._pace = Pace(per_second=QUESTIONS_PER_SECOND, burst=QUESTION_BURST)

    def add_routes(self, application: web.Application) -> None:
        """Adds the routes."""
        router = application.router
        router.add_get(USAGE_REPORT_PATH, self._of_tenant(self._report))
        router.add_get(USAGE_ALERTS_PATH, self._of_tenant(self._alerts))
        router.add_post(USAGE_HISTORY_PATH, self._of_tenant(self._history))
        router.add_get(CREDIT_PATH, self._of_tenant(self._credit))
        router.add_post(CREDITS_PATH, self._add_credit)

    def _of_tenant(self, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answered(request: web.Request) -> web.StreamResponse:
            tenant_uid = self._callers.tenant_of(_token(request))
            if tenant_uid is None:
                return _refusal(*_UNAUTHORIZED)
            wait = self._pace.wait_for(tenant_uid, time.monotonic())
            if wait:
                message = "this tenant asks too often: ask less, and keep what is answered"
                return _refusal(
                    HTTPStatus.TOO_MANY_REQUESTS, "rate", message, retry_after=math.ceil(wait)
                )
            return await self._bounded(lambda: answer(request, tenant_uid))

        return answered

    async def _bounded(self, answer: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Answers, or says why not."""
        try:
            return await answer()
        except (BadQuestion, NotATime, TooManyParts) as error:
            return _refusal(HTTPStatus.BAD_REQUEST, "invalid", str(error))
        except web.HTTPRequestEntityTooLarge:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", _TOO_LONG)
        except TimeoutError:
            message = "the question did not come in time"
            return _refusal(HTTPStatus.REQUEST_TIMEOUT, "slow", message)
        except TooBusy:
            message = "as many questions are in hand as there may be: ask again"
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "busy", message, retry_after=1)
        except DatabaseAway:
            message = "the database does not answer: ask again"
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "database", message, retry_after=1)

    async def _report(self, request: web.Request, tenant_uid: str) -> web.Response:
        unknown = sorted(set(request.query) - _PARAMETERS)
        if unknown or any(len(request.query.getall(name)) > 1 for name in request.query):
            raise BadQuestion("a report is asked for by start and end, each once at most")
        start, end = request.query.get("start"), request.query.get("end")
        return web.json_response(
            await self._desk.in_thread(
                lambda: self._desk.report(tenant_uid, start, end, now=_now())
            )
        )

    async def _alerts(self, request: web.Request, tenant_uid: str) -> web.Response:
        question = read_alerts_question(list(request.query.items()))
        return web.json_response(
            await self._desk.in_thread(lambda: self._desk.alerts(tenant_uid, question))
        )

    async def _history(self, request: web.Request, tenant_uid: str) -> web.Response:
        question = read_question(await self._body(request))
        return web.json_response(
            await self._desk.in_thread(lambda: self._desk.history(tenant_uid, question, now=_now()))
        )

    async def _credit(self, _: web.Request, tenant_uid: str) -> web.Response:
        balance = await self._desk.in_thread(
            lambda: self._desk.credits.standing(tenant_uid, now=_now())
        )
        budget = await self._desk.in_thread(
            lambda: self._desk.budgets.budget_now(tenant_uid, now=_now())
        )
        return web.json_response(_credit_body(balance) | {"budget": _budget_body(budget)})

    async def _add_credit(self, request: web.Request) -> web.Response:
        token = _token(request)
        if not (self._callers.is_payments(token) or self._callers.is_operators(token)):
            return _refusal(*_UNAUTHORIZED)
        return await self._bounded(lambda: self._booked(request))

    async def _booked(self, request: web.Request) -> web.Response:
        form = read_credit(await self._body(request))
        booked, uid = self._desk.credits, form.tenant_uid
        try:
            new = await self._desk.in_thread(lambda: booked.add(uid, form.payment, now=_now()))
        except UnknownTenant:
            message = f"the ledger knows no tenant of UID {uid}: nothing is booked"
            return _refusal(HTTPStatus.NOT_FOUND, "unknown_tenant", message)
        except ReferenceTaken as error:
            return _refusal(HTTPStatus.CONFLICT, "conflict", f"{error}: nothing is booked")
        except TooMuch as error:
            raise BadQuestion(f"amount: {error}") from None
        except NoRate as error:
            # who has the rate put there gets the payment booked when it is told again
            message = f"{error}; nothing is booked: tell it again"
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "no_rate", message, retry_after=60)
        balance = await self._desk.in_thread(lambda: booked.standing(uid, now=_now()))
        told: dict[str, Any] = {
            "tenant_uid": uid,
            "reference": form.reference,
            "amount": form.amount,
            "currency": form.currency,
            "new": new,
        }
        if new:
            self._log.event("credit", **told)
        else:
            self._log.repeated("credit", by=("tenant_uid",), **told)
        return web.json_response(
            {"booked": new, **_credit_body(balance)},
            status=HTTPStatus.CREATED if new else HTTPStatus.OK,
        )

    async def _body(self, request: web.Request) -> bytes:
        """Reads the body, of bounded size and in bounded time."""
        body = b""
        async with asyncio.timeout(self._body_seconds):
            while not request.content.at_eof() and len(body) <= MAX_QUESTION_BYTES:
                body += await request.content.read(MAX_QUESTION_BYTES + 1 - len(body))
        if len(body) > MAX_QUESTION_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_QUESTION_BYTES, len(body))
        return body


_TOO_LONG: Final = f"a question has at most {MAX_QUESTION_BYTES} bytes"
_UNAUTHORIZED: Final = (
    HTTPStatus.UNAUTHORIZED,
    "unauthorized",
    "the token in Authorization is missing, or nobody's who may ask this",
)


def _credit_body(balance: Balance | None) -> dict[str, Any]:
    """Renders a balance; null for a tenant without credit. contract is the same in the currency of the contract, where that is not USD."""
    body: dict[str, Any] = {
        "object": "credit",
        "currency": "USD",
        "balance": None if balance is None else usd_text(balance.pico),
    }
    if balance is None or balance.rate is None:
        return body
    rate = balance.rate
    contract = {
        "currency": rate.currency.code,
        "balance": minor_digits(balance.minor, rate.currency),
        "rate": price_text(rate.micro),
        "rate_since": utc_text(rate.since),
    }
    return body | {"contract": contract}


def _budget_body(budget: BudgetNow | None) -> dict[str, Any] | None:
    """Renders the budget of the period that is now; null for a tenant without one. What is spent beyond it leaves nothing."""
    if budget is None:
        return None
    limit, spent = budget.limit, budget.spent_pico
    return {
        "period": budget.period,
        "limit": usd_text(limit.amount_pico),
        "spent": usd_text(spent),
        "remaining": usd_text(max(limit.amount_pico - spent, 0)),
        "resets_at": utc_text(limit.ends_at),
    }


def _token(request: web.Request) -> str:
    value = request.headers.get("Authorization", "")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""


def _now() -> int:
    return time.time_ns() // 1000


def _refusal(
    status: HTTPStatus, code: str, message: str, *, retry_after: int | None = None
) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(
        {"error": {"code": code, "message": message}}, status=status, headers=headers
    )
