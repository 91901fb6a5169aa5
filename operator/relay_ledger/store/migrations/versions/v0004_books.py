"""Adds the operator's books, what of price lists is dated back, and what was repriced since."""

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

_WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNCHANGED: Final = ("books", "back_dated", "repricings")


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
        "books",
        *_whole("number", "loaded_at"),
        *_text("digest", "content", "problems"),
        key=("number",),
    )
    _table(
        "back_dated",
        *_text("name", "models"),
        *_whole("number", "since"),
        key=("name", "number"),
    )
    _table("repricings", *_whole("booked_at", "starts_at", "ends_at"), key=("booked_at",))
    for table in _UNCHANGED:
        for change in ("UPDATE", "DELETE"):
            _refuse(table, change)


def _refuse(table: str, change: str) -> None:
    name = f"{table}_no_{change.lower()}"
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change} ON {table} BEGIN"
            f" SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
        )
    else:
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change} ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
