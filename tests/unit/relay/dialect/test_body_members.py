"""The members of a body, in C and in Python: all of them, in their order, wherever they stand."""

import json

import pytest
from hypothesis import given
from tests.unit.relay.dialect.body_scans import Members, at, bodies, meaning, plain

from relay.dialect.body_fields import MAX_MEMBERS, MAX_NESTING


@given(raw=bodies())
def test_each_key_and_value_stands_where_it_is_said(members: Members, raw: bytes) -> None:
    pairs, spans = meaning(raw), members(raw)
    assert pairs is not None
    assert spans is not None
    keys = [json.loads(raw[start:end]) for start, end in spans[::2]]
    assert keys == [key for key, _ in pairs]
    assert [at(raw, span) for span in spans[1::2]] == [plain(value) for _, value in pairs]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"{}", []),
        (b" { } ", []),
        (b'{ "a\\"" : [1 , {"b":2}] ,"c":"}"}\n', [b'"a\\""', b'[1 , {"b":2}]', b'"c"', b'"}"']),
        (b'{"a":1,"a":2}', [b'"a"', b"1", b'"a"', b"2"]),
    ],
)
def test_members_are_found_as_they_are_spelled(
    members: Members, raw: bytes, parts: list[bytes]
) -> None:
    spans = members(raw)
    assert spans is not None
    assert [raw[start:end] for start, end in spans] == parts


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_of_too_many_members_is_not_looked_through(members: Members, more: int) -> None:
    raw = json.dumps({str(number): number for number in range(MAX_MEMBERS + more)}).encode()
    spans = members(raw)
    assert (spans is None) == bool(more)


def test_values_may_be_as_deep_as_a_body_is(members: Members) -> None:
    deep = b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1)
    assert members(b'{"a":' + deep + b"}") == ((1, 4), (5, 5 + len(deep)))
