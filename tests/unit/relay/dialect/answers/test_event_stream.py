"""Event streams, split at any bytes."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.memory import CONTENT, DONE, USAGE, event

from relay.accounting.token_rates import ModelRates
from relay.dialect.answers.event_stream import MAX_HELD_BYTES, SseScan
from relay.dialect.endpoints import Endpoint

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
    assert (scan.ended, scan.error, scan.garbage) == (True, None, False)


@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_other_line_ends_are_read_the_same(cuts: list[int]) -> None:
    out, scan = through(STREAM.replace(b"\n", b"\r\n"), cuts, hide=True)
    assert b"usage" not in out
    assert scan.ended


def test_generated_text_cannot_end_or_fail_a_stream() -> None:
    _, scan = through(TRICKY, [], hide=False)
    assert (scan.ended, scan.error, scan.usage) == (False, None, None)


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
    assert scan.error is not None


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


OUTPUT = {"output": "x" * 300_000}
USED = {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 1}}


@given(cuts=st.lists(st.integers(0, 400_000), max_size=8), hide=st.booleans(), first=st.booleans())
def test_a_large_event_split_at_any_bytes_is_read(cuts: list[int], hide: bool, first: bool) -> None:
    usage = {"usage": USED}
    response = {"id": "resp_1"} | (usage | OUTPUT if first else OUTPUT | usage)
    large = event({"type": "response.completed", "response": response})
    tail = event({"type": "response.ignored", "sequence_number": 7})
    out, scan = through(CONTENT + large + tail, cuts, hide=hide)
    assert out == CONTENT + large + tail
    assert (scan.response_id, scan.usage, scan.ended) == ("resp_1", USED, True)
    assert scan.whole
    assert scan.between_events


def test_a_large_event_holds_no_more_than_its_ends() -> None:
    scan = SseScan(hide_usage=True)
    held = 0
    for _ in range(1000):
        scan.feed(b'data: {"choices":[{"delta":{"content":"' + b"x" * 10_000)
        huge = scan._huge
        kept = len(scan._partial) + (len(huge.excerpt) + len(huge._usage) if huge else 0)
        held = max(held, kept)
    assert held <= 2 * MAX_HELD_BYTES


@pytest.mark.parametrize(("finish", "whole"), [('"stop"', True), ("null", False)])
def test_a_large_event_of_a_chat_may_be_its_last(finish: str, whole: bool) -> None:
    text = '{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}'
    large = f"data: {text % ('x' * 200_000, finish)}\n\n".encode()
    _, scan = through(large, [70_000], hide=False)
    assert (scan.whole, scan.generated) == (whole, True)


FILL = "x" * 85_000
SCHEMA = {"type": "object", "properties": {"error": {"type": "string"}, "type": {"const": "error"}}}
LISTED = {"type": "mcp_list_tools", "tools": [{"name": "t", "input_schema": SCHEMA}]}
CALLED = {"type": "mcp_call", "error": "no such tool", "name": "t"}
ITEM_DONE = {"type": "response.output_item.done"}
WITHOUT_ERROR: dict[str, dict[str, Any]] = {
    "a tool's schema": {**ITEM_DONE, "item": {**LISTED, "server_label": FILL}},
    "a call that failed": {**ITEM_DONE, "item": {**CALLED, "output": FILL}},
    "a failed call whose output comes first": {"item": {"output": FILL, **CALLED}, **ITEM_DONE},
    "an error in a chat's delta": {
        "choices": [{"index": 0, "delta": {"error": {"message": "m"}, "content": FILL}}]
    },
    "a field of the same name in usage": {"usage": {"error": ["e"]}, "choices": [{"text": FILL}]},
    "an error that is filled in with nothing": {
        "error": {"message": None, "code": 0, "details": []},
        "choices": [{"error": None, "delta": {"content": FILL}}],
    },
    "text that reads like one": {
        "choices": [{"delta": {"content": '{"error":{"a":1}}\\"' + FILL}}]
    },
}


@pytest.mark.parametrize("payload", WITHOUT_ERROR.values(), ids=WITHOUT_ERROR)
@pytest.mark.parametrize("cuts", [[], [70_000]], ids=["one read", "two reads"])
def test_an_error_within_the_content_of_a_large_event_is_none(
    payload: dict[str, Any], cuts: list[int]
) -> None:
    _, scan = through(event(payload), cuts, hide=False)
    assert (scan.error, scan.generated) == (None, True)


WITH_ERROR: dict[str, bytes] = {
    "the first field": event({"error": {"message": FILL}}),
    "a later field": event({"id": "c", "meta": {"a": [{}, {"b": 1}]}, "error": FILL}),
    "beside choices": event({"choices": [], "error": {"code": None, "input": FILL}}),
    "in a list": event({}).replace(b"{}", b'[{"error":{"code":500,"input":"%b"}}]' % FILL.encode()),
    "in a choice": event({"choices": [{"index": 0, "error": {"code": 502}, "text": FILL}]}),
    "a choice that ended so": event({"choices": [{"finish_reason": "error", "text": FILL}]}),
    "a type": event({"type": "error", "message": FILL}),
    "an object": event({"object": "error", "message": FILL}),
    "a name": b"event: error\n" + event({"message": FILL}),
    "a name, with other line ends": b"event:error\r\ndata: {\"m\":\"" + FILL.encode() + b'"}\r\n\r\n',
    "a response": event({"type": "response.failed", "response": {"error": {"code": FILL}}}),
    "lines": b'data: {\ndata:  "error" : {\ndata: "m":"' + FILL.encode() + b'"}}\n\n',
}  # fmt: skip


@pytest.mark.parametrize("failure", WITH_ERROR.values(), ids=WITH_ERROR)
@pytest.mark.parametrize("cuts", [[], [70_000]], ids=["one read", "two reads"])
def test_a_large_event_that_is_an_error_is_one(failure: bytes, cuts: list[int]) -> None:
    _, scan = through(failure, cuts, hide=False)
    assert scan.error is not None


ERROR_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "e", [], {}, {"message": "m"}, {"a": {"error": "e"}}]
)
LABELS = st.sampled_from(["error", "errors", "", None])
FIELDS = {"error": ERROR_VALUES, "type": LABELS, "object": LABELS, "finish_reason": LABELS}
NESTED = st.recursive(
    st.sampled_from([None, 7, "error", '"error":{"a":1}', "}]", '\\"', "\\"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries({}, optional={**FIELDS, "choices": inner, "item": inner})
    ),
    max_leaves=8,
)
CHOICES = st.lists(
    st.fixed_dictionaries({}, optional={**FIELDS, "delta": NESTED, "choices": NESTED}), max_size=2
)
DOCUMENTS = st.fixed_dictionaries(
    {}, optional={**FIELDS, "choices": CHOICES, "item": NESTED, "delta": NESTED}
).flatmap(lambda fields: st.permutations(list(fields.items())).map(dict))


@given(document=DOCUMENTS, listed=st.booleans())
def test_a_large_event_is_an_error_if_it_is_one_read_whole(
    document: dict[str, Any], listed: bool
) -> None:
    filled = {**document, "filler": FILL}
    sent = event(filled) if not listed else b"data: " + json.dumps([filled]).encode() + b"\n\n"
    _, whole = through(sent, [], hide=False)
    _, large = through(sent, [70_000], hide=False)
    assert (large.error is None) == (whole.error is None)


@pytest.mark.parametrize("head", [b"[" * 20_000, b'{"a":' * 20_000, b'\\"' * 20_000, b'data: "\\'])
def test_whatever_a_large_event_begins_with_is_read(head: bytes) -> None:
    _, scan = through(b"data: " + head + FILL.encode() + b"\n\n", [70_000], hide=False)
    assert scan.error is None


def test_large_instructions_are_no_answer_yet() -> None:
    created = {"type": "response.created", "response": {"id": "r", "instructions": "x" * 200_000}}
    _, scan = through(event(created), [70_000], hide=False)
    assert (scan.begun, scan.whole, scan.response_id) == (False, False, "r")


def test_a_stream_is_whole_when_every_choice_that_was_seen_has_finished() -> None:
    scan = SseScan(hide_usage=False, many_choices=True)
    steps: list[tuple[int, str | None, bool]] = [
        (0, None, False),
        (0, "stop", True),
        (1, None, False),
        (1, "length", True),
    ]
    for index, reason, whole in steps:
        scan.feed(event({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]}))
        assert scan.whole == whole


@pytest.mark.parametrize("choices", [{"choices": []}, {"choices": None}, {}])
def test_what_only_reports_usage_is_hidden(choices: dict[str, Any]) -> None:
    out, scan = through(CONTENT + event({**choices, "usage": {"prompt_tokens": 1}}), [], hide=True)
    assert out == CONTENT
    assert scan.usage == {"prompt_tokens": 1}


@pytest.mark.parametrize(
    "error",
    [
        event({"choices": [], "usage": {"prompt_tokens": 1}, "error": {"code": 400}}),
        event({"choices": [], "usage": {"prompt_tokens": 1}, "object": "error", "code": 400}),
        b"event: error\n" + event({"usage": {"prompt_tokens": 1}, "code": 400}),
    ],
)
def test_an_error_is_not_hidden_with_the_usage_it_comes_with(error: bytes) -> None:
    out, scan = through(CONTENT + error, [], hide=True)
    assert out == CONTENT + error
    assert scan.error is not None
    assert scan.error.is_callers


def test_an_error_ends_nothing_that_had_not_begun() -> None:
    _, scan = through(event({"type": "response.failed", "response": {}}), [], hide=False)
    assert not scan.begun


def padded(payload: dict[str, Any], size: int = 354) -> bytes:
    """One event of this size, as providers pad them to hide the lengths of tokens."""
    text = json.dumps({**payload, "obfuscation": ""})
    return event({**payload, "obfuscation": "x" * (size - 8 - len(text))})


def chat_piece(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def estimated(endpoint: Endpoint, events: bytes, *, read: int = 100_000) -> int:
    scan = SseScan(hide_usage=False, endpoint=endpoint)
    for start in range(0, len(events), read):
        scan.feed(events[start : start + read])
    return ModelRates().output_tokens(
        "key", pieces=scan.text_pieces(), text_bytes=scan.text_bytes()
    )


ROLE = chat_piece(role="assistant", content="")
WORDS = ("The", " relay", " moves", " traffic", " 日本", ".\n")
PIECES: dict[str, tuple[Endpoint, dict[str, Any], Callable[[str], dict[str, Any]]]] = {
    "content": (Endpoint.CHAT, ROLE, lambda word: chat_piece(content=word)),
    "reasoning": (Endpoint.CHAT, ROLE, lambda word: chat_piece(reasoning_content=word)),
    "a tool's arguments": (
        Endpoint.CHAT,
        ROLE,
        lambda word: chat_piece(tool_calls=[{"index": 0, "function": {"arguments": word}}]),
    ),
    "completions": (
        Endpoint.COMPLETIONS,
        {"choices": [{"text": "", "index": 0}]},
        lambda word: {"choices": [{"text": word, "index": 0, "logprobs": None}]},
    ),
    "responses": (
        Endpoint.RESPONSES,
        {"type": "response.output_text.delta", "delta": "", "item_id": "m"},
        lambda word: {"type": "response.output_text.delta", "delta": word, "item_id": "m"},
    ),
}


@pytest.mark.parametrize(("endpoint", "first", "piece"), PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("pad", [padded, event], ids=["padded", "plain"])
@pytest.mark.parametrize("read", [97, 100_000])
def test_events_of_a_token_each_are_counted_as_such(
    endpoint: Endpoint, first: Any, piece: Any, pad: Any, read: int
) -> None:
    words = [WORDS[index % len(WORDS)] for index in range(60)]
    events = pad(first) + b"".join(pad(piece(word)) for word in words)
    assert estimated(endpoint, events, read=read) == 60


@pytest.mark.parametrize(("endpoint", "first", "piece"), PIECES.values(), ids=PIECES)
def test_events_of_many_tokens_are_estimated_by_their_text(
    endpoint: Endpoint, first: Any, piece: Any
) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 4
    events = event(first) + b"".join(event(piece(text)) for _ in range(20))
    assert 0.8 * 20 * 40 <= estimated(endpoint, events) <= 1.2 * 20 * 45


@pytest.mark.parametrize("events", [b"", b": comment\n\n", event(ROLE), event({"usage": {}})])
def test_a_stream_without_text_has_next_to_no_tokens(events: bytes) -> None:
    assert estimated(Endpoint.CHAT, events) <= 1


@pytest.mark.parametrize(("endpoint", "first", "piece"), PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("read", [97, 100_000])
def test_only_text_is_counted_and_the_role_and_the_usage_around_it_are_none(
    endpoint: Endpoint, first: Any, piece: Any, read: int
) -> None:
    """However little has come: in three pieces an event that names a role would weigh as much as they do."""
    words = ["The", " quick", " fox"]
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
    events = [event({**first, "system_fingerprint": "f" * 40}), *map(event, map(piece, words))]
    data = b"".join([*events, event(usage)])
    scan = SseScan(hide_usage=False, endpoint=endpoint)
    for start in range(0, len(data), read):
        scan.feed(data[start : start + read])
    assert (scan.text_pieces(), scan.text_bytes()) == (3, len("".join(words)))
