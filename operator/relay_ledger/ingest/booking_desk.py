"""Books batches in threads: those of one tenant one after the other, and never more in hand than there is room for."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.tool_call import ToolCall
from relay_ledger.ingest.batch_lines import Batch, Record, unbookable
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.store.batch_booking import BookedGroup, Receipt, Served
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.rows.quarantine import Quarantined
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

THREADS: Final = 4
_UNBOOKABLE: Final = (DataError, IntegrityError, OverflowError)
"""What a database says of rows that it cannot hold: a sum beyond 63 bits, above all."""
DATABASE_ERRORS: Final = (DBAPIError, PoolTimeout)
_AWAY: Final = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""What says that a database cannot do its work now: not there, full, shutting down, or read-only as a standby is."""
_Result = TypeVar("_Result")
Booking = Callable[[Sequence[Record], Sequence[Quarantined]], Receipt]
"""Books records, and keeps lines apart, in one transaction."""


class TooBusy(Exception):
    """As many batches are in hand as there may be."""


class DatabaseAway(Exception):
    """The database did not answer, or broke the transaction off: nothing is booked, and the same may be tried again."""


def is_away(error: Exception) -> bool:
    """Returns whether this is said of the database, and not of what it was asked."""
    # SQLite says of a damaged file that it is an error of the database, and of no kind
    return isinstance(error, _AWAY) or type(error) is DatabaseError


class BookingDesk:
    """Lives as long as the process."""

    def __init__(
        self,
        ledger: Ledger,
        tool_calls: ToolCallStore,
        prices: PriceBookStore,
        metrics: LedgerMetrics,
        *,
        log: LedgerLog,
        max_batches: int,
    ) -> None:
        self._ledger = ledger
        self._tool_calls = tool_calls
        self._prices = prices
        self._metrics = metrics
        self._log = log
        self._most = max_batches
        self._in_hand = 0
        self._in_hand_of: dict[str, int] = {}
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="booking")

    def close(self) -> None:
        """Ends the threads once what they do is done."""
        self._threads.shutdown()

    @asynccontextmanager
    async def place(self, tenant_uid: str) -> AsyncIterator[None]:
        """Holds a place for a tenant's batch, from before its body is read; raises TooBusy.

        One tenant has a quarter of the places: relays of it that are slow, or not its own any more, turn nobody else away.
        """
        own = self._in_hand_of.get(tenant_uid, 0)
        if self._in_hand >= self._most or own >= max(1, self._most // 4):
            raise TooBusy
        self._in_hand += 1
        self._in_hand_of[tenant_uid] = own + 1
        try:
            yield
        finally:
            self._in_hand -= 1
            self._in_hand_of[tenant_uid] -= 1
            if not self._in_hand_of[tenant_uid]:
                del self._in_hand_of[tenant_uid]

    async def book(self, tenant_uid: str, batch: Batch[AttemptRecord]) -> Receipt:
        """Books a batch of attempts; returns once it is on disk. Raises DatabaseAway."""

        def book(records: Sequence[AttemptRecord], refused: Sequence[Quarantined]) -> Receipt:
            return self._prices.priced(
                lambda prices: self._ledger.book(
                    tenant_uid, records, prices, now=_now(), refused=refused
                )
            )

        return await self._booked(tenant_uid, batch, book)

    async def book_tool_calls(self, tenant_uid: str, batch: Batch[ToolCall]) -> Receipt:
        """Books a batch of tool calls; returns once it is on disk. Raises DatabaseAway."""

        def book(calls: Sequence[ToolCall], refused: Sequence[Quarantined]) -> Receipt:
            return self._prices.priced(
                lambda prices: self._tool_calls.book(
                    tenant_uid, calls, prices, now=_now(), refused=refused
                )
            )

        return await self._booked(tenant_uid, batch, book)

    async def _booked(
        self, tenant_uid: str, batch: Batch[Record], book: Booking[Record]
    ) -> Receipt:
        started = time.monotonic()
        async with self._turn(tenant_uid):
            receipt = await self.in_thread(lambda: _book(batch, book))
        self._metrics.booking_seconds.observe(time.monotonic() - started)
        self._metrics.booked(receipt)
        return receipt

    async def in_turn(self, tenant_uid: str, work: Callable[[], _Result]) -> _Result:
        """Does work that changes what there is of a tenant, after what is in hand of it; raises DatabaseAway."""
        async with self._turn(tenant_uid):
            return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], _Result]) -> _Result:
        """Does work with the database in a thread; raises DatabaseAway."""
        loop = asyncio.get_running_loop()
        try:
            # a request that is given up does not undo what a thread has begun
            return await asyncio.shield(loop.run_in_executor(self._threads, work))
        except DATABASE_ERRORS as error:
            if not is_away(error):
                raise
            self._log.database_away(error)
            raise DatabaseAway(type(error).__name__) from error

    @asynccontextmanager
    async def _turn(self, tenant_uid: str) -> AsyncIterator[None]:
        """Waits for the tenant's batches before: a thread is not to wait for a lock of the database."""
        lock, users = self._turns.get(tenant_uid, (asyncio.Lock(), 0))
        self._turns[tenant_uid] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._turns[tenant_uid]
            if users == 1:
                del self._turns[tenant_uid]
            else:
                self._turns[tenant_uid] = lock, users - 1


def _book(batch: Batch[Record], book: Booking[Record]) -> Receipt:
    try:
        return book(batch.records, batch.refused)
    except _UNBOOKABLE:
        # one of them is what the database cannot hold; the others must not wait for ever behind it
        return _book_one_by_one(batch, book)


def _book_one_by_one(batch: Batch[Record], book: Booking[Record]) -> Receipt:
    refused: list[Quarantined] = list(batch.refused)
    booked = repeated = 0
    kept: list[Quarantined] = []
    unpriced, unpriced_calls = Counter[str](), Counter[str]()
    served: dict[Served, BookedGroup] = {}
    called: dict[str, BookedGroup] = {}
    for record in batch.records:
        try:
            receipt = book([record], ())
        except _UNBOOKABLE as error:
            refused.append(unbookable(record, _cause(error), batch.kind))
            continue
        booked, repeated = booked + receipt.booked, repeated + receipt.repeated
        kept += receipt.quarantined
        unpriced.update(receipt.unpriced)
        unpriced_calls.update(receipt.unpriced_calls)
        for one, group in receipt.served.items():
            served[one] = served.get(one, BookedGroup()) + group
        for server, group in receipt.called.items():
            called[server] = called.get(server, BookedGroup()) + group
    book([], refused)
    return Receipt(
        booked=booked,
        repeated=repeated,
        quarantined=(*kept, *refused),
        unpriced=unpriced,
        served=served,
        unpriced_calls=unpriced_calls,
        called=called,
    )


def _now() -> int:
    return time.time_ns() // 1000


def _cause(error: Exception) -> str:
    said = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(error).__name__}: {said}".split("\n")[0]
