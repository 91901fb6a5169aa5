"""Makes the steps from one version of the tables to a later one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def migrate(connection: Connection, version: str) -> None:
    """Brings the tables to a version, or to "head", within the connection's transaction."""
    command.upgrade(configuration(connection), version)


def configuration(connection: Connection) -> Config:
    """Returns where the steps are and on which connection they are made."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
