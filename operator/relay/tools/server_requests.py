"""Requests of servers inside a session: their ids are the servers' own, so two servers may use the same one.

To the client an id begins with the place of its server in the session, and a seal of the two: what the client answers goes to that server, by the id that it gave,
if the client was asked so in this session. A server that keeps no sessions knows a request by its id alone, and whoever guessed one could answer for another.
"""

import hashlib
import hmac
import json
import re
from typing import Any, Final

from relay.tools.reading.edits import edited, replaced
from relay.tools.reading.json_text import found
from relay.tools.reading.messages import MAX_ID, MAX_ID_CHARACTERS, Kind, Message
from relay.tools.sealed.sealing import SessionBinding

_MARKED: Final = re.compile(r"([0-9]{1,2}):([0-9a-f]{16}):(.+)", re.DOTALL)
_SEAL_CHARACTERS: Final = 16
_CANCELLED: Final = "notifications/cancelled"
_KEY_PURPOSE: Final = b"relay server request v1"


class RequestMarks:
    """Marks the ids of servers' requests in one session."""

    __slots__ = ("_key",)

    def __init__(self, session: SessionBinding) -> None:
        self._key = session.key_for(_KEY_PURPOSE)

    def marked(self, message: Message, place: int) -> str | None:
        """Returns a server's message as the client gets it; None of one whose id would be too long."""
        if message.kind is Kind.REQUEST:
            member = message.member("id")
        elif message.method == _CANCELLED:
            member = found(message.params_members(), "requestId")
        else:
            return message.text
        if member is None:
            return None
        own = message.text[member.start : member.end]
        mark = f"{place}:{self._seal(place, own)}:{own}"
        if len(json.dumps(mark)) > MAX_ID_CHARACTERS:
            return None
        return edited(message.text, [replaced(member, mark)])

    def unmarked(self, message: Message, places: int) -> tuple[int, str] | None:
        """Returns where a client's response goes and how the server there reads it; None of one to what the client was never asked.

        places is the number of the session's servers.
        """
        member = message.member("id")
        if member is None or not isinstance(member.value, str):
            return None
        parts = _MARKED.fullmatch(member.value)
        if parts is None or int(parts.group(1)) >= places:
            return None
        place, own = int(parts.group(1)), _id(parts.group(3))
        is_ours = hmac.compare_digest(parts.group(2), self._seal(place, parts.group(3)))
        if own is None or not is_ours:
            return None
        return place, edited(message.text, [replaced(member, own)])

    def _seal(self, place: int, own: str) -> str:
        text = f"{place}:{own}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:_SEAL_CHARACTERS]


def _id(text: str) -> Any:
    """Returns the id that this JSON is; None of anything else."""
    try:
        own = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(own, str):
        return own
    is_number = isinstance(own, int) and not isinstance(own, bool)
    return own if is_number and -MAX_ID <= own <= MAX_ID else None
