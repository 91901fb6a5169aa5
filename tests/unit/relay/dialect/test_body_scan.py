"""Both scans of request bodies, held to the same claims: by Python's own decoder, and to each other."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.dialect.body_scans import (
    FIELDS,
    OPENING_FIELDS,
    Scan,
    at,
    bodies,
    last,
    meaning,
    opening,
    openings,
    plain,
)

from relay.dialect import body_fields, body_scan_pure
from relay.dialect.body_fields import MAX_NESTING, MAX_OPENING_MESSAGES, Spans

JSON_BYTES = st.sampled_from(
    [bytes([code]) for code in b'{}[]",:\\u0123456789eE+-.truefalsn \n\t\x00\x1f\x7f\x80\xc3\xff']
)


def found(scan: Scan, raw: bytes) -> Spans:
    spans = scan(raw)
    assert spans is not None
    return spans


@given(raw=bodies())
def test_each_field_stands_where_the_scan_says(scan: Scan, raw: bytes) -> None:
    pairs, spans = meaning(raw), scan(raw)
    assert pairs is not None
    assert spans is not None
    for name, field in FIELDS.items():
        values = [plain(value) for key, value in pairs if key == name]
        span = spans[field]
        assert (span is None) == (not values)
        if span is not None:
            assert at(raw, span) == values[-1]
    models = [plain(value) for key, value in pairs if key == "model"]
    earlier = spans[body_fields.EARLIER_MODEL]
    assert (earlier is None) == (len(models) < 2)
    bounds = [key for key, _ in pairs if FIELDS.get(key) in body_fields.BOUNDS]
    twice = len(bounds) != len(set(bounds))
    assert (spans[body_fields.EARLIER_BOUND] is not None) == twice


@given(raw=bodies())
def test_what_identifies_a_conversation_stands_where_the_scan_says(scan: Scan, raw: bytes) -> None:
    pairs, spans = meaning(raw), scan(raw)
    assert pairs is not None
    assert spans is not None
    fields = dict(pairs)
    for name, field in OPENING_FIELDS.items():
        span = spans[field]
        assert (span is None) == (name not in fields)
        if span is not None:
            try:
                expected = plain(opening(fields[name]))
            except KeyError:
                expected = "..."
            assert at(raw, span) == expected
    expected = [
        "..." if value is ... else plain(value) for value in openings(fields.get("messages"))
    ]
    assert [at(raw, span) for span in spans[body_fields.FIRST_OPENING :] if span] == expected


@given(raw=bodies())
def test_usage_stands_inside_the_stream_options_that_count(scan: Scan, raw: bytes) -> None:
    pairs, spans = meaning(raw), scan(raw)
    assert pairs is not None
    assert spans is not None
    span = spans[body_fields.INCLUDE_USAGE]
    try:
        expected = plain(last(last(pairs, "stream_options").pairs, "include_usage"))
    except (KeyError, AttributeError):
        assert span is None
    else:
        assert span is not None
        assert at(raw, span) == expected


@given(raw=bodies(), data=st.data())
def test_a_changed_body_is_taken_exactly_if_it_is_still_one(
    compiled_scan: Scan, raw: bytes, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 3)))
        raw = raw[:start] + b"".join(data.draw(st.lists(JSON_BYTES, max_size=3))) + raw[end:]
    spans = compiled_scan(raw)
    assert (spans is None) == (meaning(raw) is None)
    assert spans == body_scan_pure.scan(raw)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "}", "{}}", "{} {}", "{}x", "[]", "1", '"a"', "null", "{,}", '{"a"}'),
        *('{"a":}', '{"a":1,}', '{"a":1 "b":2}', "{a:1}", "{1:1}", "{'a':1}", '{"a":1,,"b":2}'),
        *('{"a":[1,]}', '{"a":[,1]}', '{"a":[1 2]}', '{"a":[}', '{"a":{]}', '{"a":[1}}'),
        *('{"a":01}', '{"a":+1}', '{"a":1.}', '{"a":.5}', '{"a":1e}', '{"a":1e+}', '{"a":-}'),
        *('{"a":0x1}', '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":tru}'),
        *('{"a":nulll}', '{"a":True}', '{"a":"\n"}', '{"a":"\x00"}', '{"a":"\\x"}'),
        *(
            '{"a":"\\u12g4"}',
            '{"a":"\\u12"}',
            '{"a":"\\U00e9"}',
            '{"a":"',
            '{"a":"\\',
            '{"a":"\\"}',
        ),
        *("\x00{}", "{}\x00", '{"a"\x00:1}', '{"a":1}//', '{/**/"a":1}', "\x0b{}", "\u00a0{}"),
    ],
)
def test_what_is_not_one_json_object_is_no_body(scan: Scan, text: str) -> None:
    assert meaning(text.encode()) is None
    assert scan(text.encode()) is None


@pytest.mark.parametrize(
    "bytes_inside",
    [
        *(b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3\x28", b"\xe0\x80\x80"),
        *(b"\xe0\x9f\xbf", b"\xe2\x82", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80"),
        *(b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xfe"),
        b"\xf0\x9f\x98",
    ],
)
def test_text_that_is_not_utf_8_is_no_body(scan: Scan, bytes_inside: bytes) -> None:
    # at every place in a block of 64 bytes and over its end
    for padding in (b"p" * place for place in range(66)):
        assert scan(b'{"a":"' + padding + bytes_inside + b'"}') is None
        assert scan(b'{"a":"' + padding + bytes_inside + padding + b'"}') is None


@pytest.mark.parametrize("code", [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF])
def test_text_in_utf_8_is_a_body(scan: Scan, code: int) -> None:
    for place in range(66):
        raw = ('{"model":"' + "p" * place + chr(code) * 3 + '"}').encode()
        assert found(scan, raw)[body_fields.MODEL] == (9, len(raw) - 1)


@pytest.mark.parametrize("end", ["", "n", "u12aF", "u12a", "u12a\\", "x", "é", "\x1f", "\x00"])
def test_an_escape_is_read_the_same_wherever_it_stands(scan: Scan, end: str) -> None:
    # runs of backslashes of either parity, at every place in a block of 32 bytes and over its end
    for place in range(34):
        for run in (1, 2, 3, 31, 32, 33):
            raw = (
                '{"a":"' + "p" * place + "\\" * run + end + '","model":"' + "q" * 40 + '"}'
            ).encode()
            pairs, spans = meaning(raw), scan(raw)
            assert (spans is None) == (pairs is None), raw
            if pairs is not None and spans is not None:
                assert (spans[body_fields.MODEL] is not None) == ("model" in dict(pairs)), raw


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_another_encoding_or_a_byte_order_mark_is_no_body(scan: Scan, encoding: str) -> None:
    assert scan('{"model":"m","x":"\\ud800"}'.encode(encoding)) is None


@pytest.mark.parametrize("field", ["x", "messages", "stream_options", "input", "model"])
@pytest.mark.parametrize(
    ("opening_bracket", "closing_bracket"), [("[", "]"), ('{"role":', "}"), ('{"content":', "}")]
)
def test_brackets_are_counted_up_to_the_limit(
    scan: Scan, field: str, opening_bracket: str, closing_bracket: str
) -> None:
    def nested(depth: int) -> bytes:
        inner = opening_bracket * (depth - 2) + "[]" + closing_bracket * (depth - 2)
        return f'{{"{field}":{inner}}}'.encode()

    assert scan(nested(MAX_NESTING)) is not None
    assert scan(nested(MAX_NESTING + 1)) is None
    assert scan(nested(100 * MAX_NESTING)) is None
    assert scan(b'{"x":' + b"[" * 1_000_000) is None


@given(depth=st.integers(MAX_NESTING - 12, MAX_NESTING + 2), raw=bodies())
def test_both_scans_count_brackets_alike(compiled_scan: Scan, depth: int, raw: bytes) -> None:
    nested = b'{"x":' + b"[" * (depth - 1) + raw + b"]" * (depth - 1) + b"}"
    assert compiled_scan(nested) == body_scan_pure.scan(nested)


def test_a_field_is_found_however_its_key_is_spelled(scan: Scan) -> None:
    assert found(scan, b'{"mod\\u0065l" : "m" }')[body_fields.MODEL] == (16, 19)
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "max_completion_tokens")
    raw = f'{{"{escaped}":1}}'.encode()
    assert found(scan, raw)[body_fields.MAX_COMPLETION_TOKENS] == (len(raw) - 2, len(raw) - 1)


@pytest.mark.parametrize(
    "key", ["mode", "models", "Model", "mod\\u0165l", "mod\\ud865l", "\\n", ""]
)
def test_a_key_that_only_looks_like_a_field_is_none(scan: Scan, key: str) -> None:
    assert not any(found(scan, f'{{"{key}":1}}'.encode()))


SYSTEM = {"role": "system", "content": "s"}
DEVELOPER = {"role": "developer", "content": "d"}
ASSISTANT = {"role": "assistant", "content": "a"}
USER = {"role": "user", "content": "u"}


def test_first_messages_are_searched_for_the_users_up_to_a_limit(scan: Scan) -> None:
    def openings_of(*messages: object) -> int:
        raw = json.dumps({"messages": messages}).encode()
        return len(found(scan, raw)) - body_fields.FIRST_OPENING

    assert openings_of(*[ASSISTANT] * (MAX_OPENING_MESSAGES - 1), USER, USER) == 1
    assert openings_of(*[ASSISTANT] * MAX_OPENING_MESSAGES, USER) == 0
    assert openings_of(*[SYSTEM] * (MAX_OPENING_MESSAGES - 1), USER) == MAX_OPENING_MESSAGES
    assert openings_of(*[SYSTEM] * 1000, USER) == 0


def test_what_the_platform_says_to_every_user_is_no_opening(scan: Scan) -> None:
    def opening_of(*items: object) -> object:
        raw = json.dumps({"input": items}).encode()
        span = found(scan, raw)[body_fields.INPUT]
        assert span is not None
        return at(raw, span)

    assert opening_of(DEVELOPER, SYSTEM, USER, ASSISTANT) == plain("u")
    assert opening_of(ASSISTANT, USER) == plain("a")
    assert opening_of(DEVELOPER, "text") == plain("text")
    assert opening_of(DEVELOPER, SYSTEM) == opening_of() == "..."
    assert opening_of(*[DEVELOPER] * (MAX_OPENING_MESSAGES - 1), USER) == plain("u")
    assert opening_of(*[DEVELOPER] * MAX_OPENING_MESSAGES, USER) == "..."


def test_of_two_lists_of_messages_the_last_counts(scan: Scan) -> None:
    raw = b'{"messages":[{"role":"user","content":1}],"messages":[{"role":"user"}]}'
    assert found(scan, raw)[body_fields.FIRST_OPENING :] == ((54, 54),)
    raw = raw.replace(b'[{"role":"user"}]', b"[]")
    assert found(scan, raw)[body_fields.FIRST_OPENING :] == ()


def test_the_compiled_scan_takes_bytes_alone(compiled_scan: Scan) -> None:
    with pytest.raises(TypeError):
        compiled_scan("{}")  # type: ignore[arg-type]


def test_the_compiled_scan_keeps_nothing(compiled_scan: Scan) -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"c"}],"n":' + b" " * 300 + b"1}"
    compiled_scan(raw)
    before = sys.getallocatedblocks()
    for _ in range(1000):
        compiled_scan(raw)
        compiled_scan(raw[:-1])
    assert sys.getallocatedblocks() - before < 100
