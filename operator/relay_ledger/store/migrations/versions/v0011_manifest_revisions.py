"""Adds to postings the tool manifest that a call was held to."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"


def upgrade() -> None:
    """Adds the column. Of what was booked before nobody knows it."""
    column = sa.Column("manifest_revision", sa.Text(), nullable=False, server_default="")
    op.add_column("postings", column)
