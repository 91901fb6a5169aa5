"""The ledger's database for the time of a command: opened, with its tables brought to this version, and closed."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from relay_ledger.store.databases import DatabaseUnusable, open_database
from relay_ledger.store.opening.unusable import why_not
from relay_ledger.store.schema import upgrade


@contextmanager
def opened(address: str, *, connections: int = 4) -> Iterator[Engine]:
    """Opens a database, with its tables brought to this version; raises DatabaseUnusable, NewerSchema.

    What the database refuses meanwhile is DatabaseUnusable as well.
    """
    engine = open_database(address, connections=connections)
    try:
        _bring_up(engine)
        yield engine
    except DBAPIError as error:
        raise DatabaseUnusable(why_not(engine.url, error.orig)) from error
    finally:
        engine.dispose()


def _bring_up(engine: Engine) -> None:
    try:
        upgrade(engine)
    except UnicodeError as error:
        raise DatabaseUnusable(why_not(engine.url, error)) from error
