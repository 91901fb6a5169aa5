"""Attempts on their way from a worker through the files to whoever delivers them."""

import fcntl
import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.unit.relay.outbox.attempts import (
    FIELDS,
    close,
    closing,
    new_reader,
    new_writer,
    open_attempt,
    read_all,
    told,
)

from relay.outbox.attempt_names import AttemptNames
from relay.outbox.attempt_writer import (
    LARGEST_OPENING,
    ROLL_SECONDS,
    SOON_FULL_SECONDS,
    AttemptWriter,
)
from relay.outbox.outbox_reader import OPEN_SECONDS, Parcel
from relay.outbox.segment_files import (
    UNFINISHED_SECONDS,
    UNFINISHED_SUFFIX,
    remove_unfinished,
    segments,
)


def _fill(writer: AttemptWriter, names: AttemptNames, count: int) -> None:
    for number in range(count):
        close(writer, names, open_attempt(writer, names, number), number)


def test_a_short_attempt_is_told_by_its_end_alone(tmp_path: Path) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    opening = open_attempt(writer, names, 1)
    assert reader.read(0.0, most=100) == []
    assert reader.under_way == 1
    writer.close_attempt(names, opening, closing())
    assert told(reader.read(1.0, most=100)) == [("closed", 1)]
    assert (reader.opened, reader.closed, reader.under_way) == (1, 1, 0)
    writer.end()


def test_an_attempt_under_way_for_long_is_told_as_opened_once_and_then_closed(
    tmp_path: Path,
) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    opening = open_attempt(writer, names, 1)
    assert reader.read(0.0, most=100) == []
    assert told(reader.read(OPEN_SECONDS, most=100)) == [("opened", 1)]
    assert reader.read(OPEN_SECONDS * 2, most=100) == []
    assert reader.under_way == 1
    writer.close_attempt(names, opening, closing())
    assert told(reader.read(OPEN_SECONDS * 3, most=100)) == [("closed", 1)]
    writer.end()


def test_attempts_of_a_dead_worker_are_told_as_opened(tmp_path: Path) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    open_attempt(writer, names, 1)
    writer.end()
    assert told(read_all(reader)) == [("opened", 1)]
    assert (reader.opened, reader.under_way, reader.left_open) == (1, 0, 1)


def test_an_attempt_that_was_told_as_opened_is_left_open_by_its_worker_s_death(
    tmp_path: Path,
) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    open_attempt(writer, writer.names(FIELDS), 1)
    reader.read(0.0, most=100)
    (parcel,) = reader.read(OPEN_SECONDS, most=100)
    parcel.delivered()
    writer.end()
    assert reader.read(OPEN_SECONDS + 1, most=100) == []
    assert (reader.opened, reader.under_way, reader.left_open) == (1, 1, 0)
    assert reader.read(OPEN_SECONDS + 2, most=100) == []
    assert (reader.opened, reader.under_way, reader.left_open) == (1, 0, 1)


def test_a_segment_goes_once_it_is_delivered(tmp_path: Path) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    _fill(writer, names, 10)
    writer.end()
    parcels = read_all(reader)
    assert segments(tmp_path)
    for parcel in parcels:
        parcel.delivered()
    reader.read(0.0, most=100)
    assert segments(tmp_path) == []


def test_what_was_not_delivered_is_read_again_by_the_next_reader(tmp_path: Path) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    _fill(writer, names, 10)
    first = told(reader.read(0.0, most=100))
    reader.close()
    again = new_reader(tmp_path)
    assert told(again.read(0.0, most=100)) == first
    writer.end()


def test_the_space_is_bounded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, most_segments=3)
    names = writer.names(FIELDS)
    under_way = [open_attempt(writer, names, number) for number in range(5)]
    _fill(writer, names, 2_000)
    assert (writer.ensure_room(), "not delivered" in writer.trouble) == (False, True)
    assert len(segments(tmp_path)) == 3
    assert writer.dropped_opened > 0
    # those that are under way can still be closed
    dropped = writer.dropped_closed
    writer.tick(1.0)
    for number, opening in enumerate(under_way):
        close(writer, names, opening, number)
    reader = new_reader(tmp_path)
    parcels = reader.read(0.0, most=10**6)
    kept = len(parcels) + reader.under_way
    assert kept <= 2_005
    assert kept >= 2_005 - writer.dropped_opened - (writer.dropped_closed - dropped)
    for parcel in parcels:
        parcel.delivered()
    reader.read(1.0, most=10**6)
    # as soon as there is room again
    writer.tick(2.0)
    assert (writer.ensure_room(), writer.trouble) == (True, "")
    writer.close_attempt(names, open_attempt(writer, names, 99_999), closing())
    assert told(reader.read(2.0, most=10**6))[-1] == ("closed", 99_999)
    writer.end()


