"""Adds what old relays served, and what people had the ledger change."""

from typing import Final

from alembic import op

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0010"
down_revision: Final = "0009"


def upgrade() -> None:
    """Makes the tables."""
    make_table(
        "baselines",
        *text_columns("tenant_uid", "source"),
        *whole_columns("starts_at", "ends_at", "points", "imported_at"),
        *text_columns("digest"),
        key=("tenant_uid", "source", "starts_at"),
    )
    make_table(
        "baseline_points",
        *text_columns("tenant_uid", "source"),
        *whole_columns("starts_at"),
        *text_columns("model"),
        *whole_columns("input_tokens", "output_tokens"),
        key=("tenant_uid", "source", "starts_at", "model"),
    )
    op.create_index("ix_baseline_points_starts_at", "baseline_points", ["starts_at"])
    make_table(
        "acts",
        *whole_columns("done_at"),
        *text_columns("act", "tenant_uid", "subject", "note"),
        key=("done_at", "act", "tenant_uid", "subject"),
    )
    refuse_changes(("acts",))
