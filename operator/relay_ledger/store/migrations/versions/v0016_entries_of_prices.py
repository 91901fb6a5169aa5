"""Adds to postings which entry of its price list a charge was made by."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0016"
down_revision: Final = "0015"


def upgrade() -> None:
    """Adds the column. What was booked before names the version of its list alone."""
    column = sa.Column("charge_entry", sa.Integer(), nullable=False, server_default="-1")
    op.add_column("postings", column)
