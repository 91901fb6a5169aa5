"""Attempts for the tests of the outbox: written as a worker does, and read as who delivers them does."""

import json
from pathlib import Path
from typing import Any

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.attempt_closing import Closing, write_closing
from relay.outbox.attempt_names import AttemptNames
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.outbox_reader import OutboxReader, Parcel
from relay.outbox.record_format import MAX_RECORD_BYTES, record_at
from relay.outbox.record_writing import Place

TENANT_UID = "0b9c5f52-8d4e-4a51-9d0e-5a8f1f5a2f10"
FIELDS = {
    "tenant": "acme",
    "side": "stable",
    "route": "chat",
    "keyName": "main",
    "provider": "openai",
    "endpoint": "chat.completions",
    "requestedModel": "gpt-test",
    "routedModel": "gpt-test-1",
}
_READERS: list[OutboxReader] = []


def call_id(number: int) -> str:
    return f"{number:032x}"


def new_writer(
    directory: Path, *, most_segments: int = 8, segment_bytes: int = 16 * 1024
) -> AttemptWriter:
    """Makes a writer of small segments, which are soon full."""
    return AttemptWriter(
        directory,
        relay="relay-0",
        most_segments=most_segments,
        now=0.0,
        segment_bytes=segment_bytes,
    )


def opening_of(
    *, dispatched_at: int, attempt: int, stream: bool, call_id: str, request_id: str
) -> bytes:
    """Returns what both records of an attempt begin with."""
    opening = _place().write_opened(1, dispatched_at, attempt, stream, call_id, request_id, 0, 0)
    assert opening is not None
    return opening


def closed_body(opening: bytes, closing: Closing) -> bytes:
    """Returns the body of the record closed."""
    segment = bytearray(MAX_RECORD_BYTES)
    assert write_closing(Place(segment, 0, MAX_RECORD_BYTES), 1, opening, closing)
    found = record_at(bytes(segment), 0)
    assert found is not None
    return found.body


def _place() -> Place:
    return Place(bytearray(MAX_RECORD_BYTES), 0, MAX_RECORD_BYTES)


def open_attempt(writer: AttemptWriter, names: AttemptNames, number: int) -> bytes:
    return writer.open_attempt(
        names,
        attempt=1,
        stream=False,
        call_id=call_id(number),
        request_id=f"req-{number}",
        expected=(700, 90),
    )


def close(writer: AttemptWriter, names: AttemptNames, opening: bytes, number: int) -> None:
    """Closes an attempt; every second one, by its number, has reported all that is booked."""
    if number % 2:
        writer.close_attempt(names, opening, closing())
        return
    writer.close_with_report(
        names,
        opening,
        seconds=0.0015,
        status=200,
        delivered=True,
        report=report_of(BilledUsage(input=10, output=5).packed(), b"gpt-test-1-2026", b""),
        upstream_request_id="up-1",
    )


def report_of(counts: bytes, model: bytes, tier: bytes) -> bytes:
    """Returns the report of an answer that is like most."""
    return counts + bytes((len(model), len(tier))) + model + tier


def closing(**changed: Any) -> Closing:
    values: dict[str, Any] = {
        "elapsed": 1500,
        "outcome": "ok",
        "status": 200,
        "delivered": True,
        "source": "provider",
        "usage": BilledUsage(input=10, output=5),
        "doubt": None,
        "answered_model": "gpt-test-1-2026",
        "service_tier": None,
        "upstream_request_id": "up-1",
    }
    return Closing(**{**values, **changed})


def told(parcels: list[Parcel]) -> list[tuple[str, int]]:
    """Returns the phase and the number of the call of each line."""
    lines = [json.loads(parcel.line) for parcel in parcels]
    return [(line["phase"], int(line["callId"], 16)) for line in lines]


def new_reader(directory: Path) -> OutboxReader:
    reader = OutboxReader(directory, TENANT_UID)
    _READERS.append(reader)
    return reader


def close_readers() -> None:
    """Lets go of the files of all readers made here; a test does not have to."""
    while _READERS:
        _READERS.pop().close()


def read_all(reader: OutboxReader, *, now: float = 0.0) -> list[Parcel]:
    """Reads what there is after all writers have ended: twice, since an end has to be seen twice."""
    return [*reader.read(now, most=10**6), *reader.read(now, most=10**6)]
