"""Adds how the matter of a line that was kept apart ended."""

from typing import Final

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0012"
down_revision: Final = "0011"


def upgrade() -> None:
    """Makes the table."""
    make_table(
        "quarantine_ends",
        *text_columns("tenant_uid", "digest", "reason"),
        *whole_columns("ended_at"),
        *text_columns("how"),
        key=("tenant_uid", "digest", "reason"),
    )
    refuse_changes(("quarantine_ends",))
