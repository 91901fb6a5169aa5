"""Records are written alike by the functions in C and in Python, and read as what they were written from."""

from typing import Any

import pytest
from hypothesis import given
from tests.cluster.build import debian_packages
from tests.unit.relay.outbox.attempts import call_id
from tests.unit.relay.outbox.record_writings import (
    CLOSED,
    LARGEST_RECORD,
    NUMBER_BYTES,
    OPENED,
    PLACES,
    Arguments,
    RecordWriting,
    loaded,
)

from hatch_build import RECORD_WRITING, compile_extension
from relay.outbox import record_writing_pure
from relay.outbox.record_format import OPENED as KIND_OPENED
from relay.outbox.record_format import record_at, record_bytes

ROOM = 2 * LARGEST_RECORD
OPENING = (1_700_000_000_000_000, 1, False, call_id(7), "req-7")
CLOSING = (1500, 200, 0, 0, 64, 10, 0, 0, 0, 5, 0, 0, 0, 0, 0, b"m", None, None, "up-1")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> RecordWriting:
    """The functions in C, built from these sources."""
    debian_packages.ensure_compiler(print)
    return loaded(compile_extension(RECORD_WRITING, tmp_path_factory.mktemp("record-writing")))


@pytest.fixture(scope="session", params=["compiled", "pure"])
def writing(request: pytest.FixtureRequest) -> Any:
    """Each of the two in turn."""
    if request.param == "pure":
        return record_writing_pure
    return request.getfixturevalue("compiled")


@given(place=PLACES, opened=OPENED, closed=CLOSED)
def test_both_write_the_same_bytes(
    compiled: RecordWriting, place: tuple[int, int, int], opened: Arguments, closed: Arguments
) -> None:
    ours, theirs = bytearray(ROOM), bytearray(ROOM)
    opening = compiled.write_opened(ours, *place, *opened)
    assert record_writing_pure.write_opened(theirs, *place, *opened) == opening
    assert ours == theirs
    body = compiled.write_closed(ours, *place, opening, *closed)
    assert record_writing_pure.write_closed(theirs, *place, opening, *closed) == body
    assert ours == theirs


@given(place=PLACES, opened=OPENED)
def test_a_record_stands_where_there_is_room_for_it_and_touches_nothing_else(
    compiled: RecordWriting, place: tuple[int, int, int], opened: Arguments
) -> None:
    offset, end, names = place
    segment = bytearray(b"\x55" * ROOM)
    body = compiled.write_opened(segment, offset, end, names, *opened)
    found = record_at(bytes(segment), offset)
    if offset + record_bytes(len(body)) > end:
        assert found is None
        assert segment == b"\x55" * ROOM
        return
    assert found is not None
    assert (found.kind, found.names, found.body) == (KIND_OPENED, names, body)
    after = offset + 16 + len(body)
    assert segment[:offset] + segment[after:] == b"\x55" * (ROOM - 16 - len(body))


@pytest.mark.parametrize("place", range(len(NUMBER_BYTES)))
def test_a_number_that_a_record_has_no_room_for_is_refused(
    writing: RecordWriting, place: int
) -> None:
    opening = writing.write_opened(bytearray(), 0, 0, 1, *OPENING)
    for number in (-1, 256 ** NUMBER_BYTES[place]):
        closing = (*CLOSING[:place], number, *CLOSING[place + 1 :])
        segment = bytearray(ROOM)
        with pytest.raises(ValueError, match="not"):
            writing.write_closed(segment, 0, ROOM, 1, opening, *closing)
        assert segment == bytearray(ROOM)


def test_an_end_outside_the_segment_is_refused(writing: RecordWriting) -> None:
    for segment in (bytearray(), bytearray(ROOM)):
        with pytest.raises(ValueError, match="not inside"):
            writing.write_opened(segment, 0, len(segment) + 1, 1, *OPENING)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("write_opened", ()),
        ("write_opened", (bytearray(ROOM), 0, ROOM, 1, *OPENING, 0)),
        ("write_opened", (b"read-only", 0, 9, 1, *OPENING)),
        ("write_opened", (None, 0, 0, 1, *OPENING)),
        ("write_opened", (bytearray(ROOM), 0, ROOM, 1, *OPENING[:3], b"bytes", "")),
        ("write_opened", (bytearray(ROOM), "0", ROOM, 1, *OPENING)),
        ("write_closed", (bytearray(ROOM), 0, ROOM, 1, b"", *CLOSING[:-1])),
        ("write_closed", (bytearray(ROOM), 0, ROOM, 1, "text", *CLOSING)),
        ("write_closed", (bytearray(ROOM), 0, ROOM, 1, b"", *CLOSING[:-1], 7)),
    ],
)
def test_arguments_of_another_type_are_refused(
    compiled: RecordWriting, function: str, arguments: Arguments
) -> None:
    with pytest.raises((TypeError, BufferError)):
        getattr(compiled, function)(*arguments)


def test_more_than_an_opening_is_refused(compiled: RecordWriting) -> None:
    with pytest.raises(ValueError, match="opening"):
        compiled.write_closed(bytearray(ROOM), 0, ROOM, 1, bytes(300), *CLOSING)


def test_a_request_id_without_utf_8_is_refused(writing: RecordWriting) -> None:
    with pytest.raises(UnicodeEncodeError):
        writing.write_opened(bytearray(ROOM), 0, ROOM, 1, *OPENING[:4], "\ud800")
