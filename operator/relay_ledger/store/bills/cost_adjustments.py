"""Books what a provider's invoice differs by, beside the attempts: no attempt and no tenant's charge is changed by it."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from relay_ledger.store.databases import reading, writing
from relay_ledger.store.tables import COST_ADJUSTMENTS


@dataclass(frozen=True, slots=True)
class CostAdjustment:
    """What a provider's period costs more, or less, than its attempts. Times are microseconds since 1970."""

    provider: str
    starts_at: int
    ends_at: int
    amount_pico: int


class CostAdjustments:
    """Rows are only added; of a period their sum counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def adjust(self, provider: str, *, start: int, end: int, difference_pico: int, now: int) -> int:
        """Brings a period's adjustment to what the invoice has more than the attempts, and returns by how much that changed it."""
        with writing(self._engine, f"provider/{provider}") as connection:
            change = difference_pico - _adjusted(connection, provider, start)
            if change:
                row = {
                    "provider": provider,
                    "starts_at": start,
                    "booked_at": now,
                    "ends_at": end,
                    "amount_pico": change,
                }
                connection.execute(insert(COST_ADJUSTMENTS), [row])
        return change

    def of_period(self, provider: str, start: int) -> int:
        """Returns what a period is adjusted by, in pico-USD."""
        with reading(self._engine) as connection:
            return _adjusted(connection, provider, start)

    def between(self, start: int, end: int) -> list[CostAdjustment]:
        """Returns the adjustments of periods that lie in a time, by provider."""
        table = COST_ADJUSTMENTS.c
        key = (table.provider, table.starts_at, table.ends_at)
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(*key, func.sum(table.amount_pico))
                .where(table.starts_at >= start, table.ends_at <= end)
                .group_by(*key)
                .order_by(*key)
            )
            return [
                CostAdjustment(provider, starts_at, ends_at, int(amount))
                for provider, starts_at, ends_at, amount in rows
            ]


def _adjusted(connection: Connection, provider: str, start: int) -> int:
    table = COST_ADJUSTMENTS.c
    found = connection.execute(
        select(func.coalesce(func.sum(table.amount_pico), 0)).where(
            table.provider == provider, table.starts_at == start
        )
    ).scalar_one()
    return int(found)
