"""The error object made of what providers send: total, bounded, and never without words."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.answers import error_shape

NAMES = st.sampled_from(
    ["message", "error", "detail", "errors", "loc", "msg", "type", "code", "param", "status", "x"]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("w" * 5000),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=30,
)


@given(document=DOCUMENTS, status=st.integers(300, 599))
def test_any_document_becomes_an_error_object_or_none(document: Any, status: int) -> None:
    error = error_shape.error_object(document, status=status)
    if error is None:
        assert error_shape.text_of(document) == ""
        return
    assert set(error) == {"message", "type", "param", "code"}
    assert 0 < len(error["message"]) <= error_shape.MAX_MESSAGE_CHARACTERS
    assert error["type"]
    assert len(orjson.dumps(error)) < 40_000


@given(document=DOCUMENTS)
def test_what_has_the_shape_has_words_of_its_own(document: Any) -> None:
    if error_shape.has_openai_shape(document):
        assert isinstance(document["error"]["message"], str)
