"""The lines of a batch: which are records of the tenant that sent them, and which are kept apart and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.delivery import MAX_BATCH_LINES
from relay_contract.billing.event_line import (
    MAX_EVENT_BYTES,
    UnreadableEvent,
    event_line,
    line_digest,
    read_event,
)
from relay_ledger.store.batch_booking import Quarantined

SECOND: Final = 1_000_000


class BatchRefused(Exception):
    """A batch of which nothing is booked; reason is for metrics, the message for who sent it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Window:
    """The times of dispatch that are taken, microseconds since 1970."""

    earliest: int
    latest: int

    def misses(self, record: AttemptRecord) -> str | None:
        """Returns why a record is not taken, None if it is."""
        if record.dispatched_at < self.earliest:
            return "late"
        return "early" if record.dispatched_at > self.latest else None


@dataclass(frozen=True, slots=True)
class Batch:
    """Holds the content of a request: records to book, and lines to keep apart."""

    records: tuple[AttemptRecord, ...]
    refused: tuple[Quarantined, ...]


def read_batch(body: bytes, tenant_uid: str, window: Window) -> Batch:
    """Reads a batch; raises BatchRefused if it is too long, or if any record in it is another tenant's.

    A line that cannot be read is kept apart, so that it does not hold up for ever what comes after it.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > MAX_BATCH_LINES:
        raise BatchRefused(
            "too_long",
            f"{len(lines)} lines are more than the {MAX_BATCH_LINES} of a batch: divide it",
        )
    records: list[AttemptRecord] = []
    refused: list[Quarantined] = []
    for line in lines:
        try:
            record = read_event(line)
        except UnreadableEvent as error:
            refused.append(_unreadable(line, str(error)))
            continue
        if record.tenant_uid != tenant_uid:
            raise BatchRefused(
                "forged",
                f"record {record.id} is of tenant {record.tenant_uid}, and the token of another: nothing is booked",
            )
        missed = window.misses(record)
        if missed is None:
            records.append(record)
        else:
            refused.append(_missed(record, missed))
    return Batch(tuple(records), tuple(refused))


def _unreadable(line: bytes, detail: str) -> Quarantined:
    # a database takes no NUL; the digest is of what came
    shown = line[:MAX_EVENT_BYTES].decode(errors="replace").replace("\0", "\ufffd")
    return Quarantined(line_digest(line), "unreadable", detail, shown)


def _missed(record: AttemptRecord, reason: str) -> Quarantined:
    line = event_line(record)
    detail = (
        f"{record.phase} {record.id} was sent at {record.dispatched_at} microseconds since 1970"
    )
    return Quarantined(line_digest(line), reason, detail, line.decode())


def unbookable(record: AttemptRecord, detail: str) -> Quarantined:
    """Returns the line of a record that the database refuses."""
    line = event_line(record)
    return Quarantined(line_digest(line), "unbookable", detail, line.decode())


def told(lines: tuple[Quarantined, ...], most: int = 20) -> Iterator[dict[str, str]]:
    """Yields what the sender is told of lines that were kept apart."""
    for line in lines[:most]:
        yield {"digest": line.digest, "reason": line.reason, "detail": line.detail}
