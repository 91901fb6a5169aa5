"""Where the prices of a version are from, and when that was checked: said beside the version, which stays as it is.

So nothing that is booked names another version because somebody has looked at a page and found the prices that he knew.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select

from relay_ledger.prices.price_list import PriceList
from relay_ledger.store.tables import PRICE_SOURCES


def keep_sources(connection: Connection, prices: PriceList, content: str, *, now: int) -> None:
    """Keeps what a list says of its sources, unless it says what is known; content is the text that says it."""
    known = _latest(connection, prices.version)
    told = _told(prices)
    if known is None:
        if not any(any(one) for entries in told.values() for one in entries):
            return
    elif json.loads(known.content) == told:
        return
    row = {
        "version": prices.version,
        "number": 1 if known is None else known.number + 1,
        "loaded_at": now,
        "digest": digest_of(content),
        "content": json.dumps(told, ensure_ascii=False, separators=(",", ":")),
    }
    connection.execute(insert(PRICE_SOURCES), [row])


def with_sources(connection: Connection, prices: PriceList) -> PriceList:
    """Returns a list with what was said last of its sources."""
    known = _latest(connection, prices.version)
    if known is None:
        return prices
    told = json.loads(known.content)
    return replace(
        prices,
        entries=tuple(
            replace(entry, source=source, checked_at=checked_at)
            for entry, (source, checked_at) in zip(prices.entries, told["entries"], strict=True)
        ),
        tools=tuple(
            replace(tool, source=source, checked_at=checked_at)
            for tool, (source, checked_at) in zip(prices.tools, told["tools"], strict=True)
        ),
    )


def digest_of_sources(connection: Connection, version: str) -> str | None:
    """Returns the digest of the text that said last where the prices of a version are from, None if none did."""
    known = _latest(connection, version)
    return None if known is None else str(known.digest)


def digest_of(content: str) -> str:
    """Returns the digest of a text."""
    return hashlib.sha256(content.encode()).hexdigest()


def _told(prices: PriceList) -> dict[str, list[list[str]]]:
    return {
        "entries": [[one.source, one.checked_at] for one in prices.entries],
        "tools": [[one.source, one.checked_at] for one in prices.tools],
    }


def _latest(connection: Connection, version: str) -> Any:
    return connection.execute(
        select(PRICE_SOURCES)
        .where(PRICE_SOURCES.c.version == version)
        .order_by(PRICE_SOURCES.c.number.desc())
        .limit(1)
    ).one_or_none()
