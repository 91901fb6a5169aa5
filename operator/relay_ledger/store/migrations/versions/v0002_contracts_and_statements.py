"""Adds how long answers took, the terms of tenants, exchange rates, statements, and credit."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

_WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL: Final = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_UNCHANGED: Final = ("terms", "exchange_rates", "statements", "credits")


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _whole(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _WHOLE, nullable=False, autoincrement=False) for name in names]


def _table(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Makes the tables."""
    _table(
        "answers",
        *_text("tenant_uid"),
        *_whole("quarter"),
        sa.Column("step", _SMALL, nullable=False, autoincrement=False),
        *_whole("calls", "served", "delivered"),
        key=("tenant_uid", "quarter", "step"),
    )
    _table(
        "terms",
        *_text("tenant_uid", "zone", "currency", "tenant"),
        *_whole("starts_at", "number", "anchor_day", "loaded_at"),
        key=("tenant_uid", "starts_at", "number"),
    )
    _table(
        "exchange_rates",
        *_text("currency", "source"),
        *_whole("starts_at", "number", "rate_micro", "loaded_at"),
        key=("currency", "starts_at", "number"),
    )
    _table(
        "statements",
        *_text("tenant_uid", "name", "content"),
        *_whole("starts_at", "ends_at", "finalized_at"),
        key=("tenant_uid", "starts_at"),
    )
    _table(
        "credits",
        *_text("tenant_uid", "reference", "note"),
        *_whole("amount_pico", "booked_at"),
        key=("tenant_uid", "reference"),
    )
    for table in _UNCHANGED:
        for change in ("UPDATE", "DELETE"):
            _refuse(table, change)


def _refuse(table: str, change: str) -> None:
    name = f"{table}_no_{change.lower()}"
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change} ON {table} BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
