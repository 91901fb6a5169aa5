"""Streams of events: the same events however the stream is cut, and a bound on each."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.tools.reading.event_stream import Event, EventReader, EventTooLarge, event

MESSAGES = st.lists(st.dictionaries(st.text(max_size=4), st.integers(), max_size=2), max_size=4)


def read(raw: bytes, cuts: list[int], *, max_bytes: int = 10_000) -> list[bytes]:
    reader = EventReader(max_bytes)
    found: list[bytes] = []
    start = 0
    for cut in sorted({*cuts, len(raw)}):
        found += [one.data for one in reader.feed(raw[start:cut])]
        start = max(start, cut)
    return found


@given(
    messages=MESSAGES,
    line_end=st.sampled_from([b"\n", b"\r", b"\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    indent=st.sampled_from([None, 1]),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_a_stream_split_at_any_byte_is_read_the_same(
    messages: list[dict[str, int]],
    line_end: bytes,
    mark: bytes,
    indent: int | None,
    cuts: list[int],
) -> None:
    texts = [json.dumps(one, indent=indent) for one in messages]
    raw = mark + b": comment\nid: 1\n\n".join([b"", *map(event, texts)])
    found = read(raw.replace(b"\n", line_end), cuts)
    assert [json.loads(one) for one in found] == messages


def test_line_ends_of_two_kinds_may_follow_each_other() -> None:
    for raw in (b"data: 1\r\n\n", b"data: 1\n\r\n", b"data: 1\r\r\n"):
        assert read(raw, []) == read(raw, list(range(len(raw)))) == [b"1"]


def test_a_message_is_one_event_whatever_blanks_it_has() -> None:
    assert event('{\n"a":1}') == b'event: message\ndata: {\ndata: "a":1}\n\n'
    assert read(event('{\n"a":1}'), []) == [b'{\n"a":1}']


def test_an_event_without_data_is_none() -> None:
    first = b"id: 1\nretry: 3000\ndata: \n\nid: 2\ndata\ndata:\n\n"
    stream = first + b"id: 3\ndata: {}\n\n"
    assert EventReader(1000).feed(stream) == [Event(b"{}", "3")]
    # but it names the place to go on from
    found = EventReader(1000, with_ids=True).feed(stream + b"data: 1\n\nid: a\0\n\n")
    assert found == [Event(b"", "1"), Event(b"", "2"), Event(b"{}", "3"), Event(b"1", "3")]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: 1\n\n", -1),
        (b"retry: 3000\ndata: 1\n\n", 3000),
        (b"retry:0\n\n", 0),
        (b"retry: 5\n\nretry: 7\n\n", 7),
        (b"retry: 5\nretry: soon\nretry: -1\nretry: 1.5\nretry:\n\n", 5),
        (b"retry: 9999999999\n\n", -1),
        ("retry: \u0663\n\n".encode(), -1),
    ],
)
def test_a_stream_says_how_long_to_wait(stream: bytes, expected: int) -> None:
    reader = EventReader(1000)
    reader.feed(stream)
    assert reader.retry_milliseconds == expected


def test_an_event_that_is_not_ended_is_none() -> None:
    assert read(b"data: {}\n", []) == []
    assert read(b"data:{}\n\nevent: x\n\ndata: 1", []) == [b"{}"]


@pytest.mark.parametrize("raw", [b"data: " + b"x" * 200, b"data: x\n" * 40, b":" * 200])
def test_an_event_is_bounded(raw: bytes) -> None:
    with pytest.raises(EventTooLarge):
        read(raw, list(range(0, 400, 7)), max_bytes=100)


def test_many_small_events_are_not_one_large_one() -> None:
    assert len(read(b"data: 1\n\n" * 100, list(range(0, 900, 10)), max_bytes=30)) == 100
