"""JSON of strangers: read as Python's own decoder does, or refused; and places that are right to the character."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.tools.reading.edits import dropped, edited, without
from relay.tools.reading.json_text import (
    AmbiguousJson,
    Bounds,
    OversizedJson,
    UnreadableJson,
    check_end,
    items_at,
    members_at,
    root_of,
    text_of,
)

WIDE = Bounds(size=1 << 20, depth=64, brackets=1 << 14)
KEYS = st.sampled_from(["a", "b", "é", "\u0000", 'q"', "name"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


def spelled(value: Any, *, ascii_only: bool, indent: int | None) -> str:
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent)


def whole(raw: bytes, bounds: Bounds = WIDE) -> dict[str, Any]:
    text = text_of(raw, bounds)
    members, end = members_at(text, root_of(text))
    check_end(text, end)
    return {member.key: member.value for member in members}


@given(content=OBJECTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_members_are_what_the_decoder_finds_and_stand_where_they_say(
    content: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    text = spelled(content, ascii_only=ascii_only, indent=indent)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    members, end = members_at(text_of(raw, WIDE), 0)
    assert end == len(text)
    assert {member.key: member.value for member in members} == content
    for member in members:
        assert json.loads(text[member.start : member.end]) == member.value
        assert text[member.key_start] == '"'


@given(content=st.lists(VALUES, max_size=6), indent=st.sampled_from([None, 2]))
def test_items_stand_where_they_say(content: list[Any], indent: int | None) -> None:
    text = spelled(content, ascii_only=True, indent=indent)
    items, end = items_at(text, 0)
    assert end == len(text)
    assert [json.loads(text[item.start : item.end]) for item in items] == content
    assert [item.value for item in items] == content


@given(raw=st.binary(max_size=40) | st.text('{}[]",:01ae\\u \n', max_size=24).map(str.encode))
@example(raw=b'{"a":NaN}')
@example(raw=b'{"a":-Infinity}')
@example(raw=b'{"a":1}{')
@example(raw=b'{"a":"\x01"}')
@example(raw=b'{"a":01}')
@example(raw=b'{"a":1,}')
@example(raw=b'\xef\xbb\xbf{"a":1}')
@example(raw=b'{"a":"\xed\xa0\x80"}')
@example(raw=b'{"a":' + b"9" * 5000 + b"}")
@example(raw="{\u00a0}".encode())
def test_what_is_read_every_strict_decoder_reads_alike(raw: bytes) -> None:
    try:
        read = whole(raw)
    except UnreadableJson:
        return
    assert json.loads(raw.decode()) == read
    assert b"NaN" not in raw
    assert b"Infinity" not in raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"name":"x","n\\u0061me":"y"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1},{"c":[{"d":1,"d":2}]}]}',
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(raw: bytes) -> None:
    with pytest.raises(AmbiguousJson):
        whole(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_is_bounded_before_anything_is_decoded(opening: bytes) -> None:
    bounds = Bounds(size=1 << 20, depth=64, brackets=1 << 14)
    closing = b"]" if opening == b"[" else b"}"
    inner = opening * 63 + b"1" + closing * 63
    assert whole(b'{"v":' + inner + b"}", bounds)
    for depth in (64, 100_000):
        deep = b'{"v":' + opening * depth + b"1" + closing * depth + b"}"
        with pytest.raises(OversizedJson):
            whole(deep, bounds)


def test_brackets_in_strings_do_not_count() -> None:
    raw = json.dumps({"code": "[{" * 1000 + '"\\' + "[" * 1000}).encode()
    assert whole(raw, Bounds(size=1 << 20, depth=2, brackets=4))


def test_a_text_of_many_small_values_is_refused() -> None:
    raw = b'{"v":[' + b"{}," * 1000 + b"{}]}"
    assert whole(raw, Bounds(size=1 << 20, depth=4, brackets=1003))
    with pytest.raises(OversizedJson):
        whole(raw, Bounds(size=1 << 20, depth=4, brackets=1002))


def test_size_is_bounded() -> None:
    assert whole(b'{"a":1}', Bounds(size=7, depth=4, brackets=4))
    with pytest.raises(OversizedJson):
        whole(b'{"a":1}', Bounds(size=6, depth=4, brackets=4))


@given(
    content=st.lists(VALUES, min_size=1, max_size=6),
    drops=st.lists(st.booleans(), min_size=6, max_size=6),
    indent=st.sampled_from([None, 1]),
)
def test_what_is_dropped_goes_with_one_comma_and_nothing_else(
    content: list[Any], drops: list[bool], indent: int | None
) -> None:
    text = spelled(content, ascii_only=True, indent=indent)
    items, _ = items_at(text, 0)
    drops = drops[: len(items)]
    left = edited(text, dropped([(item.start, item.end) for item in items], drops))
    kept = [item for item, is_dropped in zip(items, drops, strict=True) if not is_dropped]
    assert json.loads(left) == [item.value for item in kept]
    for item in kept:
        assert text[item.start : item.end] in left
    if not any(drops):
        assert left == text


@given(content=OBJECTS, keys=st.lists(KEYS, max_size=3))
def test_members_are_taken_out_by_their_keys(content: dict[str, Any], keys: list[str]) -> None:
    text = spelled(content, ascii_only=True, indent=None)
    members, _ = members_at(text, 0)
    left = edited(text, without(members, *keys))
    assert json.loads(left) == {key: value for key, value in content.items() if key not in keys}


def test_a_string_that_nothing_ends_is_searched_once() -> None:
    """Two hundred thousand quotes in it would take minutes if each of them began a search."""
    raw = b"[" * 65 + b'"' + b'\\"' * 200_000
    with pytest.raises(OversizedJson):
        text_of(raw, WIDE)
