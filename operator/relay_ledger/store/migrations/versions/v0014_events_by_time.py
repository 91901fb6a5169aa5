"""Adds an index of the time at which attempts were sent, by which they are read page after page, and lets superseded findings and books go."""

from typing import Final

from alembic import op

revision: Final = "0014"
down_revision: Final = "0013"


def upgrade() -> None:
    """Makes the index, which takes as long as it takes, and drops the triggers by which what reconciliations found, and every book, stayed for ever."""
    is_sqlite = op.get_context().dialect.name == "sqlite"
    if not is_sqlite:
        # a year of attempts is more than a statement has time for otherwise
        op.execute("SET LOCAL statement_timeout = 0")
    # a large database may have it already: the pod has five minutes to start
    op.create_index("ix_events_dispatched_at", "events", ["dispatched_at"], if_not_exists=True)
    for table in ("reconciliations", "books"):
        op.execute(f"DROP TRIGGER {table}_no_delete{'' if is_sqlite else f' ON {table}'}")
