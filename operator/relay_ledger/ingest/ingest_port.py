"""The HTTP port for relays. What it answers is short JSON; an error says what is wrong and what to do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from relay_contract.billing.delivery import ATTEMPTS_PATH, MAX_BATCH_BYTES, TOOL_CALLS_PATH
from relay_ledger.ingest.batch_lines import (
    ATTEMPTS,
    SECOND,
    TOOL_CALLS,
    BatchRefused,
    Window,
    read_batch,
    told,
)
from relay_ledger.ingest.booking_desk import BookingDesk, DatabaseAway, TooBusy
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.settings import Settings
from relay_ledger.store.batch_booking import Receipt

DAY_SECONDS: Final = 86_400
_BEARER: Final = "bearer "
_RETRY_SOON: Final = {"Retry-After": "1"}
TOLD_AT_ONCE: Final = 20
"""Lines kept apart of one tenant and reason that have a line of the log each; of more there is their number."""
Take = Callable[[bytes, str], Awaitable[Receipt]]
"""Books the body of a tenant's batch; raises BatchRefused, DatabaseAway."""


class IngestPort:
    """The routes by which relays deliver."""

    def __init__(
        self,
        settings: Settings,
        keys: KeyFile,
        desk: BookingDesk,
        metrics: LedgerMetrics,
        log: LedgerLog,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._desk = desk
        self._metrics = metrics
        self._log = log

    def application(self) -> web.Application:
        """Makes the application."""
        application = web.Application(client_max_size=MAX_BATCH_BYTES)
        application.router.add_post(ATTEMPTS_PATH, self._take_attempts)
        application.router.add_post(TOOL_CALLS_PATH, self._take_tool_calls)
        return application

    async def _take_attempts(self, request: web.Request) -> web.Response:
        return await self._take(request, self._book_attempts)

    async def _take_tool_calls(self, request: web.Request) -> web.Response:
        return await self._take(request, self._book_tool_calls)

    async def _book_attempts(self, body: bytes, tenant_uid: str) -> Receipt:
        batch = read_batch(body, tenant_uid, self._window(), ATTEMPTS)
        return await self._desk.book(tenant_uid, batch)

    async def _book_tool_calls(self, body: bytes, tenant_uid: str) -> Receipt:
        batch = read_batch(body, tenant_uid, self._window(), TOOL_CALLS)
        return await self._desk.book_tool_calls(tenant_uid, batch)

    async def _take(self, request: web.Request, take: Take) -> web.Response:
        tenant_uid = self._caller(request)
        if tenant_uid is None:
            return self._refuse(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "the token in Authorization is missing or of no tenant",
            )
        try:
            async with self._desk.place(tenant_uid):
                return await self._book(request, tenant_uid, take)
        except TooBusy:
            return self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "busy",
                "as many batches are in hand as there may be: send it again",
            )

    async def _book(self, request: web.Request, tenant_uid: str, take: Take) -> web.Response:
        try:
            receipt = await take(await self._body(request), tenant_uid)
        except BatchRefused as refused:
            if refused.reason == "forged":
                self._log.repeated(
                    "forged_batch", by=("tenant_uid",), tenant_uid=tenant_uid, detail=str(refused)
                )
            return self._refuse(_STATUSES[refused.reason], refused.reason, str(refused))
        except DatabaseAway:
            return self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "database",
                "the database does not answer: nothing is booked, send it again",
            )
        for line in receipt.quarantined:
            self._log.repeated(
                "quarantined",
                by=("tenant_uid", "reason"),
                burst=TOLD_AT_ONCE,
                tenant_uid=tenant_uid,
                reason=line.reason,
                detail=line.detail,
            )
        return web.json_response(
            {
                "booked": receipt.booked,
                "repeated": receipt.repeated,
                "quarantined": len(receipt.quarantined),
                "details": list(told(receipt.quarantined)),
            }
        )

    def _caller(self, request: web.Request) -> str | None:
        value = request.headers.get("Authorization", "")
        if value[: len(_BEARER)].lower() != _BEARER:
            return None
        return self._keys.tenant_of(value[len(_BEARER) :].strip())

    async def _body(self, request: web.Request) -> bytes:
        """Reads the body, of bounded size and in bounded time; raises BatchRefused."""
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise BatchRefused("encoding", "a batch is sent as it is, without Content-Encoding")
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise BatchRefused(
                "too_long", f"a batch has at most {MAX_BATCH_BYTES} bytes: divide it"
            ) from None
        except TimeoutError:
            raise BatchRefused("slow", "the batch did not come in time") from None

    def _window(self) -> Window:
        now = time.time_ns() // 1000
        return Window(
            earliest=now - self._settings.past_days * DAY_SECONDS * SECOND,
            latest=now + self._settings.future_seconds * SECOND,
        )

    def _refuse(self, status: HTTPStatus, reason: str, message: str) -> web.Response:
        self._metrics.refused(reason)
        headers = _RETRY_SOON if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
        return web.json_response(
            {"error": {"code": reason, "message": message}}, status=status, headers=headers
        )


_STATUSES: Final = {
    "forged": HTTPStatus.FORBIDDEN,
    "too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "encoding": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "slow": HTTPStatus.REQUEST_TIMEOUT,
}
