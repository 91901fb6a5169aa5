"""Adds how many attempts tenants pay for though their callers left before the answer."""

from typing import Final

from alembic import op

from relay_ledger.store.migrations.tables import whole_columns

revision: Final = "0015"
down_revision: Final = "0014"


def upgrade() -> None:
    """Adds the columns. Nobody has paid for such attempts before."""
    for table in ("postings", "sums"):
        for column in whole_columns("abandoned", default="0"):
            op.add_column(table, column)
