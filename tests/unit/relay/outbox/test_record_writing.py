"""Records are written alike in C and in Python, and read as what they were written from."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.extensions import extension
from tests.unit.relay.outbox.attempts import call_id, report_of
from tests.unit.relay.outbox.record_writings import (
    CLOSED,
    LARGEST_RECORD,
    MOST_SECONDS,
    NUMBER_BYTES,
    OPENED,
    PLACES,
    REPORTED,
    AnyPlace,
    Arguments,
    RecordWriting,
    loaded,
    numbers,
)

from hatch_build import RECORD_WRITING
from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox import record_writing_pure
from relay.outbox.record_format import CLOSED as KIND_CLOSED
from relay.outbox.record_format import EXPECTED, record_at, record_bytes
from relay.outbox.record_format import OPENED as KIND_OPENED

ROOM = 2 * LARGEST_RECORD
OPENING = (1_700_000_000_000_000, 1, False, call_id(7), "req-7", 700, 90)
COUNTS = BilledUsage(input=10, output=5).packed()
CLOSING = (1500, 200, 0, 0, 64, COUNTS, b"m", None, None, "up-1")
REPORT = report_of(COUNTS, b"m", b"")
ENDED_WELL = (0.0015, 200, True, REPORT, "up-1")


@pytest.fixture(scope="session")
def compiled() -> RecordWriting:
    """The module in C, built from these sources."""
    return loaded(extension(RECORD_WRITING))


@pytest.fixture(scope="session", params=["compiled", "pure"])
def writing(request: pytest.FixtureRequest) -> Any:
    """Each of the two in turn."""
    if request.param == "pure":
        return record_writing_pure
    return request.getfixturevalue("compiled")


@given(place=PLACES, names=numbers(4), opened=OPENED, closed=CLOSED, reported=REPORTED)
def test_both_write_the_same_bytes(
    compiled: RecordWriting,
    place: tuple[int, int, int],
    names: int,
    opened: Arguments,
    closed: Arguments,
    reported: Arguments,
) -> None:
    written = []
    for writing in (compiled, record_writing_pure):
        segment = bytearray(ROOM)
        to = place_in(writing, segment, place)
        opening = to.write_opened(names, *opened)
        begins = opening or b"begins"
        fit = to.write_reported(names, begins, *reported), to.write_closed(names, begins, *closed)
        written.append((segment, opening, fit, to.offset))
    assert written[0] == written[1]


@given(place=PLACES, names=numbers(4), opened=OPENED)
def test_a_record_stands_where_there_is_room_for_it_and_touches_nothing_else(
    compiled: RecordWriting, place: tuple[int, int, int], names: int, opened: Arguments
) -> None:
    offset, end, openings_end = place
    segment = bytearray(b"\x55" * ROOM)
    to = place_in(compiled, segment, place)
    opening = to.write_opened(names, *opened)
    found = record_at(bytes(segment), offset)
    if opening is None:
        whole = compiled.Place(bytearray(ROOM), 0, ROOM).write_opened(names, *opened)
        assert whole is not None
        assert offset + record_bytes(len(whole) + EXPECTED.size) > min(end, openings_end)
        assert found is None
        assert to.offset == offset
        assert segment == b"\x55" * ROOM
        return
    assert found is not None
    body = opening + EXPECTED.pack(*opened[-2:])
    assert (found.kind, found.names, found.body) == (KIND_OPENED, names, body)
    assert to.offset == offset + record_bytes(len(body)) <= min(end, openings_end)
    after = offset + 16 + len(body)
    assert segment[:offset] + segment[after:] == b"\x55" * (ROOM - 16 - len(body))


def test_records_stand_one_behind_the_other(writing: RecordWriting) -> None:
    segment = bytearray(ROOM)
    to = writing.Place(segment, 8, ROOM)
    opening = to.write_opened(1, *OPENING)
    assert opening is not None
    assert to.write_closed(1, opening, *CLOSING)
    first = record_bytes(len(opening) + EXPECTED.size)
    second = record_at(bytes(segment), 8 + first)
    assert second is not None
    assert (second.kind, second.body[: len(opening)]) == (KIND_CLOSED, opening)
    assert to.offset == 8 + first + record_bytes(len(second.body))


def test_without_a_time_a_record_is_of_now(writing: RecordWriting) -> None:
    before = time.time_ns() // 1000
    opening = writing.Place(bytearray(ROOM), 0, ROOM).write_opened(1, None, *OPENING[1:])
    assert opening is not None
    assert before <= int.from_bytes(opening[:8], "little") <= time.time_ns() // 1000


@given(seconds=st.floats(0, 10**6), delivered=st.booleans(), tier=st.sampled_from([b"", b"flex"]))
def test_an_attempt_that_is_like_most_is_closed_as_any_other(
    compiled: RecordWriting, seconds: float, delivered: bool, tier: bytes
) -> None:
    report = report_of(COUNTS, b"m", tier)
    general = (int(seconds * 1_000_000), 200, 0, 0, 64 if delivered else 0, COUNTS, b"m", tier)
    for writing in (compiled, record_writing_pure):
        one, other = bytearray(ROOM), bytearray(ROOM)
        place = writing.Place(one, 0, ROOM)
        assert place.write_reported(7, b"begins", seconds, 200, delivered, report, "up-1")
        assert writing.Place(other, 0, ROOM).write_closed(7, b"begins", *general, None, "up-1")
        assert one == other


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), MOST_SECONDS, -1])
def test_what_is_no_time_that_passed_is_refused(writing: RecordWriting, seconds: float) -> None:
    segment = bytearray(ROOM)
    with pytest.raises(ValueError, match="not the seconds"):
        writing.Place(segment, 0, ROOM).write_reported(1, b"", seconds, *ENDED_WELL[1:])
    assert segment == bytearray(ROOM)


def test_counts_without_labels_are_no_report(writing: RecordWriting) -> None:
    segment = bytearray(ROOM)
    with pytest.raises(ValueError, match="no report"):
        writing.Place(segment, 0, ROOM).write_reported(1, b"", *ENDED_WELL[:3], COUNTS, None)
    assert segment == bytearray(ROOM)


def test_closings_have_room_behind_the_end_of_the_openings(writing: RecordWriting) -> None:
    to = writing.Place(bytearray(ROOM), 0, ROOM)
    to.openings_end = 8
    assert to.write_opened(1, *OPENING) is None
    assert to.write_closed(1, b"", *CLOSING)
    to.openings_end = 2 * ROOM
    to.offset = ROOM - 8
    assert to.write_opened(1, *OPENING) is None
    to.offset = 2 * ROOM
    assert not to.write_closed(1, b"", *CLOSING)


def test_nothing_is_written_to_a_segment_that_was_let_go(writing: RecordWriting) -> None:
    segment = bytearray(ROOM)
    to = writing.Place(segment, 0, ROOM)
    to.release()
    to.release()
    assert to.write_opened(1, *OPENING) is None
    assert not to.write_closed(1, b"", *CLOSING)
    assert not to.write_reported(1, b"", *ENDED_WELL)
    # memory that a place still had could not be resized
    segment.clear()


@pytest.mark.parametrize("place", range(len(NUMBER_BYTES)))
def test_a_number_that_a_record_has_no_room_for_is_refused(
    writing: RecordWriting, place: int
) -> None:
    for number in (-1, 256 ** NUMBER_BYTES[place]):
        closing = (*CLOSING[:place], number, *CLOSING[place + 1 :])
        segment = bytearray(ROOM)
        with pytest.raises(ValueError, match="not"):
            writing.Place(segment, 0, ROOM).write_closed(1, b"", *closing)
        assert segment == bytearray(ROOM)


@pytest.mark.parametrize("place", [-2, -1])
@pytest.mark.parametrize("number", [-1, 2**32])
def test_more_than_a_record_has_room_for_is_not_expected(
    writing: RecordWriting, place: int, number: int
) -> None:
    opening: list[Any] = list(OPENING)
    opening[place] = number
    segment = bytearray(ROOM)
    with pytest.raises(ValueError, match="not"):
        writing.Place(segment, 0, ROOM).write_opened(1, *opening)
    assert segment == bytearray(ROOM)


def test_an_end_outside_the_segment_is_refused(writing: RecordWriting) -> None:
    for segment in (bytearray(), bytearray(ROOM)):
        with pytest.raises(ValueError, match="not inside"):
            writing.Place(segment, 0, len(segment) + 1)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (bytearray(ROOM), 0),
        (bytearray(ROOM), 0, ROOM, 0),
        (b"read-only", 0, 9),
        (None, 0, 0),
        (bytearray(ROOM), "0", ROOM),
        (bytearray(ROOM), 0, None),
    ],
)
def test_a_place_is_made_of_memory_and_numbers(
    compiled: RecordWriting, arguments: Arguments
) -> None:
    with pytest.raises((TypeError, BufferError)):
        compiled.Place(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("write_opened", ()),
        ("write_opened", (1, *OPENING, 0)),
        ("write_opened", (1, *OPENING[:3], b"bytes", "", 0, 0)),
        ("write_opened", (1, *OPENING[:-1], "90")),
        ("write_opened", ("1", *OPENING)),
        ("write_closed", (1, b"", *CLOSING[:-1])),
        ("write_closed", (1, "text", *CLOSING)),
        ("write_closed", (1, b"", *CLOSING[:-1], 7)),
        ("write_closed", (1, b"", *CLOSING[:5], None, *CLOSING[6:])),
        ("write_reported", (1, b"", *ENDED_WELL[:-1])),
        ("write_reported", (1, "text", *ENDED_WELL)),
        ("write_reported", (1, b"", "soon", *ENDED_WELL[1:])),
        ("write_reported", (1, b"", *ENDED_WELL[:2], None, *ENDED_WELL[3:])),
        ("write_reported", (1, b"", *ENDED_WELL[:3], "report", None)),
        ("write_reported", (1, b"", *ENDED_WELL[:-1], 7)),
    ],
)
def test_arguments_of_another_type_are_refused(
    compiled: RecordWriting, function: str, arguments: Arguments
) -> None:
    segment = bytearray(ROOM)
    with pytest.raises(TypeError):
        getattr(compiled.Place(segment, 0, ROOM), function)(*arguments)
    assert segment == bytearray(ROOM)


def test_more_than_an_opening_is_refused(compiled: RecordWriting) -> None:
    with pytest.raises(ValueError, match="opening"):
        compiled.Place(bytearray(ROOM), 0, ROOM).write_closed(1, bytes(300), *CLOSING)
    with pytest.raises(ValueError, match="opening"):
        compiled.Place(bytearray(ROOM), 0, ROOM).write_reported(1, bytes(300), *ENDED_WELL)


def test_the_labels_of_a_report_stand_for_those_beside_it(writing: RecordWriting) -> None:
    written = []
    for counts, labels in (
        (report_of(COUNTS, b"gpt-4.1", b"default"), ("another", 7)),
        (COUNTS, (b"gpt-4.1", "default")),
    ):
        segment = bytearray(ROOM)
        closing = (*CLOSING[:5], counts, *labels, "eu", "up-1")
        assert writing.Place(segment, 0, ROOM).write_closed(1, b"", *closing)
        written.append(segment)
    assert written[0] == written[1]


@pytest.mark.parametrize(
    "counts", [b"", COUNTS[:-1], COUNTS + b"\0", COUNTS + b"\1\0", COUNTS + b"\0\0x"]
)
def test_counts_of_another_size_are_refused(writing: RecordWriting, counts: bytes) -> None:
    segment = bytearray(ROOM)
    with pytest.raises(ValueError, match="no counts"):
        writing.Place(segment, 0, ROOM).write_closed(1, b"", *CLOSING[:5], counts, *CLOSING[6:])
    assert segment == bytearray(ROOM)


def test_a_request_id_without_utf_8_is_refused(writing: RecordWriting) -> None:
    with pytest.raises(UnicodeEncodeError):
        writing.Place(bytearray(ROOM), 0, ROOM).write_opened(1, *OPENING[:4], "\ud800", 0, 0)


def place_in(writing: Any, segment: bytearray, place: tuple[int, int, int]) -> AnyPlace:
    offset, end, openings_end = place
    to: AnyPlace = writing.Place(segment, offset, end)
    to.openings_end = openings_end
    return to