def test_room_is_left_for_closing_what_is_under_way(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, most_segments=1)
    names = writer.names(FIELDS)
    openings: list[bytes] = []
    while not writer.dropped_opened:
        openings.append(open_attempt(writer, names, len(openings)))
    assert not writer.ensure_room()
    for number, opening in enumerate(openings[:6]):
        close(writer, names, opening, number)
    assert writer.dropped_closed == 0
    writer.end()


def test_room_has_to_be_there_for_records_that_are_about_to_be_written_too(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, most_segments=1, segment_bytes=8 * LARGEST_OPENING)
    # an eighth is kept for closings
    assert writer.ensure_room(waiting=5)
    assert not writer.ensure_room(waiting=6)
    writer.end()


def test_an_attempt_with_the_longest_names_is_recorded_or_refused(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, most_segments=1, segment_bytes=64 * 1024)
    number = 0
    while writer.ensure_room():
        # each the first of its kind, so that its names are written too
        names = writer.names(dict.fromkeys(FIELDS, "\U0001f600" * 1000))
        open_attempt(writer, names, number)
        number += 1
    assert number > 1
    assert writer.dropped_opened == 0
    writer.end()
    assert told(read_all(new_reader(tmp_path))) == [("opened", one) for one in range(number)]


def test_segments_that_a_killed_worker_has_not_finished_count_and_are_removed(
    tmp_path: Path,
) -> None:
    left = tmp_path / f"00000000000000000001-1-00000001{UNFINISHED_SUFFIX}"
    made = tmp_path / f"00000000000000000001-2-00000001{UNFINISHED_SUFFIX}"
    left.write_bytes(bytes(16 * 1024))
    with made.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = new_writer(tmp_path, most_segments=3)
        names = writer.names(FIELDS)
        _fill(writer, names, 200)
        assert len(segments(tmp_path)) == 1
        assert "not delivered" in writer.trouble
        remove_unfinished(tmp_path, older_than=time.time() - UNFINISHED_SECONDS)
        assert left.exists()
        remove_unfinished(tmp_path, older_than=time.time() + 1)
        assert (left.exists(), made.exists()) == (False, True)
    writer.tick(1.0)
    assert writer.trouble == ""
    assert len(segments(tmp_path)) == 2
    writer.end()


def test_a_directory_that_is_missing_drops_records_and_is_found_when_it_comes(
    tmp_path: Path,
) -> None:
    place = tmp_path / "later"
    writer = new_writer(place)
    names = writer.names(FIELDS)
    opening = open_attempt(writer, names, 1)
    assert writer.dropped_opened == 1
    assert not writer.ensure_room()
    assert "No such file" in writer.trouble
    place.mkdir()
    writer.tick(1.0)
    writer.close_attempt(names, opening, closing())
    writer.end()
    assert told(read_all(new_reader(place))) == [("closed", 1)]


def test_an_old_segment_is_ended_though_it_is_nearly_empty(tmp_path: Path) -> None:
    writer, reader = new_writer(tmp_path), new_reader(tmp_path)
    names = writer.names(FIELDS)
    _fill(writer, names, 1)
    first = segments(tmp_path)[0]
    for parcel in reader.read(0.0, most=100):
        parcel.delivered()
    writer.tick(ROLL_SECONDS + 1)
    reader.read(1.0, most=100)
    assert first not in segments(tmp_path)
    _fill(writer, names, 1)
    assert told(reader.read(2.0, most=100)) == [("closed", 0)]
    writer.end()


