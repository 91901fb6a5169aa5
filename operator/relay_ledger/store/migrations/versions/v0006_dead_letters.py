"""Adds when an alert was given up and sent again, and an index of sums for what is asked of all tenants at once."""

from typing import Final

from alembic import op

from relay_ledger.store.migrations.tables import whole_columns

revision: Final = "0006"
down_revision: Final = "0005"


def upgrade() -> None:
    """Adds the columns, 0 for what is there, and the index."""
    for column in whole_columns("given_up_at", "sent_again_at", default="0"):
        op.add_column("budget_alerts", column)
    op.create_index("ix_sums_quarter", "sums", ["quarter"])
