"""Searches of the web are counted in a response that passes in pieces, as they are in one that is decoded."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.dialect.answers.search_count import SearchCount
from relay.dialect.usage.openai_usage import is_search

WORDS = st.sampled_from(
    ("type", "status", "action", "output", "web_search_call", "search", "open_page", "failed")
)
TEXTS = WORDS | st.text(max_size=3) | st.sampled_from(('"', "\\", '\\"', "{", "]", '"type":'))
LEAVES = TEXTS | st.none() | st.booleans() | st.integers(-3, 3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ACTIONS = st.fixed_dictionaries(
    {}, optional={"type": WORDS, "sources": VALUES, "action": VALUES, "status": LEAVES}
)
ITEMS = st.fixed_dictionaries(
    {"type": st.just("web_search_call") | LEAVES},
    optional={"status": WORDS, "action": ACTIONS | VALUES, "content": VALUES, "id": TEXTS},
)
RESPONSES = st.fixed_dictionaries(
    {"output": st.lists(ITEMS, max_size=4) | VALUES},
    optional={"type": WORDS, "instructions": st.lists(ITEMS, max_size=2), "tools": VALUES},
)


def searches(document: dict[str, Any]) -> int:
    output = document.get("output")
    return sum(is_search(item) for item in output) if isinstance(output, list) else 0


def counted(body: bytes, pieces: int) -> int:
    count = SearchCount()
    for start in range(0, len(body), pieces):
        count.add(body[start : start + pieces])
    return count.count


@given(
    document=RESPONSES.flatmap(lambda one: st.permutations(list(one.items())).map(dict)),
    pieces=st.integers(1, 40) | st.just(10**6),
    indent=st.sampled_from((None, 1)),
)
@example(document={"output": [{"type": "web_search_call"}]}, pieces=1, indent=None)
@example(document={"output": [{"type": "web_search_call", "action": []}]}, pieces=3, indent=1)
def test_pieces_of_any_size_tell_what_the_document_does(
    document: dict[str, Any], pieces: int, indent: int | None
) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    assert counted(body, pieces) == searches(document)


@pytest.mark.parametrize("pieces", [1, 999, 1000, 1024, 5000, 10**6])
@pytest.mark.parametrize("long", ["m" * 4000, "\\" * 4000, '"' * 4000, 'a\\"{' * 1000])
def test_texts_that_are_not_held_hide_nothing(long: str, pieces: int) -> None:
    item = {long: long, "type": "web_search_call", "id": long, "action": {"type": "search"}}
    other = {"type": long, "status": long, "action": {"query": long, "type": "open_page"}}
    document = {"id": long, "output": [item, other, item, {"type": "message", "content": [long]}]}
    assert counted(orjson.dumps(document), pieces) == 2


@pytest.mark.parametrize(
    "body", [b"", b"]]]}}}", b'"' * 99, b"\\" * 99, b"{[" * 99, b'{"output":[' * 99, b"\xff\x00{"]
)
def test_what_is_no_document_tells_of_none(body: bytes) -> None:
    assert counted(body, 7) == 0
