"""What of back-dated price lists nobody has corrected yet: attempts and tool calls of that time stand in the ledger at the prices of before."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.store.batch_booking import DAY_MICROSECONDS
from relay_ledger.store.books.month_sums import told_time
from relay_ledger.store.every_tenant import tenants_in
from relay_ledger.store.tables import BACK_DATED, PRICE_LISTS, REPRICINGS, SUMS, TALLIES

Span = tuple[int, int]
"""A half-open time, microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Uncorrected:
    """A version of a list that changes prices of the past, since when, and of which models."""

    name: str
    since: int
    models: tuple[str, ...]


def uncorrected(connection: Connection) -> Iterator[Uncorrected]:
    """Yields the back-dated versions of lists whose time is not all corrected since they came.

    A correction counts for the time that it went through and for no other. Once there was one, days of UTC without any attempt or
    tool call need no other.
    """
    dated = connection.execute(
        select(BACK_DATED, PRICE_LISTS.c.loaded_at).join(
            PRICE_LISTS,
            (PRICE_LISTS.c.name == BACK_DATED.c.name)
            & (PRICE_LISTS.c.number == BACK_DATED.c.number),
        )
    ).all()
    repricings = connection.execute(select(REPRICINGS)).all() if dated else []
    for row in dated:
        # what is sent from loaded_at on is booked by the new version
        corrected = [
            (one.starts_at, one.ends_at) for one in repricings if one.booked_at > row.loaded_at
        ]
        missing = left_of((row.since, row.loaded_at), corrected)
        if not corrected or any(_is_used(connection, span) for span in missing):
            yield Uncorrected(row.name, row.since, tuple(row.models.split("\n")))


def called_lately(connection: Connection, servers: Collection[str], *, now: int) -> set[str]:
    """Returns the tool servers of which calls were booked that were sent in the time of which the ledger tells what has no price."""
    if not servers:
        return set()
    start, end = told_time(now)
    called: set[str] = set()
    for uid in tenants_in(connection, SUMS):
        rows = connection.execute(
            select(SUMS.c.provider)
            .where(
                SUMS.c.tenant_uid == uid,
                SUMS.c.quarter.between(start, end),
                SUMS.c.side == TOOL_SIDE,
                SUMS.c.provider.in_(servers),
            )
            .distinct()
        )
        called.update(rows.scalars())
    return called


def left_of(whole: Span, taken: Iterable[Span]) -> list[Span]:
    """Returns the parts of a time that none of these others covers, in order."""
    left: list[Span] = []
    at, end = whole
    for start, until in sorted(taken):
        if start >= end:
            break
        if start > at:
            left.append((at, start))
        at = max(at, until)
    if at < end:
        left.append((at, end))
    return left


def _is_used(connection: Connection, span: Span) -> bool:
    start, end = span
    attempts = select(TALLIES.c.day).where(
        TALLIES.c.day > start - DAY_MICROSECONDS, TALLIES.c.day < end
    )
    calls = select(SUMS.c.quarter).where(
        SUMS.c.quarter > start - DAY_MICROSECONDS, SUMS.c.quarter < end, SUMS.c.side == TOOL_SIDE
    )
    return any(connection.execute(one.limit(1)).first() is not None for one in (attempts, calls))
