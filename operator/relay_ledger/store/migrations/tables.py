"""Makes tables in the same way on SQLite and PostgreSQL, for the steps that add some."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

_WHOLE: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def text_columns(*names: str) -> list[sa.Column[str]]:
    """Returns columns of text."""
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def whole_columns(*names: str, default: str | None = None) -> list[sa.Column[int]]:
    """Returns columns of integers of 64 bits. A table that has rows needs a default for those."""
    return [
        sa.Column(name, _WHOLE, nullable=False, autoincrement=False, server_default=default)
        for name in names
    ]


def make_table(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    """Makes a table with this primary key."""
    op.create_table(
        name,
        *columns,
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def refuse_changes(tables: Sequence[str]) -> None:
    """Has the database refuse to change or delete rows; refuse_change() is of the first step."""
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for table in tables:
        for change in ("UPDATE", "DELETE"):
            then = (
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never changed'); END"
                if is_sqlite
                else "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {then}"
            )
