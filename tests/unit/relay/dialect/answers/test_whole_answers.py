"""Answers that a glance takes for whole, held to what decoding them says."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.relay.dialect.body_scans import BodyReader

from relay.dialect import body_texts_pure
from relay.dialect.answers.answer_content import decoded, has_answer
from relay.dialect.answers.error_report import read_error
from relay.dialect.endpoints import Endpoint

REPORTS = ("usage", "model", "service_tier")
PARTS = {Endpoint.CHAT: (b"choices", b"message"), Endpoint.EMBEDDINGS: (b"data", b"embedding")}
SCALARS = st.sampled_from(
    (None, True, False, 0, 1.5, "", "error", "stop", "a\\u00e9\U0001f600", "\ud800")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(("error", "code", "x")), inner, max_size=2)
    ),
    max_leaves=4,
)
ITEMS = st.lists(
    st.dictionaries(
        st.sampled_from(("message", "embedding", "finish_reason", "error", "index", "x" * 70)),
        VALUES,
        max_size=4,
    )
    | VALUES,
    max_size=3,
)
ANSWERS = st.dictionaries(
    st.sampled_from(("id", "object", "type", "error", *REPORTS, "status", "choices", "data")),
    VALUES | ITEMS,
    max_size=6,
) | st.builds(
    lambda choices, usage, more: {"choices": choices, "usage": usage, **more},
    st.lists(
        st.builds(
            lambda message, reason: {"message": message, "finish_reason": reason},
            VALUES,
            SCALARS,
        ),
        max_size=3,
    ),
    VALUES,
    st.dictionaries(
        st.sampled_from(("id", "object", "error", "model", "service_tier")), SCALARS, max_size=4
    ),
)
GOOD = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    "error": None,
    "service_tier": "default",
}


def spelled(document: Any, spelling: str) -> bytes:
    """Returns the document as JSON: compact, with blanks, or with its keys spelled in escapes."""
    if spelling == "blanks":
        return json.dumps(document, indent=1).encode()
    text = json.dumps(document, separators=(",", ":"))
    return (text.replace("error", "\\u0065rror") if spelling == "escapes" else text).encode()


@given(document=ANSWERS, spelling=st.sampled_from(("compact", "blanks", "escapes")))
@example(document=GOOD, spelling="compact")
def test_what_passes_for_whole_is_whole_and_has_this_usage(
    compiled: BodyReader, document: dict[str, Any], spelling: str
) -> None:
    raw = spelled(document, spelling)
    for endpoint, (items, member) in PARTS.items():
        places = compiled.reports_in_answer(raw, items, member)
        if places is None:
            continue
        whole = decoded(raw)
        assert isinstance(whole, dict)
        assert read_error(whole) is None
        assert has_answer(whole, endpoint)
        for number, name in enumerate(REPORTS):
            start, end = places[2 * number : 2 * number + 2]
            reported = decoded(raw[start:end]) if start < end else None
            assert reported == whole.get(name)


@pytest.mark.parametrize("spelling", ["compact", "blanks"])
def test_a_usual_answer_passes_without_being_decoded(compiled: BodyReader, spelling: str) -> None:
    raw = spelled(GOOD, spelling)
    places = compiled.reports_in_answer(raw, b"choices", b"message")
    assert places is not None
    assert json.loads(raw[places[0] : places[1]]) == GOOD["usage"]
    assert json.loads(raw[places[2] : places[3]]) == GOOD["model"]
    assert json.loads(raw[places[4] : places[5]]) == GOOD["service_tier"]


def test_all_that_a_whole_answer_reports_may_be_missing(compiled: BodyReader) -> None:
    raw = b'{"data":[{"embedding":[0.5]},{"embedding":"AAAA"}]}'
    assert compiled.reports_in_answer(raw, b"data", b"embedding") == (0,) * 6


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"choices":[]}',
        b'{"choices":{"message":"a"}}',
        b'{"choices":[{"message":"a"}]} x',
        b'{"choices":[{"message":"a"}],"x":NaN}',
        b'{"choices":[{"message":"\xff"}]}',
        b'{"choices":[{"message":"a"},{"message":{}}]}',
        b'{"choices":[{"message":"a"},{"index":1}]}',
        b'{"choices":[{"message":"a","error":{"message":"b"}}]}',
        b'{"choices":[{"message":"a","finish_reason":"error"}]}',
        b'{"choices":[{"message":"a"}],"error":{"message":"b"}}',
        b'{"choices":[{"message":"a"}],"type":"error"}',
        b'{"choices":[{"message":"a"}],"object":"\\u0065rror"}',
        b'{"choices":[{"message":"a"}],"choices":[]}',
    ],
)
def test_any_other_answer_is_to_be_decoded(compiled: BodyReader, raw: bytes) -> None:
    assert compiled.reports_in_answer(raw, b"choices", b"message") is None


def test_without_the_compiled_functions_every_answer_is_decoded() -> None:
    assert (
        body_texts_pure.reports_in_answer(spelled(GOOD, "compact"), b"choices", b"message") is None
    )
