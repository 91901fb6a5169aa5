"""What is read of a segment that a killed process, a disk or a person has left."""

from pathlib import Path

import pytest
from tests.unit.relay.outbox.attempts import (
    FIELDS,
    closing,
    new_reader,
    new_writer,
    open_attempt,
    read_all,
    told,
)

from relay.outbox.record_format import FIRST_OFFSET, HEADER_BYTES
from relay.outbox.segment_files import segments

ATTEMPTS = 4


def _written(directory: Path) -> tuple[Path, int]:
    """Writes some attempts; returns the segment and the end of its last record."""
    writer = new_writer(directory)
    names = writer.names(FIELDS)
    for number in range(ATTEMPTS):
        writer.close_attempt(names, open_attempt(writer, names, number), closing())
    writer.end()
    (path,) = [directory / name for name in segments(directory)]
    return path, len(path.read_bytes().rstrip(b"\0"))


def _copy(directory: Path, content: bytes) -> Path:
    directory.mkdir()
    (directory / "00000000000000000001-1-00000001.segment").write_bytes(content)
    return directory


def test_a_record_cut_at_any_byte_is_none_and_those_before_it_are_whole(tmp_path: Path) -> None:
    path, end = _written(tmp_path)
    whole = path.read_bytes()
    expected: list[tuple[str, int]] = []
    known = 0
    for cut in range(FIRST_OFFSET, end + 8):
        content = whole[:cut] + bytes(64)
        directory = _copy(tmp_path / str(cut), content)
        found = told(read_all(new_reader(directory)))
        # what was opened and is not closed any more is told as opened
        numbers = [number for _, number in found]
        assert len(numbers) == len(set(numbers))
        assert len(found) >= known
        known = len(found)
        assert not list(directory.iterdir()) or found
        expected = found
    assert expected == [("closed", number) for number in range(ATTEMPTS)]


@pytest.mark.parametrize("flipped", [0x01, 0xFF])
def test_a_damaged_byte_costs_the_records_that_it_is_in_and_no_other(
    tmp_path: Path, flipped: int
) -> None:
    path, end = _written(tmp_path)
    whole = path.read_bytes()
    # after the names, which all others need
    names_end = whole.index(b"\xa5\x5aR", FIRST_OFFSET + HEADER_BYTES) - 13
    for place in range(names_end, end, 7):
        content = bytearray(whole)
        content[place] ^= flipped
        reader = new_reader(_copy(tmp_path / f"{place}", bytes(content)))
        found = told(read_all(reader))
        assert {number for _, number in found} == set(range(ATTEMPTS))
        assert len(found) == ATTEMPTS
        lost = [one for one in found if one[0] == "opened"]
        assert len(lost) <= 1
        assert reader.skipped_bytes or not lost


def test_damaged_names_cost_their_records_and_are_counted(tmp_path: Path) -> None:
    path, end = _written(tmp_path)
    content = bytearray(path.read_bytes())
    content[FIRST_OFFSET + HEADER_BYTES + 3] ^= 0xFF
    reader = new_reader(_copy(tmp_path / "damaged", bytes(content)))
    assert told(read_all(reader)) == []
    assert reader.skipped_bytes >= end - FIRST_OFFSET - 16


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b"\xa5\x5aR" * 5000])
def test_a_file_that_is_no_segment_holds_up_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00000000000000000001-1-00000001.segment").write_bytes(content)
    writer = new_writer(tmp_path)
    names = writer.names(FIELDS)
    writer.close_attempt(names, open_attempt(writer, names, 7), closing())
    writer.end()
    assert told(read_all(new_reader(tmp_path))) == [("closed", 7)]


def test_a_page_of_zeros_in_a_segment_that_is_written_is_passed_over(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, segment_bytes=64 * 1024)
    names = writer.names(FIELDS)
    for number in range(100):
        writer.close_attempt(names, open_attempt(writer, names, number), closing())
    path = tmp_path / segments(tmp_path)[0]
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    reader = new_reader(tmp_path)
    # memory may show a later record before an earlier one, so a hole has to be seen twice
    first = told(reader.read(0.0, most=10**6))
    second = told(reader.read(0.1, most=10**6))
    assert first
    assert second
    assert 0 < 100 - len(first) - len(second) < 40
    assert reader.skipped_bytes > 4000
    writer.end()
