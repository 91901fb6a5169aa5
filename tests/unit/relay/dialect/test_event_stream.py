"""Event streams, split at any bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.memory import CONTENT, DONE, USAGE, event

from relay.dialect.event_stream import SseScan

STREAM = CONTENT + CONTENT + USAGE + DONE
TRICKY = event({"choices": [{"delta": {"content": 'data: [DONE] "usage":{} \n\n "error"'}}]})


def through(stream: bytes, cuts: list[int], *, hide: bool) -> tuple[bytes, SseScan]:
    scan = SseScan(hide_usage=hide)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    out = b"".join(scan.feed(stream[a:b]) for a, b in itertools.pairwise(places))
    return out + scan.rest(), scan


@given(cuts=st.lists(st.integers(0, 10_000), max_size=8), hide=st.booleans())
def test_a_stream_split_at_any_bytes_is_read_the_same(cuts: list[int], hide: bool) -> None:
    out, scan = through(TRICKY + STREAM, cuts, hide=hide)
    assert out == TRICKY + (CONTENT + CONTENT + DONE if hide else STREAM)
    assert scan.usage == {"prompt_tokens": 9, "completion_tokens": 4}
    assert (scan.ended, scan.failed, scan.garbage) == (True, False, False)


@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_other_line_ends_are_read_the_same(cuts: list[int]) -> None:
    out, scan = through(STREAM.replace(b"\n", b"\r\n"), cuts, hide=True)
    assert b"usage" not in out
    assert scan.ended


def test_generated_text_cannot_end_or_fail_a_stream() -> None:
    _, scan = through(TRICKY, [], hide=False)
    assert (scan.ended, scan.failed, scan.usage) == (False, False, None)


def test_usage_beside_content_is_read_and_stays() -> None:
    both = event({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}})
    out, scan = through(both, [], hide=True)
    assert out == both
    assert scan.usage == {"prompt_tokens": 1}


def test_null_usage_is_no_usage() -> None:
    _, scan = through(event({"choices": [], "usage": None}), [], hide=True)
    assert scan.usage is None


@pytest.mark.parametrize("failure", [{"error": {"message": "x"}}, {"type": "error", "error": {}}])
def test_an_error_event_marks_the_stream_as_failed(failure: dict[str, object]) -> None:
    _, scan = through(CONTENT + event(failure), [], hide=False)
    assert scan.failed


def test_an_event_of_responses_ends_with_its_usage_and_id() -> None:
    created = event({"type": "response.created", "response": {"id": "resp_1"}})
    usage = {"input_tokens": 3, "output_tokens": 4}
    last = event({"type": "response.completed", "response": {"id": "resp_1", "usage": usage}})
    _, scan = through(created + last, [], hide=False)
    assert (scan.response_id, scan.usage, scan.ended) == ("resp_1", usage, True)
    assert scan.finish_reason == "completed"


@pytest.mark.parametrize("body", [b"<html>\n\n", b"\x00\x01\n\n", b'{"a":1}\n\n'])
def test_a_body_that_does_not_begin_like_events_is_garbage(body: bytes) -> None:
    _, scan = through(body, [], hide=False)
    assert scan.garbage


def test_an_endless_event_is_passed_on_unread() -> None:
    scan = SseScan(hide_usage=True)
    out = sum(len(scan.feed(b"x" * 65_536)) for _ in range(40))
    assert out > 1_000_000


def test_the_finish_reason_is_read() -> None:
    _, scan = through(event({"choices": [{"finish_reason": "length"}]}), [], hide=False)
    assert scan.finish_reason == "length"
