"""Lines that are not booked and not lost: what cannot be read, what contradicts what is booked, what comes too early or too late."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from relay_ledger.store.databases import insert_into
from relay_ledger.store.tables import QUARANTINE

MAX_DETAIL: Final = 512


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A line that is not booked: its reason is unreadable, conflict, early, late or unbookable.

    What a database takes for no text (a NUL, half of a character) stands in it as U+FFFD; the digest is of what came.
    """

    digest: str
    reason: str
    detail: str
    line: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", _storable(self.detail))
        object.__setattr__(self, "line", _storable(self.line))


def _storable(text: str) -> str:
    half_characters = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return half_characters.replace("\0", "\ufffd")


def keep_apart(
    connection: Connection, tenant_uid: str, lines: Sequence[Quarantined], *, now: int
) -> None:
    """Keeps lines of a tenant, each once."""
    rows = [
        {
            "tenant_uid": tenant_uid,
            "digest": one.digest,
            "reason": one.reason,
            "received_at": now,
            "detail": one.detail[:MAX_DETAIL],
            "line": one.line,
        }
        for one in lines
    ]
    if rows:
        connection.execute(insert_into(connection, QUARANTINE).on_conflict_do_nothing(), rows)
