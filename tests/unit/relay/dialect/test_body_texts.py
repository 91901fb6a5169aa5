"""What a body's texts say, by the functions in C and by those in Python, held to Python's own decoder and to each other."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.dialect.body_scans import BodyReader, bodies

from relay.dialect import body_scan_pure, body_texts_pure

TEXTS = st.text() | st.text('ab\\"/\n\u00e9\u65e5\U0001f600\ud83d\ude00', max_size=120)
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_"


@given(text=TEXTS, ascii_only=st.booleans(), most=st.integers(0, 130), start=st.integers(0, 40))
def test_a_string_is_decoded_up_to_a_number_of_characters(
    compiled: BodyReader, text: str, ascii_only: bool, most: int, start: int
) -> None:
    if not ascii_only:
        text = text.encode("utf-8", "ignore").decode()
    value = json.dumps(text, ensure_ascii=ascii_only).encode()
    raw, span = b" " * start + value + b"}", (start, start + len(value))
    # an escaped pair of surrogates is one character
    expected = json.loads(value)[:most]
    encoded = expected.encode("utf-8", "surrogatepass")
    for string_at, text_at in (
        (compiled.string_at, compiled.text_at),
        (body_texts_pure.string_at, body_texts_pure.text_at),
    ):
        assert string_at(raw, span, most) == expected
        assert text_at(raw, span, most) == (encoded, len(expected))


@given(raw=bodies(), most=st.integers(0, 60))
def test_every_value_of_a_body_is_read_alike_by_both(
    compiled: BodyReader, raw: bytes, most: int
) -> None:
    for span in body_scan_pure.scan(raw) or ():
        assert compiled.string_at(raw, span, most) == body_texts_pure.string_at(raw, span, most)
        assert compiled.text_at(raw, span, most) == body_texts_pure.text_at(raw, span, most)


@given(
    parts=st.lists(
        st.tuples(st.sampled_from((BASE64, " ", '"x"', "日本")), st.integers(1, 3)), max_size=20
    ),
    place=st.integers(0, 300),
    stride=st.integers(1, 200),
)
def test_samples_of_base64_are_found_alike_by_both(
    compiled: BodyReader, parts: list[tuple[str, int]], place: int, stride: int
) -> None:
    raw = "".join(part * count for part, count in parts).encode()
    found = compiled.base64_at(raw, place, stride)
    assert found == body_texts_pure.base64_at(raw, place, stride)
    assert found == -1 or set(raw[found : found + 48].decode()) <= set(BASE64)


def test_a_sample_reaches_up_to_the_end_and_not_beyond(compiled: BodyReader) -> None:
    for base64_at in (compiled.base64_at, body_texts_pure.base64_at):
        assert base64_at(b"x" * 48, 0, 1) == 0
        assert base64_at(b"x" * 48, 1, 1) == -1
        assert base64_at(b"." + b"x" * 48, 0, 1) == 1
        assert base64_at(b"x" * 48, 48, 1) == base64_at(b"", 0, 1) == -1


def test_what_is_no_string_is_none(compiled: BodyReader) -> None:
    for string_at in (compiled.string_at, body_texts_pure.string_at):
        assert string_at(b'{"a":1}', None, 9) is None
        assert string_at(b'{"a":1}', (5, 6), 9) is None
        assert string_at(b'{"a":1}', (5, 5), 9) is None
        assert string_at(b'{"a":""}', (5, 7), 9) == ""


@pytest.mark.parametrize("span", [(-1, 2), (3, 2), (0, 99), (0,), [0, 1], (0, "1"), (0, 2**70)])
def test_the_functions_in_c_read_nothing_outside_the_text(
    compiled: BodyReader, span: tuple[int, int]
) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled.string_at(b'"text"', span, 9)


def test_the_functions_in_c_take_what_they_are_made_for(compiled: BodyReader) -> None:
    with pytest.raises(TypeError):
        compiled.string_at('"text"', (0, 6), 9)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        compiled.text_at(b'"text"', (0, 6), -1)
    with pytest.raises(ValueError, match="place and stride"):
        compiled.base64_at(b"", 0, 0)


def test_the_functions_in_c_keep_nothing(compiled: BodyReader) -> None:
    raw = b'"' + b"text \\n" * 300 + b'"'
    span = (0, len(raw))
    compiled.text_at(raw, span, 5000)
    before = sys.getallocatedblocks()
    for _ in range(1000):
        compiled.text_at(raw, span, 5000)
        compiled.string_at(raw, span, 20)
        compiled.base64_at(raw, 0, 7)
    assert sys.getallocatedblocks() - before < 100
