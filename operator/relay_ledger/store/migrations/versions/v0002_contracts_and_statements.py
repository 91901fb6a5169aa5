"""Adds how long answers took, the terms of tenants, exchange rates, statements, and credit."""

from typing import Final

import sqlalchemy as sa

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0002"
down_revision: Final = "0001"

_SMALL: Final = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_UNCHANGED: Final = ("terms", "exchange_rates", "statements", "credits")


def upgrade() -> None:
    """Makes the tables."""
    make_table(
        "answers",
        *text_columns("tenant_uid"),
        *whole_columns("quarter"),
        sa.Column("step", _SMALL, nullable=False, autoincrement=False),
        *whole_columns("calls", "served", "delivered"),
        key=("tenant_uid", "quarter", "step"),
    )
    make_table(
        "terms",
        *text_columns("tenant_uid", "zone", "currency", "tenant"),
        *whole_columns("starts_at", "number", "anchor_day", "loaded_at"),
        key=("tenant_uid", "starts_at", "number"),
    )
    make_table(
        "exchange_rates",
        *text_columns("currency", "source"),
        *whole_columns("starts_at", "number", "rate_micro", "loaded_at"),
        key=("currency", "starts_at", "number"),
    )
    make_table(
        "statements",
        *text_columns("tenant_uid", "name", "content"),
        *whole_columns("starts_at", "ends_at", "finalized_at"),
        key=("tenant_uid", "starts_at"),
    )
    make_table(
        "credits",
        *text_columns("tenant_uid", "reference", "note"),
        *whole_columns("amount_pico", "booked_at"),
        key=("tenant_uid", "reference"),
    )
    refuse_changes(_UNCHANGED)
