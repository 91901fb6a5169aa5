"""Looks for a field in the lines of records, which event_line writes in one way.

A field with a value is a text that stands in no other line, because quotes within values are escaped. Both databases find it alike, without
an index that every booking would pay for.
"""

import json

from sqlalchemy import ColumnElement, Dialect, func

from relay_ledger.store.tables import EVENTS


def says(name: str, value: str, dialect: Dialect) -> ColumnElement[bool]:
    """Returns the condition for records whose field of this name, as a line has it, has this value."""
    written = f'"{name}":{json.dumps(value, ensure_ascii=False)}'
    # unlike LIKE, which takes capitals for small letters on SQLite
    finds = func.instr if dialect.name == "sqlite" else func.strpos
    return finds(EVENTS.c.line, written) > 0
