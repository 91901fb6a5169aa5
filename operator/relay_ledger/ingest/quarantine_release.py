"""Books a line that was kept apart, as if its relay had delivered it again: what was too early or too late, or could not be read then."""

from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError

from relay_contract.billing.event_line import UnreadableEvent, line_digest, versioned_object
from relay_ledger.ingest.batch_lines import ATTEMPTS, TOOL_CALLS, Window
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.quarantine import KeptLine
from relay_ledger.store.attempts.quarantined_lines import finish_in
from relay_ledger.store.batch_booking import Receipt
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

_UNBOOKABLE: Final = (DataError, IntegrityError, OverflowError)


class NotReleasable(ValueError):
    """A line that cannot be booked; the message says why, and what can be done."""


class QuarantineRelease:
    """Releases lines of any tenant. window is the time of which the ledger still knows what it has booked."""

    def __init__(self, engine: Engine, window: Window) -> None:
        self._ledger = Ledger(engine)
        self._tool_calls = ToolCallStore(engine)
        self._prices = PriceBookStore(engine)
        self._window = window

    def release(self, kept: KeptLine, *, now: int, note: str = "") -> bool:
        """Books a line by the prices of the moment at which it was sent; returns False if its record was booked before.

        That it is released is kept with what is booked, or neither is. Raises NotReleasable.
        """
        if kept.end is not None:
            raise NotReleasable(f"it is {kept.end} already")
        if kept.reason == "conflict":
            raise NotReleasable(
                "its id is booked with another content, and nothing that is booked changes: look at both, then dismiss it"
            )
        line = kept.line.encode()
        if line_digest(line) != kept.digest:
            raise NotReleasable(
                "it is not kept as it came: it was longer than a record, or no text; dismiss it"
            )
        try:
            receipt = self._book(kept, line, now, note)
        except UnreadableEvent as error:
            raise NotReleasable(f"this ledger cannot read it: {error}") from None
        except _UNBOOKABLE as error:
            cause = str(error).split("\n")[0]
            raise NotReleasable(f"the database cannot hold it: {cause[:200]}") from None
        if receipt.quarantined:
            raise NotReleasable(
                "its id was booked with another content since: it is kept apart as a conflict too"
            )
        return bool(receipt.booked)

    def _book(self, kept: KeptLine, line: bytes, now: int, note: str) -> Receipt:
        uid = kept.tenant_uid

        def end(connection: Connection, receipt: Receipt) -> None:
            if receipt.quarantined:
                return
            if not finish_in(connection, kept, "released", now=now, note=note):
                raise NotReleasable("it was released or dismissed meanwhile")

        if versioned_object(line).get("kind") == "tool":
            call = TOOL_CALLS.read(line)
            self._check(kept, call.tenant_uid, call.called_at)
            return self._prices.priced(
                lambda prices: self._tool_calls.book(uid, [call], prices, now=now, along=end)
            )
        record = ATTEMPTS.read(line)
        self._check(kept, record.tenant_uid, record.dispatched_at)
        return self._prices.priced(
            lambda prices: self._ledger.book(uid, [record], prices, now=now, along=end)
        )

    def _check(self, kept: KeptLine, tenant_uid: str, began_at: int) -> None:
        if tenant_uid != kept.tenant_uid:
            raise NotReleasable(
                f"it names tenant {tenant_uid} and came with the token of {kept.tenant_uid}: a relay books for its own tenant alone"
            )
        match self._window.misses(began_at):
            case "late":
                raise NotReleasable(
                    f"it is of {utc_text(began_at)}, before what is kept (RELAY_LEDGER_KEPT_DAYS): nobody can tell whether it is booked"
                )
            case "early":
                raise NotReleasable(
                    f"it says that it was sent at {utc_text(began_at)}, which has not come yet"
                )
