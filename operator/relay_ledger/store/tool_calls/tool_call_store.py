"""Books tool calls: each once, however often it is delivered, for the tenant whose relay tells of it, and what it costs with it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select

from relay_contract.billing.event_line import line_digest
from relay_contract.billing.tool_call import ToolCall, tool_call_line
from relay_ledger.booking.posting import Posting
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.booking.tool_posting import billed_call, tool_posting_of
from relay_ledger.store.batch_booking import (
    Along,
    BatchBooking,
    BookedGroup,
    Receipt,
    unpriced_in,
)
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.price_book_store import booking_by
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.rows.quarantine import Quarantined, keep_apart
from relay_ledger.store.tables import TOOL_CALLS


class ToolCallStore:
    """Everything that adds rows of tool calls. Times are microseconds since 1970."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._partitions = Partitions(engine)

    def book(
        self,
        tenant_uid: str,
        calls: Sequence[ToolCall],
        prices: PriceBook,
        *,
        now: int,
        refused: Sequence[Quarantined] = (),
        along: Along | None = None,
    ) -> Receipt:
        """Books a tenant's calls at once. When it returns they are on disk; when it raises nothing is booked. Raises OutdatedPrices."""
        if any(call.tenant_uid != tenant_uid for call in calls):
            raise ValueError("a batch holds calls of one tenant")
        self._partitions.ensure(call.called_at for call in calls)
        with booking_by(self._engine, tenant_uid, prices) as connection:
            known = _digests(connection, tenant_uid, calls)
            fresh: list[tuple[ToolCall, str]] = []
            quarantined = list(refused)
            for call in calls:
                line = tool_call_line(call)
                digest = line_digest(line)
                booked = known.get(call.id)
                if booked is None:
                    known[call.id] = digest
                    fresh.append((call, digest))
                elif booked != digest:
                    quarantined.append(_conflict(call, line, digest, booked))
            insert_rows(connection, TOOL_CALLS, [_row(*one, now) for one in fresh])
            billed = [billed_call(call) for call, _ in fresh]
            postings = [tool_posting_of(one, prices) for one in billed if one is not None]
            pods = {call.id: call.relay for call, _ in fresh}
            BatchBooking(connection, tenant_uid, now=now).add(postings, pods)
            keep_apart(connection, tenant_uid, quarantined, now=now)
            conflicts = len(quarantined) - len(refused)
            receipt = Receipt(
                booked=len(fresh),
                repeated=len(calls) - len(fresh) - conflicts,
                quarantined=tuple(quarantined),
                unpriced_calls=unpriced_in(postings),
                called=_called(postings),
            )
            if along is not None:
                along(connection, receipt)
        return receipt


def _called(postings: Sequence[Posting]) -> dict[str, BookedGroup]:
    groups: dict[str, BookedGroup] = {}
    for posting in postings:
        server, figures = posting.dimensions.provider, posting.figures
        group = BookedGroup(figures["tool_calls"], figures["cost_pico"], figures["charge_pico"])
        groups[server] = groups.get(server, BookedGroup()) + group
    return groups


def _digests(connection: Connection, tenant_uid: str, calls: Sequence[ToolCall]) -> dict[str, str]:
    """Returns the digests of those that are booked, by id; the times let PostgreSQL look into few partitions."""
    if not calls:
        return {}
    times = [call.called_at for call in calls]
    rows = connection.execute(
        select(TOOL_CALLS.c.event_id, TOOL_CALLS.c.digest).where(
            TOOL_CALLS.c.tenant_uid == tenant_uid,
            TOOL_CALLS.c.event_id.in_({call.id for call in calls}),
            TOOL_CALLS.c.called_at.between(min(times), max(times)),
        )
    )
    return {str(event_id): str(digest) for event_id, digest in rows}


def _row(call: ToolCall, digest: str, now: int) -> dict[str, Any]:
    fields = call.model_dump(exclude={"version", "id", "kind", "limit"})
    # LIMIT is a word of SQL
    own = {"event_id": call.id, "limit_name": call.limit, "digest": digest, "received_at": now}
    return {**fields, **own}


def _conflict(call: ToolCall, line: bytes, digest: str, booked: str) -> Quarantined:
    return Quarantined(
        digest=digest,
        reason="conflict",
        detail=f"tool call {call.id} is booked with another content, of digest {booked}",
        line=line.decode(),
    )
