"""Both writings of records, and whatever they may be asked to write."""

import importlib.util
from pathlib import Path
from typing import Any, Protocol, cast

from hypothesis import strategies as st
from tests.unit.relay.outbox.attempts import report_of

from hatch_build import RECORD_WRITING
from relay.dialect.usage.billed_usage import PACKED
from relay.outbox.record_format import CLOSING_BYTES, MAX_TEXT_BYTES, OPENING_BYTES

NUMBER_BYTES = (8, 2, 1, 1, 1)
"""Of the numbers of a closing."""
EXPECTED_BYTES = (4, 4)
"""Of the numbers of tokens behind an opening."""
TEXTS = 4
MOST_SECONDS = 9e12
LARGEST_RECORD = 24 + OPENING_BYTES + CLOSING_BYTES + (1 + TEXTS) * MAX_TEXT_BYTES
Arguments = tuple[Any, ...]


class AnyPlace(Protocol):
    """The class that writes records, as the module in C has it and that in Python."""

    offset: int
    openings_end: int

    def write_opened(self, *arguments: Any) -> bytes | None:
        """Writes a record opened."""

    def write_closed(self, *arguments: Any) -> bool:
        """Writes a record closed."""

    def write_reported(self, *arguments: Any) -> bool:
        """Writes a record closed of an attempt that ended well and reported all."""

    def release(self) -> None:
        """Lets go of the segment."""


class RecordWriting(Protocol):
    """Either module."""

    def Place(self, segment: Any, offset: Any, end: Any, /) -> AnyPlace:  # noqa: N802 - a class
        """Makes a place."""


def loaded(path: Path) -> RecordWriting:
    """Returns a built extension."""
    spec = importlib.util.spec_from_file_location(RECORD_WRITING, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    writing: RecordWriting = cast(RecordWriting, module)
    return writing


def numbers(size: int) -> st.SearchStrategy[int]:
    """Numbers of so many bytes, the largest among them."""
    return st.integers(0, 256**size - 1)


NAMES = st.text(max_size=300) | st.sampled_from(("é" * 128, "日" * 85, "x" * 255, "x" * 256))
WORDS = st.none() | st.binary(max_size=300) | NAMES | st.sampled_from(("\ud800", "x\udfff" * 200))
OPENED: st.SearchStrategy[Arguments] = st.tuples(
    numbers(8),
    numbers(2),
    st.booleans(),
    st.text("0123456789abcdef", min_size=32, max_size=32) | NAMES,
    NAMES,
    *map(numbers, EXPECTED_BYTES),
)
COUNTS = st.binary(min_size=PACKED.size, max_size=PACKED.size)
LABELS = st.binary(max_size=255)
REPORTS = st.builds(report_of, COUNTS, LABELS, LABELS)


CLOSED: st.SearchStrategy[Arguments] = st.tuples(
    *map(numbers, NUMBER_BYTES),
    COUNTS | REPORTS,
    *[WORDS] * TEXTS,
)
REPORTED: st.SearchStrategy[Arguments] = st.tuples(
    st.floats(0, MOST_SECONDS, exclude_max=True) | st.integers(0, 10**9),
    numbers(2),
    st.booleans(),
    REPORTS,
    WORDS,
)
ENDS = st.integers(0, 2 * LARGEST_RECORD)
PLACES = st.tuples(st.integers(0, LARGEST_RECORD), ENDS, ENDS)
"""Where a record goes, and where the room for it ends: for a closing, and for an opening."""
