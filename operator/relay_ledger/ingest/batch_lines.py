"""The lines of a batch: which are records of the tenant that sent them, and which are kept apart and why."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.delivery import MAX_BATCH_LINES
from relay_contract.billing.event_line import (
    MAX_EVENT_BYTES,
    UnreadableEvent,
    event_line,
    line_digest,
    read_event,
)
from relay_contract.billing.tool_call import ToolCall, read_tool_call, tool_call_line
from relay_ledger.store.rows.quarantine import Quarantined

SECOND: Final = 1_000_000
Record = TypeVar("Record", AttemptRecord, ToolCall)


class BatchRefused(Exception):
    """A batch of which nothing is booked; reason is for metrics, the message for who sent it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Window:
    """The times at which records that are taken began, microseconds since 1970."""

    earliest: int
    latest: int

    def misses(self, began_at: int) -> str | None:
        """Returns why a record of this time is not taken, None if it is."""
        if began_at < self.earliest:
            return "late"
        return "early" if began_at > self.latest else None


@dataclass(frozen=True, slots=True)
class RecordKind(Generic[Record]):
    """Reads and writes records of one kind, tells when one began, and names one in a message."""

    read: Callable[[bytes], Record]
    line: Callable[[Record], bytes]
    began_at: Callable[[Record], int]
    title: Callable[[Record], str]


ATTEMPTS: Final[RecordKind[AttemptRecord]] = RecordKind(
    read=read_event,
    line=event_line,
    began_at=lambda record: record.dispatched_at,
    title=lambda record: record.phase,
)
TOOL_CALLS: Final[RecordKind[ToolCall]] = RecordKind(
    read=read_tool_call,
    line=tool_call_line,
    began_at=lambda call: call.called_at,
    title=lambda _: "tool call",
)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Record]):
    """Holds the content of a request: records to book, and lines to keep apart."""

    kind: RecordKind[Record]
    records: tuple[Record, ...]
    refused: tuple[Quarantined, ...]


def read_batch(
    body: bytes, tenant_uid: str, window: Window, kind: RecordKind[Record]
) -> Batch[Record]:
    """Reads a batch; raises BatchRefused if it is too long, or if any record in it is another tenant's.

    A line that cannot be read is kept apart, so that it does not hold up for ever what comes after it.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > MAX_BATCH_LINES:
        raise BatchRefused(
            "too_long",
            f"{len(lines)} lines are more than the {MAX_BATCH_LINES} of a batch: divide it",
        )
    records: list[Record] = []
    refused: list[Quarantined] = []
    for line in lines:
        try:
            record = kind.read(line)
        except UnreadableEvent as error:
            refused.append(_unreadable(line, str(error)))
            continue
        if record.tenant_uid != tenant_uid:
            raise BatchRefused(
                "forged",
                f"record {record.id} is of tenant {record.tenant_uid}, and the token of another: nothing is booked",
            )
        missed = window.misses(kind.began_at(record))
        if missed is None:
            records.append(record)
        else:
            refused.append(_missed(record, missed, kind))
    return Batch(kind, tuple(records), tuple(refused))


def _unreadable(line: bytes, detail: str) -> Quarantined:
    shown = line[:MAX_EVENT_BYTES].decode(errors="replace")
    return Quarantined(line_digest(line), "unreadable", detail, shown)


def _missed(record: Record, reason: str, kind: RecordKind[Record]) -> Quarantined:
    line = kind.line(record)
    detail = f"{kind.title(record)} {record.id} was sent at {kind.began_at(record)} microseconds since 1970"
    return Quarantined(line_digest(line), reason, detail, line.decode())


def unbookable(record: Record, detail: str, kind: RecordKind[Record]) -> Quarantined:
    """Returns the line of a record that the database refuses."""
    line = kind.line(record)
    return Quarantined(line_digest(line), "unbookable", detail, line.decode())


def told(lines: tuple[Quarantined, ...], most: int = 20) -> Iterator[dict[str, str]]:
    """Yields what the sender is told of lines that were kept apart."""
    for line in lines[:most]:
        yield {"digest": line.digest, "reason": line.reason, "detail": line.detail}
