"""Brings a database to the tables of this version; several ledgers that start at once take turns."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from relay_ledger.store.databases import is_sqlite, lock

_MIGRATIONS: Final = Path(__file__).with_name("migrations")


class NewerSchema(Exception):
    """The tables are of a version that this ledger does not know: it is older than what has run here before."""


def upgrade(engine: Engine) -> None:
    """Makes or changes the tables, in one transaction; raises NewerSchema."""
    with engine.begin() as connection:
        if not is_sqlite(connection):
            lock(connection, "schema")
        config = _config(connection)
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise NewerSchema(
                f"the tables are of version {current}, which this ledger does not know: run the newer ledger"
            )
        command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
