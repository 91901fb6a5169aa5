"""Adds what reconciliations have found."""

from typing import Final

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0005"
down_revision: Final = "0004"


def upgrade() -> None:
    """Makes the table."""
    make_table(
        "reconciliations",
        *text_columns("provider", "summary", "content"),
        *whole_columns("starts_at", "made_at", "ends_at"),
        key=("provider", "starts_at", "made_at"),
    )
    refuse_changes(("reconciliations",))
