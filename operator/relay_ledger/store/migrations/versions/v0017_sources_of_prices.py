"""Adds where prices are from, and when that was checked."""

from typing import Final

from relay_ledger.store.migrations.tables import (
    make_table,
    refuse_changes,
    text_columns,
    whole_columns,
)

revision: Final = "0017"
down_revision: Final = "0016"


def upgrade() -> None:
    """Makes the table. Of the versions that there are nobody has said it."""
    make_table(
        "price_sources",
        *text_columns("version"),
        *whole_columns("number", "loaded_at"),
        *text_columns("digest", "content"),
        key=("version", "number"),
    )
    refuse_changes(("price_sources",))
