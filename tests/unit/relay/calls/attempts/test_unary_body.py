"""Large answers are passed on and read at their ends."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.calls.attempts.unary_body import MAX_KEPT_BYTES, UnaryBody
from relay.dialect.answers.excerpt import EXCERPT_BYTES

USAGE = {"prompt_tokens": 512, "total_tokens": 512, "prompt_tokens_details": {"cached_tokens": 0}}
VECTOR = base64.b64encode(os.urandom(6144)).decode()
DATA = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(256)]
SPELLINGS: dict[str, dict[str, Any]] = {
    "tight": {"separators": (",", ":")},
    "plain": {},
    "indented": {"indent": 1},
}


def kept(raw: bytes, cuts: list[int]) -> UnaryBody:
    """A body that came in pieces, cut at these places."""
    body = UnaryBody()
    start = 0
    for cut in sorted(cut for cut in cuts if 0 < cut < len(raw)):
        body.keep(raw[start:cut])
        start = cut
    body.keep(raw[start:])
    return body


DOCUMENTS = {
    "at the end": {"object": "list", "data": DATA, "model": "m", "usage": USAGE},
    "at the beginning": {"object": "list", "usage": USAGE, "model": "m", "data": DATA},
    "before a few fields": {"data": DATA, "usage": USAGE, "metadata": {"a": "b" * 8000}},
    "after a text that speaks of usage": {
        "choices": [{"message": {"content": '"usage": {"prompt_tokens": 7}' + "x" * 2_000_000}}],
        "usage": USAGE,
    },
    "before a tool that has such a parameter": {
        "usage": USAGE,
        "output": ["x" * 2_000_000],
        "tools": [{"parameters": {"properties": {"usage": {"type": "string"}}}}],
    },
    "before such a text": {
        "usage": USAGE,
        "choices": [{"message": {"content": "x" * 2_000_000 + '"usage": {"prompt_tokens": 7}'}}],
    },
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("piece", [1_000, 65_536, 10_000_000])
def test_the_usage_of_a_large_answer_is_read(
    document: dict[str, Any], spelling: dict[str, Any], piece: int
) -> None:
    raw = json.dumps(document, **spelling).encode()
    assert len(raw) > MAX_KEPT_BYTES
    body = kept(raw, list(range(piece, len(raw), piece)))
    assert body.kept is None
    assert body.begins_as_object
    assert body.usage() == USAGE


RAW = {name: json.dumps(document).encode() for name, document in DOCUMENTS.items()}


@given(name=st.sampled_from(list(RAW)), cuts=st.lists(st.integers(-400, 400), max_size=6))
def test_the_usage_is_read_wherever_pieces_of_the_answer_end(name: str, cuts: list[int]) -> None:
    raw = RAW[name]
    place = raw.index(b'"usage":') if "text" not in name else raw.rindex(b'"usage":')
    assert kept(raw, [MAX_KEPT_BYTES, *(place + cut for cut in cuts)]).usage() == USAGE


def test_a_large_answer_holds_no_more_than_its_ends() -> None:
    body = UnaryBody()
    for _ in range(3000):
        body.keep(b'{"usage": ' + b"x" * 1000)
    excerpt = body._excerpt
    assert excerpt is not None
    held = len(excerpt.head) + len(excerpt.tail) + len(excerpt._usage)
    assert held <= 3 * EXCERPT_BYTES
    assert body.usage() is None
