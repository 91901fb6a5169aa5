"""Adds the operator's books, what of price lists is dated back, and what was repriced since."""

from typing import Final

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0004"
down_revision: Final = "0003"

_UNCHANGED: Final = ("books", "back_dated", "repricings")


def upgrade() -> None:
    """Makes the tables."""
    make_table(
        "books",
        *whole_columns("number", "loaded_at"),
        *text_columns("digest", "content", "problems"),
        key=("number",),
    )
    make_table(
        "back_dated",
        *text_columns("name", "models"),
        *whole_columns("number", "since"),
        key=("name", "number"),
    )
    make_table(
        "repricings", *whole_columns("booked_at", "starts_at", "ends_at"), key=("booked_at",)
    )
    refuse_changes(_UNCHANGED)
