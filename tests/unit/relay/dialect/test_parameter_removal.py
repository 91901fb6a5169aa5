"""Parameters taken out of bodies, in C and in Python: exactly these, however they are spelled, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.dialect.body_scans import KEYS, Object, Removal, bodies, meaning, plain

from relay.dialect import parameter_removal_pure
from relay.dialect.body_fields import MAX_NESTING
from relay.dialect.body_scan_pure import scan

STEPS = KEYS.filter(bool)
PATHS = st.lists(
    st.lists(STEPS, min_size=1, max_size=3).map(lambda steps: ".".join(steps).encode()),
    max_size=4,
).map(tuple)


def thinned(value: Any, paths: list[list[str]], *, in_array: bool = False) -> Any:
    """What the paths leave of a value, by its meaning."""
    if isinstance(value, list) and not in_array:
        return [thinned(item, paths, in_array=True) for item in value]
    if not isinstance(value, Object):
        return value
    pairs = []
    for key, item in value.pairs:
        deeper = [path[1:] for path in paths if path[0] == key]
        if [] not in deeper:
            pairs.append((key, thinned(item, deeper) if deeper else item))
    return Object(pairs)


@given(raw=bodies(), paths=PATHS)
def test_what_the_paths_lead_to_is_gone_and_the_rest_means_the_same(
    removal: Removal, raw: bytes, paths: tuple[bytes, ...]
) -> None:
    pairs = meaning(raw)
    assert pairs is not None
    expected = thinned(Object(pairs), [path.decode().split(".") for path in paths])
    left = removal(raw, paths)
    found = meaning(left)
    assert found is not None
    assert plain(Object(found)) == plain(expected)
    assert scan(left) is not None
    assert (left == raw) == (plain(expected) == plain(Object(pairs)))
    assert removal(left, paths) is left


@given(raw=bodies(), paths=PATHS)
def test_both_leave_the_same_bytes(
    compiled_removal: Removal, raw: bytes, paths: tuple[bytes, ...]
) -> None:
    assert compiled_removal(raw, paths) == parameter_removal_pure.without(raw, paths)


@pytest.mark.parametrize(
    ("text", "paths", "left"),
    [
        ('{"a":1}', "a", "{}"),
        ('{ "a" : 1 }', "a", "{  }"),
        ('{"a":1,"b":2}', "a", '{"b":2}'),
        ('{"a":1,"b":2}', "b", '{"a":1}'),
        ('{"a":1, "b":2, "c":3}', "b", '{"a":1, "c":3}'),
        ('{"a":1,"b":2,"c":3}', "a b", '{"c":3}'),
        ('{"a":1,"b":2,"c":3}', "b c", '{"a":1}'),
        ('{"a":1,"b":2,"c":3}', "a c", '{"b":2}'),
        ('{"a":1,"b":2,"a":3,"a":4,"c":5,"a":6}', "a", '{"b":2,"c":5}'),
        ('{"a":1,"a":2}', "a", "{}"),
        ('{"\\u0061":1,"b":2}', "a", '{"b":2}'),
        ('{"b":{"a":1},"t":["a",{"a":2}],"s":"\\"a\\":1"}', "a", None),
        ('{"A":1,"aa":1,"":1,"a ":1}', "a", None),
        ('{"a":{"b":1,"c":2},"b":3}', "a.b", '{"a":{"c":2},"b":3}'),
        ('{"a":{"b":1}}', "a.b", '{"a":{}}'),
        ('{"a":{"b":{"c":1,"d":2}}}', "a.b.c", '{"a":{"b":{"d":2}}}'),
        ('{"a":{"b":1},"a":{"b":2,"c":3}}', "a.b", '{"a":{},"a":{"c":3}}'),
        ('{"t":[{"f":{"s":true,"n":"x"}},{"f":{"s":false}},{},5,"s"]}', "t.f.s",
         '{"t":[{"f":{"n":"x"}},{"f":{}},{},5,"s"]}'),
        ('{"t":[[{"s":1}]]}', "t.s", None),
        ('{"a":5,"b":"a.b","c":null}', "a.b c.d", None),
        ('{"a":{"b":1},"c":2}', "a a.b", '{"c":2}'),
        ('{"m":{"temperature":1},"temperature":0.5,"tools":[{"parameters":{"temperature":{}}}]}',
         "temperature", '{"m":{"temperature":1},"tools":[{"parameters":{"temperature":{}}}]}'),
    ],
)  # fmt: skip
def test_every_other_byte_stays(removal: Removal, text: str, paths: str, left: str | None) -> None:
    raw = text.encode()
    found = removal(raw, tuple(path.encode() for path in paths.split()))
    assert found.decode() == (text if left is None else left)
    assert (found is raw) == (left is None)


def test_a_name_as_long_as_the_schema_allows_is_found(removal: Removal) -> None:
    name = "p" * 64
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name)
    for key in (name, escaped):
        assert removal(f'{{"{key}":1,"x":2}}'.encode(), (name.encode(),)) == b'{"x":2}'
    longer = f'{{"{name}p":1}}'.encode()
    assert removal(longer, (name.encode(),)) is longer


def test_deep_values_are_taken_out_and_passed_over(removal: Removal) -> None:
    deep = "[" * (MAX_NESTING - 1) + "]" * (MAX_NESTING - 1)
    raw = f'{{"a":{deep},"b":{deep}}}'.encode()
    assert removal(raw, (b"a",)) == f'{{"b":{deep}}}'.encode()


def test_many_parameters_are_taken_out_of_a_large_body(removal: Removal) -> None:
    messages = [
        {"role": "user", "name": f"n{number}", "content": "é" * 50} for number in range(3000)
    ]
    raw = json.dumps({"model": "m", "messages": messages, "n": 1}, ensure_ascii=False).encode()
    left = removal(raw, (b"messages.name", b"n"))
    for message in messages:
        del message["name"]
    assert json.loads(left) == {"model": "m", "messages": messages}


@pytest.mark.parametrize(
    "paths", [(b"",), (b"a..b",), (b".a",), (b"a.",), (b"a.b.c.d.e.f.g",), (b"a",) * 17]
)
def test_what_is_no_path_is_refused(removal: Removal, paths: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="path"):
        removal(b'{"a":1}', paths)
