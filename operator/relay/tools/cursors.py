"""Cursors of lists that run over several servers.

A cursor says at which server the list goes on, and with which cursor of that server. It grants nothing: what it leads to is
filtered like a first page. It is sealed, since a server's cursor may name the entry that its page ends with, which the tenant need not have; and
bound to the caller and the manifest's revision, so that another's, and one from before a change, are invalid.
"""

import json
from collections.abc import Callable
from typing import Final, NamedTuple

from relay.tools.sealed.sealing import key_for, opened_text, sealed_text

MAX_CURSOR_CHARACTERS: Final = 8192
_KEY_PURPOSE: Final = b"relay cursor v1"


class Place(NamedTuple):
    """Where a list goes on. cursor is the server's own; None at its first page. seen counts the entries of this server's that the tenant has seen before it."""

    server: str
    cursor: str | None
    seen: int = 0


class CursorSeal:
    """Seals and opens the places of one caller.

    Lists have pages for tenants without any credential too. Where there is no secret who knows the tenant's UID can read them.
    """

    __slots__ = ("_caller", "_key", "_new_nonce")

    def __init__(self, *, secret: bytes, caller: str, new_nonce: Callable[[], bytes]) -> None:
        self._key = key_for(_KEY_PURPOSE, secret or caller.encode(), caller.encode())
        self._caller = caller
        self._new_nonce = new_nonce

    def sealed(self, place: Place, revision: str) -> str | None:
        """Returns the cursor that leads there; None where it would be too long."""
        content = json.dumps(place, separators=(",", ":")).encode()
        cursor = sealed_text(self._key, content, self._bound(revision), self._new_nonce())
        return cursor if len(cursor) <= MAX_CURSOR_CHARACTERS else None

    def opened(self, cursor: str, revision: str) -> Place | None:
        """Returns where a cursor leads; None for one that was not sealed for this caller and revision."""
        if len(cursor) > MAX_CURSOR_CHARACTERS:
            return None
        plain = opened_text(self._key, cursor, self._bound(revision))
        return None if plain is None else Place(*json.loads(plain))

    def _bound(self, revision: str) -> bytes:
        return json.dumps([self._caller, revision]).encode()
