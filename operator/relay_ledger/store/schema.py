"""Brings a database to the tables of this version; several ledgers that start at once take turns."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from relay_ledger.store.databases import is_sqlite, lock

VERSIONS: Final = tuple(
    sorted(file.name[1:5] for file in Path(__file__).parent.glob("migrations/versions/v*_*.py"))
)
"""Versions of the tables that this ledger knows, the newest at the end: a module of migrations is named for the one that it makes."""


class NewerSchema(Exception):
    """The tables are of a version that this ledger does not know: it is older than what has run here before."""


def upgrade(engine: Engine) -> None:
    """Makes or changes the tables, in one transaction; raises NewerSchema."""
    with engine.begin() as connection:
        if not is_sqlite(connection):
            lock(connection, "schema")
        current = _version(connection)
        if current is not None and current not in VERSIONS:
            raise NewerSchema(
                f"the tables are of version {current}, which this ledger does not know: run the newer ledger"
            )
        if current != VERSIONS[-1]:
            # nearly every start finds the tables as they are to be, and spares itself the library
            from relay_ledger.store.migrations.steps import migrate

            migrate(connection, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
