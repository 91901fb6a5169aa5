"""Adds in which currency credit was paid, and the rate by which it was turned into USD."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from relay_ledger.store.migrations.tables import whole_columns

revision: Final = "0013"
down_revision: Final = "0012"


def upgrade() -> None:
    """Adds the columns. What was paid before was USD."""
    currency = sa.Column("currency", sa.Text(), nullable=False, server_default="USD")
    op.add_column("credits", currency)
    for name, default in (("paid_micro", "0"), ("rate_micro", "1000000"), ("rate_since", "0")):
        for column in whole_columns(name, default=default):
            op.add_column("credits", column)
