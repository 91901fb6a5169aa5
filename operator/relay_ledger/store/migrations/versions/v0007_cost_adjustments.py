"""Adds what a provider's invoice was booked to differ by."""

from typing import Final

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0007"
down_revision: Final = "0006"


def upgrade() -> None:
    """Makes the table."""
    make_table(
        "cost_adjustments",
        *text_columns("provider"),
        *whole_columns("starts_at", "booked_at", "ends_at", "amount_pico"),
        key=("provider", "starts_at", "booked_at"),
    )
    refuse_changes(("cost_adjustments",))
