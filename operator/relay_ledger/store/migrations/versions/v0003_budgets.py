"""Adds what bounds tenants' spending, what their relay pods have of it, and what was warned of."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

_WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _whole(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, _WHOLE, nullable=False, autoincrement=False) for name in names]


def _table(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    """Makes the tables."""
    _table(
        "budgets",
        *_text("tenant_uid", "zone", "content"),
        *_whole("loaded_at"),
        key=("tenant_uid",),
    )
    _table(
        "limit_pods",
        *_text("tenant_uid", "kind", "pod"),
        *_whole("starts_at", "ends_at", "granted", "reported", "booked", "until", "sequence"),
        key=("tenant_uid", "kind", "starts_at", "pod"),
    )
    op.create_index("ix_limit_pods_ends_at", "limit_pods", ["ends_at"])
    _table(
        "budget_alerts",
        *_text("tenant_uid", "kind"),
        *_whole("starts_at", "amount_pico", "threshold"),
        *_whole("ends_at", "spent_pico", "crossed_at", "told_at"),
        key=("tenant_uid", "kind", "starts_at", "amount_pico", "threshold"),
    )
    op.create_index("ix_budget_alerts_told_at", "budget_alerts", ["told_at"])
