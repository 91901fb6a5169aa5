"""Tool calls on their way from a worker through files of their own to whoever delivers them."""

import time
from pathlib import Path

import pytest
from tests.unit.relay_contract.billing.records import NOON, tool_call

from relay.outbox.outbox_reader import Parcel
from relay.outbox.record_format import MARK, MARK_OFFSET
from relay.outbox.segment_files import segments
from relay.outbox.tool_call_reader import ToolCallReader
from relay.outbox.tool_call_writer import DIRECTORY, ROLL_SECONDS, ToolCallWriter
from relay_contract.billing.tool_call import ToolCall, read_tool_call, tool_call_line


def new_writer(directory: Path, *, most_segments: int = 8, size: int = 8192) -> ToolCallWriter:
    return ToolCallWriter(
        directory, relay="relay-0", most_segments=most_segments, segment_bytes=size
    )


def new_reader(directory: Path) -> ToolCallReader:
    return ToolCallReader(directory / DIRECTORY, "uid-a")


def begun(number: int) -> ToolCall:
    return tool_call(round_id=f"call-{number}", outcome="unknown", answer_bytes=0)


def ended(number: int) -> ToolCall:
    return tool_call(round_id=f"call-{number}")


def begin(writer: ToolCallWriter, number: int) -> None:
    call = begun(number)
    writer.opened(call.id, call.called_at, tool_call_line(call))


def end(writer: ToolCallWriter, number: int, *, was_opened: bool = True) -> None:
    call = ended(number)
    writer.ended(call.id, call.called_at, tool_call_line(call), was_opened=was_opened)


def told(parcels: list[Parcel]) -> list[tuple[str, str]]:
    calls = [read_tool_call(parcel.line) for parcel in parcels]
    return [(call.round_id, call.outcome) for call in calls]


def test_a_call_is_told_once_as_it_ended(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    begin(writer, 1)
    reader = new_reader(tmp_path)
    assert reader.read(0.0, most=100) == []
    assert reader.under_way == 1
    # however long it takes, what is told is its end
    assert reader.read(3600.0, most=100) == []
    end(writer, 1)
    end(writer, 2, was_opened=False)
    (parcel, other) = reader.read(3601.0, most=100)
    assert told([parcel, other]) == [("call-1", "ok"), ("call-2", "ok")]
    assert parcel.dispatched_at == NOON
    assert (reader.opened, reader.closed, reader.left_open) == (2, 2, 0)
    writer.end()
    assert reader.read(3602.0, most=100) + reader.read(3603.0, most=100) == []
    assert segments(tmp_path / DIRECTORY) != []
    parcel.delivered()
    other.delivered()
    reader.read(3604.0, most=100)
    assert segments(tmp_path / DIRECTORY) == []


def test_a_call_whose_worker_was_killed_is_told_as_unknown_once(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    begin(writer, 1)
    begin(writer, 2)
    end(writer, 2)
    # as a kill does: the lock is gone, and nothing more is written
    writer.end()
    reader = new_reader(tmp_path)
    parcels = [one for at in range(5) for one in reader.read(float(at), most=100)]
    assert told(parcels) == [("call-2", "ok"), ("call-1", "unknown")]
    assert reader.left_open == 1
    # a reader that is started anew before the ledger had them tells the same
    again = new_reader(tmp_path)
    assert sorted(told([p for at in range(5) for p in again.read(float(at), most=100)])) == sorted(
        told(parcels)
    )


def test_nothing_is_made_where_nobody_calls_a_tool(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.tick(0.0)
    writer.end()
    assert list(tmp_path.iterdir()) == []


def test_the_space_is_bounded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, most_segments=2)
    under_way = 0
    while not writer.trouble:
        begin(writer, under_way)
        under_way += 1
    assert len(segments(tmp_path / DIRECTORY)) == 2
    end(writer, 0)
    # an eighth is kept for ends
    assert writer.dropped == 0
    for number in range(1, under_way):
        end(writer, number)
    assert writer.dropped > 0
    reader = new_reader(tmp_path)
    for parcel in reader.read(0.0, most=10**6):
        parcel.delivered()
    writer.end()
    parcels = [one for at in range(1, 5) for one in reader.read(float(at), most=10**6)]
    for parcel in parcels:
        parcel.delivered()
    reader.read(5.0, most=10)
    assert segments(tmp_path / DIRECTORY) == []
    # as soon as there is room again, and not before a tick has looked
    writer.tick(6.0)
    dropped = writer.dropped
    end(writer, 9999, was_opened=False)
    assert (writer.dropped, writer.trouble) == (dropped, "")


def test_an_old_segment_is_ended_once_nothing_is_under_way(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    begin(writer, 1)
    late = time.monotonic() + ROLL_SECONDS + 10
    writer.tick(late)
    reader = new_reader(tmp_path)
    assert [reader.read(float(at), most=10) for at in range(3)] == [[], [], []]
    end(writer, 1)
    writer.tick(late)
    parcels = [one for at in range(3, 7) for one in reader.read(float(at), most=10)]
    assert told(parcels) == [("call-1", "ok")]
    for parcel in parcels:
        parcel.delivered()
    reader.read(8.0, most=10)
    assert segments(tmp_path / DIRECTORY) == []
    end(writer, 2, was_opened=False)
    assert told(reader.read(9.0, most=10)) == [("call-2", "ok")]


def test_the_end_of_a_call_does_not_go_before_its_beginning(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    end(writer, 0, was_opened=False)
    begin(writer, 1)
    number = 2
    while len(segments(tmp_path / DIRECTORY)) < 2:
        end(writer, number, was_opened=False)
        number += 1
    end(writer, 1)
    writer.end()
    reader = new_reader(tmp_path)
    parcels = [one for at in range(3) for one in reader.read(float(at), most=10**6)]
    # the ledger has all but the first, whose segment holds the beginning of call 1
    for parcel in parcels[1:]:
        parcel.delivered()
    reader.read(3.0, most=10)
    again = new_reader(tmp_path)
    outcomes = dict(told([one for at in range(4) for one in again.read(float(at), most=10**6)]))
    assert outcomes["call-1"] == "ok"
    assert set(outcomes.values()) == {"ok"}


@pytest.mark.parametrize("bytes_left", [0, 7, 15, 16, 40, 200])
def test_what_a_killed_writer_has_left_of_a_record_is_none(tmp_path: Path, bytes_left: int) -> None:
    writer = new_writer(tmp_path)
    end(writer, 1, was_opened=False)
    end(writer, 2, was_opened=False)
    writer.end()
    (name,) = segments(tmp_path / DIRECTORY)
    path = tmp_path / DIRECTORY / name
    content = bytearray(path.read_bytes())
    second = content.rindex(b"call-2") // 8 * 8
    start = content.rindex(MARK, 0, second) - MARK_OFFSET
    content[start + bytes_left :] = bytes(len(content) - start - bytes_left)
    path.write_bytes(content)
    reader = new_reader(tmp_path)
    parcels = [one for at in range(5) for one in reader.read(float(at), most=100)]
    assert told(parcels) == [("call-1", "ok")]
