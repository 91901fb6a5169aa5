"""The routes by which relay pods lease parts of budgets, and by which the operator sets them and hears of alerts."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from relay_contract.billing.budget import (
    ALERTS_TOLD_PATH,
    BUDGETS_PATH,
    LEASES_PATH,
    MAX_LEASE_BYTES,
    AlertsTold,
    Budgets,
    BudgetStandings,
    LeaseRequest,
)
from relay_ledger.budgets.leasing import OutdatedAsk
from relay_ledger.ingest.booking_desk import BookingDesk, DatabaseAway, TooBusy
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.periods.zones import SECOND, UnknownZone, zone
from relay_ledger.settings import Settings
from relay_ledger.store.limits.budget_store import BudgetStore

MAX_BUDGETS_BYTES: Final = 1024 * 1024
_BEARER: Final = "bearer "
_Form = TypeVar("_Form", bound=BaseModel)
Answer = Callable[[web.Request], Awaitable[web.Response]]


class _Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class LeasePort:
    """Adds its routes to the application that relays speak to."""

    def __init__(
        self, budgets: BudgetStore, keys: KeyFile, desk: BookingDesk, settings: Settings
    ) -> None:
        self._budgets = budgets
        self._keys = keys
        self._desk = desk
        self._body_seconds = settings.body_seconds
        self._lease_microseconds = settings.lease_seconds * SECOND
        self._reachable_since = _now()

    def add_routes(self, application: web.Application) -> None:
        """Adds the routes."""
        router = application.router
        router.add_post(LEASES_PATH, self._answering(self._lease))
        router.add_put(BUDGETS_PATH, self._answering(self._put))
        router.add_get(BUDGETS_PATH, self._answering(self._stand))
        router.add_post(ALERTS_TOLD_PATH, self._answering(self._note_told))

    def _answering(self, answer: Answer) -> Answer:
        async def answered(request: web.Request) -> web.Response:
            try:
                return await answer(request)
            except _Refused as refused:
                return _error(refused.status, refused.code, str(refused))
            except TooBusy:
                message = "as much is in hand as there may be: ask again"
                return _error(HTTPStatus.SERVICE_UNAVAILABLE, "busy", message)
            except DatabaseAway:
                self._reachable_since = _now()
                message = "the database does not answer: nothing has changed, ask again"
                return _error(HTTPStatus.SERVICE_UNAVAILABLE, "database", message)

        return answered

    async def _lease(self, request: web.Request) -> web.Response:
        tenant_uid = self._keys.tenant_of(_token(request))
        if tenant_uid is None:
            raise _Refused(*_UNAUTHORIZED)
        asked = await self._read(request, LeaseRequest, MAX_LEASE_BYTES)
        # who could not ask while we were away keeps its lease until it had the time to
        grace_until = self._reachable_since + self._lease_microseconds
        try:
            async with self._desk.place():
                answer = await self._desk.in_turn(
                    tenant_uid,
                    lambda: self._budgets.lease(
                        tenant_uid, asked, now=_now(), grace_until=grace_until
                    ),
                )
        except OutdatedAsk:
            message = f"a later ask of {asked.pod} than {asked.sequence} was answered"
            raise _Refused(HTTPStatus.CONFLICT, "outdated", message) from None
        return _json(answer)

    async def _put(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        budgets = await self._read(request, Budgets, MAX_BUDGETS_BYTES)
        for one in budgets.tenants:
            try:
                zone(one.zone)
            except UnknownZone as error:
                raise _Refused(HTTPStatus.BAD_REQUEST, "zone", f"{one.tenant}: {error}") from None
        changed = 0
        for one in budgets.tenants:
            put = partial(self._budgets.put, one, now=_now())
            changed += await self._desk.in_turn(one.tenant_uid, put)
        return web.json_response({"changed": changed})

    async def _stand(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        tenants = request.query.getall("tenantUid", [])
        standings: BudgetStandings = await self._desk.in_thread(
            lambda: self._budgets.standings(tenants, now=_now())
        )
        return _json(standings)

    async def _note_told(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        told = await self._read(request, AlertsTold, MAX_BUDGETS_BYTES)
        await self._desk.in_thread(lambda: self._budgets.told(told.alerts, now=_now()))
        return web.json_response({"told": len(told.alerts)})

    def _check_operator(self, request: web.Request) -> None:
        if not self._keys.is_operators(_token(request)):
            raise _Refused(*_UNAUTHORIZED)

    async def _read(self, request: web.Request, form: type[_Form], most: int) -> _Form:
        """Reads a body of bounded size, in bounded time; raises _Refused."""
        if request.content_length is not None and request.content_length > most:
            raise _Refused(*_too_long(most))
        body = b""
        try:
            async with asyncio.timeout(self._body_seconds):
                while not request.content.at_eof() and len(body) <= most:
                    body += await request.content.read(most + 1 - len(body))
        except TimeoutError:
            message = "the body did not come in time"
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "slow", message) from None
        if len(body) > most:
            raise _Refused(*_too_long(most))
        try:
            return form.model_validate(json.loads(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            message = f"{place}: {first['msg']}" if place else first["msg"]
        except (ValueError, RecursionError):
            message = "the body is no JSON"
        raise _Refused(HTTPStatus.BAD_REQUEST, "invalid", message)


_UNAUTHORIZED: Final = (
    HTTPStatus.UNAUTHORIZED,
    "unauthorized",
    "the token in Authorization is missing, or nobody's who may ask this",
)


def _too_long(most: int) -> tuple[HTTPStatus, str, str]:
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_long", f"a message has at most {most} bytes"


def _token(request: web.Request) -> str:
    value = request.headers.get("Authorization", "")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""


def _json(form: BaseModel) -> web.Response:
    return web.json_response(text=form.model_dump_json(by_alias=True))


def _error(status: HTTPStatus, code: str, message: str) -> web.Response:
    headers = {"Retry-After": "1"} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return web.json_response(
        {"error": {"code": code, "message": message}}, status=status, headers=headers
    )


def _now() -> int:
    return time.time_ns() // 1000
