"""Records of what was only denied, beside those of calls that a server may have carried out."""

from pathlib import Path

from tests.unit.relay.outbox.test_tool_calls import begun, ended, new_reader, told

from relay.outbox.segment_files import segments
from relay.outbox.tool_call_records import PART_OF_DENIALS, ToolCallRecords
from relay.outbox.tool_call_writer import DIRECTORY, MOST_TOOL_SEGMENTS
from relay_contract.billing.tool_call import tool_call_line


def deny(records: ToolCallRecords, number: int) -> None:
    call = ended(number)
    line = tool_call_line(call)
    records.ended(call.id, call.called_at, line, was_opened=False)


def open_and_end(records: ToolCallRecords, number: int) -> None:
    first, last = begun(number), ended(number)
    records.opened(first.id, first.called_at, tool_call_line(first))
    records.ended(last.id, last.called_at, tool_call_line(last), was_opened=True)


def test_both_are_told_once(tmp_path: Path) -> None:
    records = ToolCallRecords(tmp_path, relay="relay-0")
    open_and_end(records, 1)
    deny(records, 2)
    parcels = new_reader(tmp_path).read(0.0, most=100)
    assert sorted(told(parcels)) == [("call-1", "ok"), ("call-2", "ok")]
    assert len(segments(tmp_path / DIRECTORY)) == 2


def test_whoever_is_denied_without_end_takes_no_room_from_calls(tmp_path: Path) -> None:
    records = ToolCallRecords(tmp_path, relay="relay-0")
    number = 0
    while not records.dropped:
        number += 1
        deny(records, number)
    assert len(segments(tmp_path / DIRECTORY)) == MOST_TOOL_SEGMENTS // PART_OF_DENIALS
    assert "are full" in records.trouble
    dropped = records.dropped
    for call in range(number, number + 1000):
        open_and_end(records, call)
        deny(records, call)
    assert records.dropped == dropped + 1000
    # and there is room again once something is delivered
    reader = new_reader(tmp_path)
    while parcels := reader.read(0.0, most=1000):
        for parcel in parcels:
            parcel.delivered()
    records.tick(0.0)
    deny(records, number + 1000)
    assert records.dropped == dropped + 1000
    assert records.trouble == ""
