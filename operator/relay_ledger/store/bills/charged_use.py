"""Reads what was charged in a period, by the entry of the price list that each request was charged by."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)

from relay_ledger.booking.tool_posting import TOOL_SIDE
from relay_ledger.periods.months import Period
from relay_ledger.prices.price_file import read_price_list
from relay_ledger.prices.price_list import PriceList
from relay_ledger.statements.priced_lines import COUNTED, Used
from relay_ledger.store.tables import ASSIGNMENTS, POSTINGS, PRICE_LISTS

_SLICES: Final = (*"0123456789abcdef", "g")
"""Where parts of the ids of attempts begin and end: no statement of the database takes long that reads a part."""
_MOST_KNOWN: Final = 64
_REQUEST: Final = ("tenant_uid", "event_id", "dispatched_at")
_KEY: Final = ("server", "model", "section", "version", "entry")
_SUMMED: Final[Mapping[str, ColumnElement[int]]] = {
    "requests": POSTINGS.c.delivered + POSTINGS.c.abandoned + POSTINGS.c.tool_calls,
    "abandoned": POSTINGS.c.abandoned,
    "unpriced": POSTINGS.c.charge_unpriced,
    "amount_pico": POSTINGS.c.charge_pico,
    **{name: POSTINGS.c[name] for name in COUNTED},
}


def charged_use(connection: Connection, tenant_uid: str, period: Period) -> list[Used]:
    """Returns what a period comes to, from the postings of what is billed.

    A request that was corrected counts by the entry of its last posting, which makes what all of them sum to.
    """
    totals: dict[tuple[Any, ...], Counter[str]] = {}
    times: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in _billed(connection, tenant_uid, period):
        fields = row._mapping
        key = tuple(fields[name] for name in _KEY)
        total = totals.setdefault(key, Counter())
        for name in _SUMMED:
            total[name] += int(fields[name])
        first, last = times.get(key, (row.first_at, row.last_at))
        times[key] = min(first, row.first_at), max(last, row.last_at)
    return [
        Used(
            **dict(zip(_KEY, key, strict=True)),
            requests=total["requests"],
            abandoned=total["abandoned"],
            unpriced=total["unpriced"],
            amount_pico=total["amount_pico"],
            figures={name: total[name] for name in COUNTED},
            first_at=times[key][0],
            last_at=times[key][1],
        )
        for key, total in totals.items()
    ]


class ListsByVersion:
    """Price lists by version, which never change: most tenants have the same, and reading one takes longer than its use. Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[str, PriceList] = {}

    def of(self, connection: Connection, versions: Collection[str]) -> dict[str, PriceList]:
        """Returns the lists of these versions that there are."""
        known = self._known
        found = {version: known[version] for version in versions if version in known}
        rows = connection.execute(
            select(PRICE_LISTS.c.version, PRICE_LISTS.c.content).where(
                PRICE_LISTS.c.version.in_(set(versions) - found.keys())
            )
        )
        contents = {row.version: row.content for row in rows}
        read = {version: read_price_list(content) for version, content in contents.items()}
        if len(known) + len(read) > _MOST_KNOWN:
            # a new one, as another thread may be reading the former
            known = self._known = {}
        known.update(read)
        return found | read


def _billed(connection: Connection, tenant_uid: str, period: Period) -> Iterator[Any]:
    """Yields sums of the postings of what is billed, a part of them at a time: first of what nobody corrected later, then of what was."""
    at = POSTINGS.c.dispatched_at
    of_period = (POSTINGS.c.tenant_uid == tenant_uid, at >= period.start, at < period.end)
    changes = _changes_of_list(connection, tenant_uid, period)
    sums = [func.sum(one).label(name) for name, one in _SUMMED.items()]
    times = (func.min(at).label("first_at"), func.max(at).label("last_at"))
    corrected = POSTINGS.join(_LATEST, _is_after(_LATEST, POSTINGS))
    for first, following in pairwise(_SLICES):
        part = (*of_period, POSTINGS.c.event_id >= first, POSTINGS.c.event_id < following)
        own = _keys(POSTINGS, changes)
        yield from connection.execute(
            select(*own, *sums, *times)
            .where(*part, _IS_BILLED, ~_is_corrected_after(POSTINGS))
            .group_by(*own)
        )
        later = _keys(_LATEST, changes)
        yield from connection.execute(
            select(*later, *sums, *times)
            .select_from(corrected)
            .where(*part, _IS_BILLED, ~_is_corrected_after(_LATEST))
            .group_by(*later)
        )


_IS_BILLED: Final = or_(
    POSTINGS.c.delivered != 0,
    POSTINGS.c.abandoned != 0,
    POSTINGS.c.tool_calls != 0,
    POSTINGS.c.charge_pico != 0,
    POSTINGS.c.kind == "repricing",
)
_LATEST: Final = POSTINGS.alias("latest")
"""The last correction of a request."""


def _is_after(correction: FromClause, posting: FromClause) -> ColumnElement[bool]:
    """Tells whether one is a correction of the same request, after the other.

    What ends after a correction of its beginning has prices of its own. The key is compared whole, so that each is a look into its index.
    """
    same = (correction.c[name] == posting.c[name] for name in _REQUEST)
    return and_(
        *same,
        correction.c.sequence > posting.c.sequence,
        correction.c.kind == "repricing",
    )


def _is_corrected_after(posting: FromClause) -> ColumnElement[bool]:
    later = POSTINGS.alias("later")
    return exists().where(_is_after(later, posting))


def _keys(priced: FromClause, changes: Sequence[int]) -> list[ColumnElement[Any]]:
    """Returns what sums are by; priced are the postings that name the prices."""
    server = case((POSTINGS.c.side == TOOL_SIDE, POSTINGS.c.provider), else_="")
    sections = [
        (POSTINGS.c.dispatched_at < change, literal(place)) for place, change in enumerate(changes)
    ]
    return [
        server.label("server"),
        POSTINGS.c.model.label("model"),
        (case(*sections, else_=len(changes)) if sections else literal(0)).label("section"),
        priced.c.charge_version.label("version"),
        priced.c.charge_entry.label("entry"),
    ]


def _changes_of_list(connection: Connection, tenant_uid: str, period: Period) -> list[int]:
    """Returns when the tenant had another price list than before, within a period and in order."""
    starts_at = ASSIGNMENTS.c.starts_at
    rows = connection.execute(
        select(starts_at)
        .where(
            and_(ASSIGNMENTS.c.account == "charge", ASSIGNMENTS.c.subject == tenant_uid),
            starts_at > period.start,
            starts_at < period.end,
        )
        .distinct()
        .order_by(starts_at)
    )
    return [int(change) for change in rows.scalars()]
