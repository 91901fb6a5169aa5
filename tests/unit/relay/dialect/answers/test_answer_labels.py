"""The model and the tier that a document names are those that a look at its beginning or its end by expressions finds."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.answers import answer_labels
from relay.dialect.answers.answer_labels import model_in, service_tier_in

_PIECES = st.sampled_from(
    [
        b'"model"',
        b'"service_tier"',
        b":",
        b" ",
        b'"',
        b"\\",
        b"gpt-4.1",
        b",",
        b"\n",
        "模".encode(),
        b"\xff",
        b"\x7f",
        b"x" * 700,
    ]
)


@pytest.mark.parametrize(
    "document", [b'{"id":"1","model":"gpt-4.1"}', b'{"id": "1", "model": "gpt-4.1"}']
)
def test_the_model_of_a_usual_answer_is_found(document: bytes) -> None:
    assert model_in(document) == "gpt-4.1"


def test_a_model_is_what_the_document_says_and_no_word_within_a_text() -> None:
    said = {"content": 'the "model":"wrong"', "kind": "model", "model": 'a "quoted" one'}
    assert model_in(orjson.dumps(said)) == said["model"]


@given(document=st.lists(_PIECES, max_size=12).map(b"".join))
def test_any_document_is_read_as_the_expressions_read_it(document: bytes) -> None:
    found = answer_labels._MODEL.search(document, 0, 4096)
    assert model_in(document) == answer_labels._text(found)
    start = max(0, len(document) - 4096)
    tier = answer_labels._TIER.search(document, start)
    assert service_tier_in(document) == answer_labels._text(tier)
