"""Makes the first tables, and has the database refuse changes of rows that are for ever."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SMALL: Final = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_FIGURES: Final = (
    *("attempts", "delivered", "input", "cache_read", "cache_write", "cache_write_hour"),
    *("output", "reasoning", "audio_input", "audio_output", "tool_prompt"),
    *("web_search", "web_fetch", "cost_pico", "charge_pico", "held_pico"),
    *("cost_unpriced", "charge_unpriced"),
)
_DIMENSIONS: Final = ("route", "side", "provider", "model", "key_name", "usage_source")
_UNCHANGED: Final = ("events", "postings", "price_lists", "assignments", "quarantine")
_KEPT: Final = ("events", "postings")
"""On PostgreSQL whole partitions go, and never a row."""
_BY_TIME: Final = {"postgresql_partition_by": "RANGE (dispatched_at)"}


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _whole(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _WHOLE, nullable=False, autoincrement=False) for name in names]


def _table(name: str, *columns: sa.Column[Any], key: tuple[str, ...], **options: Any) -> None:
    op.create_table(
        name,
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        **options,
    )


def upgrade() -> None:
    """Makes the tables of version 1."""
    _make_growing_tables()
    _make_sums()
    _table(
        "quarantine",
        *_text("tenant_uid", "digest", "reason", "detail", "line"),
        *_whole("received_at"),
        key=("tenant_uid", "digest", "reason"),
    )
    op.create_index("ix_quarantine_received_at", "quarantine", ["received_at"])
    _table(
        "price_lists",
        *_text("name", "version", "content"),
        *_whole("number", "loaded_at"),
        key=("name", "number"),
    )
    _table(
        "assignments",
        *_text("account", "subject", "list_name"),
        *_whole("starts_at", "number", "loaded_at"),
        key=("account", "subject", "starts_at", "number"),
    )
    if op.get_context().dialect.name == "sqlite":
        _refuse_changes_on_sqlite()
    else:
        _refuse_changes_on_postgresql()


def _make_growing_tables() -> None:
    _table(
        "events",
        *_text("tenant_uid", "event_id", "phase", "digest", "line"),
        *_whole("dispatched_at", "received_at"),
        key=("tenant_uid", "event_id", "phase", "dispatched_at"),
        **_BY_TIME,
    )
    _table(
        "postings",
        *_text("tenant_uid", "event_id", "kind", *_DIMENSIONS),
        *_text("cost_state", "cost_version", "cost_detail"),
        *_text("charge_state", "charge_version", "charge_detail"),
        sa.Column("sequence", _SMALL, nullable=False, autoincrement=False),
        *_whole("dispatched_at", "booked_at", *_FIGURES),
        key=("tenant_uid", "event_id", "sequence", "dispatched_at"),
        **_BY_TIME,
    )


def _make_sums() -> None:
    _table(
        "sums",
        *_text("tenant_uid", *_DIMENSIONS),
        *_whole("quarter", *_FIGURES),
        key=("tenant_uid", "quarter", *_DIMENSIONS),
    )
    _table(
        "tallies",
        *_text("tenant_uid"),
        *_whole("day", "opened", "closed", "swept", "unopened"),
        key=("tenant_uid", "day"),
    )
    _table(
        "in_flight",
        *_text("tenant_uid", "event_id"),
        *_whole("dispatched_at"),
        key=("tenant_uid", "event_id"),
    )
    op.create_index("ix_in_flight_dispatched_at", "in_flight", ["dispatched_at"])


def _refuse_changes_on_sqlite() -> None:
    for table in _UNCHANGED:
        op.execute(
            f"CREATE TRIGGER {table}_unchanged BEFORE UPDATE ON {table} BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
        )


def _refuse_changes_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME; END$$"
    )
    for table in _UNCHANGED:
        changes = "UPDATE OR DELETE" if table in _KEPT else "UPDATE"
        op.execute(
            f"CREATE TRIGGER {table}_unchanged BEFORE {changes} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