@settings(max_examples=60, stateful_step_count=40, deadline=None)
class Interleavings(RuleBasedStateMachine):
    """Writers that live and die, a reader that is started anew, deliveries that come late: no attempt is lost or altered."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.open: list[tuple[AttemptWriter, AttemptNames, bytes, int]] = []
        self.closed: set[int] = set()
        self.parcels: list[Parcel] = []
        self.ledger: dict[int, set[str]] = {}

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.reader = new_reader(self.directory)
        self.writers: list[AttemptWriter] = []
        self._new_writer()

    def _new_writer(self) -> None:
        self.writers.append(new_writer(self.directory, most_segments=4096))

    @rule()
    def start_writer(self) -> None:
        if len(self.writers) < 3:
            self._new_writer()

    @precondition(lambda self: self.writers)
    @rule(which=st.integers(0, 2))
    def kill_writer(self, which: int) -> None:
        writer = self.writers.pop(which % len(self.writers))
        # what a kill leaves: the kernel lets go of the lock, and the file is as it is
        writer.end()
        self.open = [one for one in self.open if one[0] is not writer]

    @precondition(lambda self: self.writers)
    @rule(which=st.integers(0, 2), count=st.sampled_from([1, 3, 60]))
    def open_some(self, which: int, count: int) -> None:
        writer = self.writers[which % len(self.writers)]
        names = writer.names(FIELDS)
        for _ in range(count):
            self.number += 1
            opening = open_attempt(writer, names, self.number)
            self.ledger[self.number] = set()
            if count == 60:
                close(writer, names, opening, self.number)
                self.closed.add(self.number)
            else:
                self.open.append((writer, names, opening, self.number))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 100))
    def close_one(self, which: int) -> None:
        writer, names, opening, number = self.open.pop(which % len(self.open))
        close(writer, names, opening, number)
        self.closed.add(number)

    @rule(seconds=st.sampled_from([0.1, OPEN_SECONDS]), most=st.sampled_from([5, 10**6]))
    def read(self, seconds: float, most: int) -> None:
        self.now += seconds
        for writer in self.writers:
            writer.tick(self.now)
        self.parcels += self.reader.read(self.now, most=most)

    @rule(count=st.integers(1, 80))
    def deliver(self, count: int) -> None:
        ready, self.parcels = self.parcels[:count], self.parcels[count:]
        for parcel in ready:
            line = json.loads(parcel.line)
            self.ledger[int(line["callId"], 16)].add(line["phase"])
            parcel.delivered()

    @rule()
    def restart_reader(self) -> None:
        self.reader.close()
        self.parcels = []
        self.reader = new_reader(self.directory)

    @invariant()
    def opened_are_closed_under_way_or_left(self) -> None:
        if hasattr(self, "reader"):
            reader = self.reader
            assert reader.opened == reader.closed + reader.under_way + reader.left_open

    def teardown(self) -> None:
        if not hasattr(self, "reader"):
            return
        for writer in self.writers:
            writer.end()
        for _ in range(4):
            self.now += OPEN_SECONDS
            self.parcels += self.reader.read(self.now, most=10**6)
            self.deliver(len(self.parcels))
        assert {number for number, phases in self.ledger.items() if not phases} == set()
        assert {
            number for number, phases in self.ledger.items() if "closed" in phases
        } == self.closed
        assert segments(self.directory) == []
        self.reader.close()
        self.directory.rmdir()


TestInterleavings = pytest.mark.timeout(120)(Interleavings.TestCase)


def test_segments_are_of_one_size(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    _fill(writer, writer.names(FIELDS), 600)
    sizes = {(tmp_path / name).stat().st_size for name in segments(tmp_path)}
    assert sizes == {16 * 1024}
    writer.end()


def test_only_a_segment_that_is_soon_full_has_its_zeros_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    writer = new_writer(tmp_path, most_segments=8, segment_bytes=1024 * 1024)
    names = writer.names(FIELDS)
    filled = []
    for seconds in (SOON_FULL_SECONDS / 2, SOON_FULL_SECONDS, 0.0):
        before = segments(tmp_path)
        while segments(tmp_path) == before:
            _fill(writer, names, 10)
        filled.append(_has_no_hole(tmp_path / segments(tmp_path)[-1]))
        # it is made before it is needed
        _fill(writer, names, 800)
        now += seconds
    # the one before the first was begun at another clock's time
    assert filled == [False, True, False]
    writer.end()


def _has_no_hole(path: Path) -> bool:
    """Returns whether every byte of the file was written."""
    with path.open("r+b") as file:
        os.fdatasync(file.fileno())
        # what was only read is no hole as long as it is in memory
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return os.lseek(file.fileno(), 0, os.SEEK_HOLE) == path.stat().st_size


def test_a_clock_that_is_set_back_neither_loses_nor_turns_anything_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**18, 0, -(10**15)))
    monkeypatch.setattr("time.time_ns", lambda: next(clock))
    reader = new_reader(tmp_path)
    for number in range(3):
        writer = new_writer(tmp_path)
        names = writer.names(FIELDS)
        writer.close_attempt(names, open_attempt(writer, names, number), closing())
        writer.end()
    lines = [json.loads(parcel.line) for parcel in read_all(reader)]
    assert len(lines) == len({line["id"] for line in lines}) == 3
    assert {line["closedAt"] - line["dispatchedAt"] for line in lines} == {1500}
