"""Keeps what reconciliations have found, and tells the newest of each provider."""

import json
from typing import Any

from sqlalchemy import Engine, delete, exists, func, insert, select

from relay_contract.billing.reconciliation_summary import Summary
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import RECONCILIATIONS


class ReconciliationStore:
    """Rows never change: the next run adds what it finds, and only what a later one of the same period has superseded ever goes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keep(
        self, provider: str, summary: Summary, content: str, *, start: int, end: int, now: int
    ) -> None:
        """Keeps what was found of a provider's period; content is the whole of it as JSON. Times are microseconds since 1970."""
        row = {
            "provider": provider,
            "starts_at": start,
            "ends_at": end,
            "made_at": now,
            "summary": json.dumps(summary.told()),
            "content": content,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(RECONCILIATIONS), [row])

    def made(self, provider: str) -> dict[int, int]:
        """Returns by the start of each period of a provider when it was compared last."""
        table = RECONCILIATIONS.c
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table.starts_at, func.max(table.made_at).label("newest"))
                .where(table.provider == provider)
                .group_by(table.starts_at)
            ).all()
        return {row.starts_at: row.newest for row in rows}

    def drop_superseded(self, cutoff: int) -> int:
        """Drops what was found of periods that had ended by then, microseconds since 1970, but for the newest of each; returns how many."""
        own, newer = RECONCILIATIONS.c, RECONCILIATIONS.alias()
        is_superseded = exists().where(
            newer.c.provider == own.provider,
            newer.c.starts_at == own.starts_at,
            newer.c.made_at > own.made_at,
        )
        with self._engine.begin() as connection:
            return connection.execute(
                delete(RECONCILIATIONS).where(own.ends_at <= cutoff, is_superseded)
            ).rowcount

    def latest(self) -> dict[str, dict[str, Any]]:
        """Returns by provider what was found last of its last period, with start, end and madeAt."""
        table = RECONCILIATIONS.c
        place = func.row_number().over(
            partition_by=table.provider,
            order_by=(table.starts_at.desc(), table.made_at.desc()),
        )
        ordered = select(
            table.provider,
            table.starts_at,
            table.ends_at,
            table.made_at,
            table.summary,
            place.label("place"),
        ).subquery()
        with reading(self._engine) as connection:
            rows = connection.execute(select(ordered).where(ordered.c.place == 1)).all()
        return {
            row.provider: {
                "start": row.starts_at,
                "end": row.ends_at,
                "madeAt": row.made_at,
                **json.loads(row.summary),
            }
            for row in rows
        }
