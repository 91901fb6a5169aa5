"""Cursors of lists that run over several servers.

A cursor says at which server the list goes on, and with which cursor of that server. It grants nothing: what it leads to is
filtered like a first page. It names the manifest's revision, so that another tenant's, and one from before a change, are invalid.
"""

import base64
import binascii
from typing import Final, NamedTuple

MAX_CURSOR_CHARACTERS: Final = 8192
_SEPARATOR: Final = "."
_FIRST_PAGE: Final = ""


class Place(NamedTuple):
    """Where a list goes on. cursor is the server's own; None at its first page."""

    server: str
    cursor: str | None


def cursor_to(place: Place, revision: str) -> str | None:
    """Returns the cursor that leads there; None where it would be too long, or is text without UTF-8."""
    own = _FIRST_PAGE if place.cursor is None else "~" + place.cursor
    try:
        text = base64.urlsafe_b64encode(own.encode()).decode().rstrip("=")
    except UnicodeEncodeError:
        return None
    cursor = _SEPARATOR.join((revision, place.server, text))
    return cursor if len(cursor) <= MAX_CURSOR_CHARACTERS else None


def place_of(cursor: str, revision: str) -> Place | None:
    """Returns where a cursor leads; None for one that was not made of this revision."""
    if len(cursor) > MAX_CURSOR_CHARACTERS or not cursor.isascii():
        return None
    made_of, *rest = cursor.split(_SEPARATOR)
    if made_of != revision or len(rest) != 2:
        return None
    server, text = rest
    try:
        own = base64.b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, ValueError):
        return None
    place = Place(server, own[1:] if own else None)
    # one text for each place: no two cursors lead to the same page
    return place if cursor_to(place, revision) == cursor else None
