"""Events of a watch are read from whatever pieces they arrive in, and what is none ends the watch with a reason."""

import itertools
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.cluster.watch_stream import WatchEvent, events
from relay_operator.errors import ApiServerRefused, Unavailable


def line(type_: str, **metadata: Any) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": metadata}}).encode() + b"\n"


async def pieces(found: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in found:
        yield piece


async def read(*found: bytes) -> list[WatchEvent]:
    return [event async for event in events(pieces(found), what="watch")]


TWO = line("ADDED", name="a", resourceVersion="3") + line("BOOKMARK", resourceVersion="9")


@given(st.lists(st.integers(0, len(TWO)), max_size=8))
async def test_events_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(TWO)})
    found = await read(*(TWO[start:end] for start, end in itertools.pairwise(ends)))
    assert [(event.type, event.version) for event in found] == [("ADDED", "3"), ("BOOKMARK", "9")]


async def test_a_version_that_is_too_old_is_told_from_other_errors() -> None:
    def error(code: int) -> bytes:
        shown = {"kind": "Status", "code": code, "message": "too old resource version"}
        return json.dumps({"type": "ERROR", "object": shown}).encode() + b"\n"

    with pytest.raises(ApiServerRefused) as refused:
        await read(error(410))
    assert refused.value.status == 410
    with pytest.raises(Unavailable, match="too old resource version"):
        await read(error(500))


@pytest.mark.parametrize("text", [b"<html>\n", b"[]\n", b"{}\n", b'{"type": "ADDED"}\n', b"3\n"])
async def test_what_is_no_event_ends_the_watch(text: bytes) -> None:
    with pytest.raises(Unavailable, match="is no event"):
        await read(text)


async def test_an_object_that_is_none_ends_the_watch_and_metadata_that_is_none_is_empty() -> None:
    with pytest.raises(Unavailable, match="has no object"):
        await read(b'{"type": "ADDED", "object": []}\n')
    assert await read(b'{"type": "ADDED", "object": {"metadata": 3}}\n') == [
        WatchEvent("ADDED", {})
    ]


async def test_a_line_without_an_end_is_given_up() -> None:
    with pytest.raises(Unavailable, match="longer than"):
        await read(*[b"x" * 1024 * 1024] * 6)
