"""Adds an index of the time at which attempts were sent, by which they are read page after page."""

from typing import Final

from alembic import op

revision: Final = "0014"
down_revision: Final = "0013"


def upgrade() -> None:
    """Makes the index, which takes as long as it takes: a year of attempts is more than a statement has time for otherwise."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL statement_timeout = 0")
    # a large database may have it already: the pod has five minutes to start
    op.create_index("ix_events_dispatched_at", "events", ["dispatched_at"], if_not_exists=True)
