"""Ids of the events that a client is told in a session: sealed in them is what a relay has to know to go on after the event.

They are good in the session that they were given in, for its caller, and no server is shown an id that it did not give there.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relay.tools.sealed.sealing import SessionBinding, opened_text, sealed_text

MAX_EVENT_ID_CHARACTERS: Final = 4096
"""Of the id of an event that a client sends in a header."""
MAX_SERVER_ID_CHARACTERS: Final = 256
"""Of the id of an event that a server is shown again."""
MARKED_SINCE: Final = "2025-11-25"
"""The revision since which clients know events without data."""
CALL_MARK: Final = "call."
"""How ids in the stream of a call begin."""
_EVENT_PURPOSE: Final = b"relay event id v2"
_CALL_PURPOSE: Final = b"relay event id of a call v2"


class PositionSeal:
    """Seals and opens how far a session's stream has come at each server, as the id of an event (MCP 2025-11-25, basic/transports, Resumability)."""

    __slots__ = ("_bound", "_key")

    def __init__(self, session: SessionBinding) -> None:
        self._bound = session.text
        self._key = session.key_for(_EVENT_PURPOSE)

    def sealed(self, positions: Mapping[int, str], nonce: bytes) -> str:
        """Returns the id of an event that was reached with these ids, by the servers' places; empty where there can be none."""
        if not self._key or not positions:
            return ""
        plain = json.dumps(list(positions.items()), separators=(",", ":")).encode()
        text = sealed_text(self._key, plain, self._bound, nonce)
        return text if len(text) <= MAX_EVENT_ID_CHARACTERS else ""

    def opened(self, sealed: str) -> dict[int, str] | None:
        """Returns the servers' ids by their places; None of an id that was not sealed for this session."""
        if len(sealed) > MAX_EVENT_ID_CHARACTERS:
            return None
        plain = opened_text(self._key, sealed, self._bound)
        return None if plain is None else dict(json.loads(plain))


class CallPosition(NamedTuple):
    """How far the stream of a call has come. worker is whose call it is, and call its id there.

    place is its server's in the session, id_text the id of its request as the client wrote it. name is what the client calls, a tool, a prompt
    or a URI, own_name what the server calls it. server_id is the last id that the server has named.
    """

    worker: str
    call: str
    place: int
    server: str
    method: str
    name: str
    own_name: str
    id_text: str
    server_id: str


class CallPositionSeal:
    """Seals and opens the position of a call in a session, as PositionSeal does that of the session's stream."""

    __slots__ = ("_bound", "_key")

    def __init__(self, session: SessionBinding) -> None:
        self._bound = session.text
        self._key = session.key_for(_CALL_PURPOSE)

    def sealed(self, position: CallPosition, nonce: bytes) -> str:
        """Returns the id of an event at this position; empty where there can be none."""
        if not self._key or not position.server_id:
            return ""
        plain = json.dumps(position, separators=(",", ":")).encode()
        text = CALL_MARK + sealed_text(self._key, plain, self._bound, nonce)
        return text if len(text) <= MAX_EVENT_ID_CHARACTERS else ""

    def opened(self, sealed: str) -> CallPosition | None:
        """Returns the position; None of an id that was not sealed for this session."""
        if len(sealed) > MAX_EVENT_ID_CHARACTERS or not sealed.startswith(CALL_MARK):
            return None
        plain = opened_text(self._key, sealed.removeprefix(CALL_MARK), self._bound)
        if plain is None:
            return None
        fields: list[Any] = json.loads(plain)
        return CallPosition(*fields)


def is_server_id(text: str) -> bool:
    """Returns whether a server may be shown this id again in a header: visible ASCII."""
    return (
        0 < len(text) <= MAX_SERVER_ID_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
