"""Requests of servers inside a session: their ids are the servers' own, so two servers may use the same one.

To the client an id begins with the place of its server in the session. What the client answers goes to that server, by the id that it gave.
"""

import json
import re
from typing import Any, Final

from relay.tools.reading.edits import edited, replaced
from relay.tools.reading.json_text import found
from relay.tools.reading.messages import MAX_ID, MAX_ID_CHARACTERS, Kind, Message

_MARKED: Final = re.compile(r"(\d{1,2}):(.+)", re.DOTALL)
_CANCELLED: Final = "notifications/cancelled"


def marked(message: Message, place: int) -> str | None:
    """Returns a server's message as the client gets it; None of one whose id would be too long."""
    if message.kind is Kind.REQUEST:
        member = message.member("id")
    elif message.method == _CANCELLED:
        member = found(message.params_members(), "requestId")
    else:
        return message.text
    if member is None:
        return None
    mark = f"{place}:{message.text[member.start : member.end]}"
    if len(json.dumps(mark)) > MAX_ID_CHARACTERS:
        return None
    return edited(message.text, [replaced(member, mark)])


def unmarked(message: Message, places: int) -> tuple[int, str] | None:
    """Returns where a client's response goes and how the server there reads it; None of one that answers nothing.

    places is the number of the session's servers.
    """
    member = message.member("id")
    if member is None or not isinstance(member.value, str):
        return None
    parts = _MARKED.fullmatch(member.value)
    if parts is None or int(parts.group(1)) >= places:
        return None
    own = _id(parts.group(2))
    if own is None:
        return None
    return int(parts.group(1)), edited(message.text, [replaced(member, own)])


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
