"""Adds what tool calls cost: their number beside attempts, and the names by which their servers know them."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from relay_ledger.store.migrations.tables import whole_columns

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    """Adds the columns. What was booked before stays as it was: attempts alone."""
    for table in ("postings", "sums"):
        for column in whole_columns("tool_calls", default="0"):
            op.add_column(table, column)
    own_name = sa.Column("own_name", sa.Text(), nullable=False, server_default="")
    op.add_column("tool_calls", own_name)
