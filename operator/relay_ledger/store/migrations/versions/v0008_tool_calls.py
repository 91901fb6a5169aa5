"""Adds what tenants ask of tool servers."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from relay_ledger.store.migrations.tables import text_columns, whole_columns

revision: Final = "0008"
down_revision: Final = "0007"


def upgrade() -> None:
    """Makes the table. On SQLite old rows are deleted, on PostgreSQL whole partitions go and never a row."""
    op.create_table(
        "tool_calls",
        *text_columns("tenant_uid", "event_id", "tenant", "relay", "call_id", "round_id"),
        *text_columns("key_name", "method", "server", "name", "rule", "limit_name"),
        *text_columns("revision", "outcome", "request_id", "digest"),
        *whole_columns("called_at", "ended_at", "received_at", "request_bytes", "answer_bytes"),
        sa.PrimaryKeyConstraint("tenant_uid", "event_id", "called_at", name="pk_tool_calls"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (called_at)",
    )
    op.create_index("ix_tool_calls_called_at", "tool_calls", ["called_at"])
    if op.get_context().dialect.name == "sqlite":
        changes = "UPDATE"
        then = "BEGIN SELECT RAISE(ABORT, 'rows of tool_calls are never changed'); END"
    else:
        changes, then = "UPDATE OR DELETE", "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    op.execute(f"CREATE TRIGGER tool_calls_unchanged BEFORE {changes} ON tool_calls {then}")
