"""Ids that are marked while an answer passes, in whatever pieces it comes."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.answers.response_id_marker import MAX_SEARCHED_BYTES, ResponseIdMarker
from relay.dialect.response_ids import ResponseId, marked_id

OWN = "resp_68af4030592c81938ec0a5fbab4a3e9f"
PREVIOUS = "resp_0"


def marked(own: str) -> str:
    return marked_id(own, fingerprint="aaaaaaaaaaaa", provider="legacy")


def passed(answer: bytes, cuts: list[int], *, is_stream: bool) -> bytes:
    """What the client gets of an answer that comes in these pieces."""
    marker = ResponseIdMarker(
        fingerprint="aaaaaaaaaaaa",
        provider="legacy",
        is_stream=is_stream,
        echoed=ResponseId(marked(PREVIOUS)),
    )
    places = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in itertools.pairwise(places)]
    return b"".join(marker.feed(piece) for piece in pieces) + marker.rest()


def document(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


CUTS = st.lists(st.integers(0, 5000), max_size=20)
OUTPUT = [{"id": "msg_1", "content": [{"text": f'the id is "{OWN}", it is'}]}]


@given(cuts=CUTS)
def test_a_unary_answer_has_the_marked_id_and_nothing_else_changed(cuts: list[int]) -> None:
    fields = {"object": "response", "output": OUTPUT, "previous_response_id": PREVIOUS}
    answer = document(id=OWN, **fields)
    expected = document(id=marked(OWN), **{**fields, "previous_response_id": marked(PREVIOUS)})
    assert passed(answer, cuts, is_stream=False) == expected


@given(cuts=CUTS)
def test_an_id_behind_other_fields_is_found(cuts: list[int]) -> None:
    inner = {"id": "not this one", "metadata": {"id": "nor this"}}
    answer = document(metadata=inner, tools=[inner], text="id", id=OWN, status="completed")
    expected = answer.replace(OWN.encode(), marked(OWN).encode())
    assert passed(answer, cuts, is_stream=False) == expected


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def events(own: str) -> bytes:
    response = {"id": own, "object": "response"}
    return (
        b": hello\n\n"
        + event("response.created", response=response)
        + event("response.output_text.delta", item_id="msg_1", delta=f'so "{OWN}" is')
        + event("response.completed", response={**response, "usage": {"input_tokens": 1}})
    )


@given(cuts=CUTS)
def test_every_event_of_a_stream_has_the_marked_id(cuts: list[int]) -> None:
    assert passed(events(OWN), cuts, is_stream=True) == events(marked(OWN))


def test_an_event_is_passed_on_when_it_is_whole() -> None:
    marker = ResponseIdMarker(
        fingerprint="aaaaaaaaaaaa", provider="legacy", is_stream=True, echoed=None
    )
    for piece in events(OWN).split(b"\n\n")[:-1]:
        assert marker.feed(piece + b"\n\n").endswith(b"\n\n")
    assert marker.rest() == b""


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"object":"response"}',
        b'{"id":7}',
        b'{"id":"with \\u0065scape"}',
        b'{"id":""}',
        b'{"response":{"a":{"id":"x"}}}',
        b'{"x":"' + b"a" * (2 * MAX_SEARCHED_BYTES) + b'","id":"resp_1"}',
    ],
)
def test_an_answer_whose_id_is_not_found_passes_as_it_is(answer: bytes, is_stream: bool) -> None:
    for cuts in ([], [10], list(range(0, 5000, 7))):
        assert passed(answer, cuts, is_stream=is_stream) == answer
