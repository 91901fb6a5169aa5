"""Which record of an attempt counts: that of its end, or of its beginning where no end has come.

Both are read and one of them is left out here: a subquery for each row is what a database may answer by reading all of them.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement

from relay_ledger.store.tables import EVENTS


def is_record() -> ColumnElement[bool]:
    """Tells of a row of EVENTS whether it holds a record."""
    return EVENTS.c.phase.in_(("closed", "opened"))


def last_records(rows: Iterable[Any]) -> Iterator[Any]:
    """Yields of each attempt the row that counts: the first one, where those of an attempt come by their phase.

    So a page that ends among the rows of an attempt has the right one, if the next page begins after that attempt.
    """
    for _, same in groupby(rows, key=lambda row: row.event_id):
        yield next(same)
