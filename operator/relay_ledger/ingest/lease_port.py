"""The routes by which relay pods lease parts of budgets, and by which the operator sets them and hears of alerts."""

import time
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from relay_contract.billing.budget import (
    ALERTS_TOLD_PATH,
    BUDGETS_PATH,
    LEASES_PATH,
    MAX_LEASE_BYTES,
    UNDELIVERED_OF,
    AlertsTold,
    Budgets,
    BudgetsTaken,
    BudgetStandings,
    LeaseRequest,
)
from relay_ledger.budgets.leasing import OutdatedAsk
from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.json_routes import (
    UNAUTHORIZED,
    Answer,
    RequestRefused,
    answering,
    json_answer,
    read_form,
    token_in,
)
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.periods.zones import SECOND, UnknownZone
from relay_ledger.settings import Settings
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.limits.dead_letters import DeadLetters

MAX_BUDGETS_BYTES: Final = 1024 * 1024
_Form = TypeVar("_Form", bound=BaseModel)


class LeasePort:
    """Adds its routes to the application that relays speak to."""

    def __init__(
        self,
        budgets: BudgetStore,
        dead_letters: DeadLetters,
        *,
        keys: KeyFile,
        desk: BookingDesk,
        settings: Settings,
    ) -> None:
        self._budgets = budgets
        self._dead_letters = dead_letters
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
        return answering(answer, on_away=self._note_away)

    def _note_away(self) -> None:
        self._reachable_since = _now()

    async def _lease(self, request: web.Request) -> web.Response:
        tenant_uid = self._keys.tenant_of(token_in(request))
        if tenant_uid is None:
            raise RequestRefused(*UNAUTHORIZED)
        asked = await self._read(request, LeaseRequest, MAX_LEASE_BYTES)
        # who could not ask while we were away keeps its lease until it had the time to
        grace_until = self._reachable_since + self._lease_microseconds
        try:
            async with self._desk.place(tenant_uid):
                answer = await self._desk.in_turn(
                    tenant_uid,
                    lambda: self._budgets.lease(
                        tenant_uid, asked, now=_now(), grace_until=grace_until
                    ),
                )
        except OutdatedAsk:
            message = f"a later ask of {asked.pod} than {asked.sequence} was answered"
            raise RequestRefused(HTTPStatus.CONFLICT, "outdated", message) from None
        return json_answer(answer)

    async def _put(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        budgets = await self._read(request, Budgets, MAX_BUDGETS_BYTES)
        changed = 0
        refused: dict[str, str] = {}
        for one in budgets.tenants:
            put = partial(self._budgets.put, one, now=_now())
            try:
                changed += await self._desk.in_turn(one.tenant_uid, put)
            except UnknownZone as error:
                # those of everybody else are in force all the same
                refused[one.tenant_uid] = str(error)
        return json_answer(BudgetsTaken(changed=changed, refused=refused))

    async def _stand(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        tenants = request.query.getall("tenantUid", [])
        standings: BudgetStandings = await self._desk.in_thread(
            lambda: self._budgets.standings(tenants, now=_now())
        )
        if UNDELIVERED_OF in request.query:
            return json_answer(standings)
        return json_answer(standings, without={"undelivered_of"})

    async def _note_told(self, request: web.Request) -> web.Response:
        self._check_operator(request)
        told = await self._read(request, AlertsTold, MAX_BUDGETS_BYTES)
        await self._desk.in_thread(lambda: self._budgets.told(told.alerts, now=_now()))
        await self._desk.in_thread(lambda: self._dead_letters.failed(told.failed, now=_now()))
        return web.json_response({"told": len(told.alerts)})

    def _check_operator(self, request: web.Request) -> None:
        if not self._keys.is_operators(token_in(request)):
            raise RequestRefused(*UNAUTHORIZED)

    async def _read(self, request: web.Request, form: type[_Form], most: int) -> _Form:
        return await read_form(request, form, most_bytes=most, seconds=self._body_seconds)


def _now() -> int:
    return time.time_ns() // 1000
