"""Adds what bounds tenants' spending, what their relay pods have of it, and what was warned of."""

from typing import Final

from alembic import op

from relay_ledger.store.migrations.tables import make_table, text_columns, whole_columns

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """Makes the tables."""
    make_table(
        "budgets",
        *text_columns("tenant_uid", "zone", "content"),
        *whole_columns("loaded_at"),
        key=("tenant_uid",),
    )
    make_table(
        "limit_pods",
        *text_columns("tenant_uid", "kind", "pod"),
        *whole_columns(
            "starts_at", "ends_at", "granted", "reported", "booked", "until", "sequence"
        ),
        key=("tenant_uid", "kind", "starts_at", "pod"),
    )
    op.create_index("ix_limit_pods_ends_at", "limit_pods", ["ends_at"])
    make_table(
        "budget_alerts",
        *text_columns("tenant_uid", "kind"),
        *whole_columns("starts_at", "amount_pico", "threshold"),
        *whole_columns("ends_at", "spent_pico", "crossed_at", "told_at"),
        key=("tenant_uid", "kind", "starts_at", "amount_pico", "threshold"),
    )
    op.create_index("ix_budget_alerts_told_at", "budget_alerts", ["told_at"])
