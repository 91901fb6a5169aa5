"""The routes of the operator: it gives its book of prices, and asks how things stand. Its token opens nothing else, and no other opens these."""

import asyncio
import time
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from relay_contract.billing.price_book import BOOKS_PATH, MAX_BOOK_BYTES, STANDING_PATH
from relay_ledger.ingest.booking_desk import BookingDesk, DatabaseAway
from relay_ledger.ingest.key_file import KeyFile
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.books.book_store import BookRefused, BookStore
from relay_ledger.store.books.month_sums import MonthSums

_BEARER: Final = "bearer "
_BODY_SECONDS: Final = 30.0


class OperatorPort:
    """Adds its routes to the port that relays use: it is the same pod, and the same network policy."""

    def __init__(
        self,
        keys: KeyFile,
        desk: BookingDesk,
        *,
        books: BookStore,
        months: MonthSums,
        reconciliations: ReconciliationStore,
        log: LedgerLog,
    ) -> None:
        self._keys = keys
        self._desk = desk
        self._books = books
        self._months = months
        self._reconciliations = reconciliations
        self._log = log

    def add_routes(self, application: web.Application) -> None:
        """Adds the routes."""
        application.router.add_put(BOOKS_PATH, self._put)
        application.router.add_get(STANDING_PATH, self._standing)

    async def _put(self, request: web.Request) -> web.Response:
        if not self._is_operator(request):
            return _unauthorized()
        try:
            content = await _body(request)
            now = time.time_ns() // 1000
            await self._desk.in_thread(lambda: self._books.put(content, now=now))
            told = await self._desk.in_thread(self._books.told)
        except BookRefused as refused:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, "book", str(refused))
        except DatabaseAway:
            return _away()
        self._log.repeated("book", by=("digest",), digest=told["book"], lists=len(told["lists"]))
        return web.json_response(told)

    async def _standing(self, request: web.Request) -> web.Response:
        if not self._is_operator(request):
            return _unauthorized()
        try:
            standing = await self._desk.in_thread(self._stand)
        except DatabaseAway:
            return _away()
        return web.json_response(standing)

    def _stand(self) -> dict[str, Any]:
        now = time.time_ns() // 1000
        return {
            **self._books.told(),
            "months": self._months.spent(self._books.tenants(), now=now),
            "unpriced": self._months.unpriced(now=now),
            "reconciliations": self._reconciliations.latest(),
        }

    def _is_operator(self, request: web.Request) -> bool:
        value = request.headers.get("Authorization", "")
        if value[: len(_BEARER)].lower() != _BEARER:
            return False
        return self._keys.is_operators(value[len(_BEARER) :].strip())


def _unauthorized() -> web.Response:
    return _error(
        HTTPStatus.UNAUTHORIZED, "unauthorized", "the token in Authorization is not the operator's"
    )


def _away() -> web.Response:
    return _error(
        HTTPStatus.SERVICE_UNAVAILABLE, "database", "the database does not answer: ask again"
    )


def _error(status: HTTPStatus, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


async def _body(request: web.Request) -> bytes:
    """Reads a book, which may be larger than a batch; raises BookRefused."""
    content = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > MAX_BOOK_BYTES:
                    raise BookRefused(f"a book has at most {MAX_BOOK_BYTES} bytes")
    except TimeoutError:
        raise BookRefused("the book did not come in time") from None
    return bytes(content)
