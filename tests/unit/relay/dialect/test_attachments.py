"""Text and attachments of a body are told apart, at a cost that has a bound."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.attachments import SMALL_BYTES, text_and_attachments

DATA = base64.b64encode(os.urandom(1_200_000)).decode()
IMAGE = "data:image/png;base64," + DATA
WORDS = "The quick brown fox, jumping over the lazy dog. " * 2000


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


TEXT = {"type": "text", "text": WORDS}
BODIES = {
    "an image of chat": (
        message(TEXT, {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}}),
        1,
    ),
    "three images": (
        message(*[{"type": "image_url", "image_url": {"url": IMAGE}}] * 3, TEXT),
        3,
    ),
    "an image of responses": (message({"type": "input_image", "image_url": IMAGE}, TEXT), 1),
    "a recording": (
        message({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, TEXT),
        1,
    ),
    "a generated image that is sent back": (
        {"model": "m", "input": [{"type": "image_generation_call", "result": DATA}, TEXT]},
        1,
    ),
    "thoughts that are sent back": (
        {"model": "m", "input": [{"type": "reasoning", "encrypted_content": DATA}, TEXT]},
        1,
    ),
    "images to be embedded": ({"model": "m", "input": [IMAGE, WORDS, IMAGE]}, 2),
    "a video in images": (message(TEXT, {"type": "video", "video": [IMAGE, IMAGE]}), 2),
    "a file": (
        message(TEXT, {"type": "file", "file": {"filename": "a.pdf", "file_data": IMAGE}}),
        1,
    ),
}


@pytest.mark.parametrize(("body", "count"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    "spelling", [{}, {"indent": 2}, {"separators": (",", ":")}], ids=["plain", "indented", "tight"]
)
def test_attachments_are_no_text(
    body: dict[str, Any], count: int, spelling: dict[str, Any]
) -> None:
    text_bytes, attachments = text_and_attachments(json.dumps(body, **spelling).encode())
    assert attachments == count
    assert len(WORDS) <= text_bytes <= len(WORDS) + 2000


@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
@pytest.mark.parametrize("line", [0, 76], ids=["one line", "lines of 76"])
def test_base64_is_known_however_it_is_written(slash: str, line: int) -> None:
    lines = [DATA[at : at + line] for at in range(0, len(DATA), line)] if line else [DATA]
    data = "\n".join(lines)
    raw = json.dumps(message({"type": "input_image", "image_url": "data:image/png;base64," + data}))
    text_bytes, attachments = text_and_attachments(raw.replace("/", slash).encode())
    assert attachments == 1
    assert text_bytes < 40_000


@pytest.mark.parametrize(
    "text", [WORDS, DATA, "x" * 500_000, IMAGE, "日本語" * 100_000, json.dumps({"data": DATA})]
)
@pytest.mark.parametrize("key", ["text", "content", "arguments"])
def test_text_is_no_attachment_whatever_it_looks_like(text: str, key: str) -> None:
    raw = json.dumps(message({"type": "text", key: text})).encode()
    assert text_and_attachments(raw) == (len(raw), 0)


def test_a_small_body_is_text() -> None:
    raw = json.dumps(message({"type": "input_image", "image_url": IMAGE[:4000]})).encode()
    assert len(raw) <= SMALL_BYTES
    assert text_and_attachments(raw) == (len(raw), 0)


@given(
    strings=st.lists(
        st.tuples(st.sampled_from(["url", "text"]), st.integers(0, 40_000)), max_size=8
    )
)
def test_what_is_text_and_what_is_not_adds_up(strings: list[tuple[str, int]]) -> None:
    raw = json.dumps([{key: "A" * length} for key, length in strings]).encode()
    text_bytes, attachments = text_and_attachments(raw)
    carried = [length for key, length in strings if key == "url"]
    assert attachments <= len(carried)
    assert len(raw) - sum(carried) - len(carried) <= text_bytes <= len(raw)


def test_a_string_is_searched_once_however_long_it_is() -> None:
    class Counting(bytes):
        passed = 0

        def rfind(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            found = super().rfind(sub, start, end)
            Counting.passed += end - max(found, start)
            return found

        def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            found = super().find(sub, start)
            Counting.passed += found - start
            return found

    raw = Counting(json.dumps(message({"type": "text", "text": "x" * 8_000_000})).encode())
    assert text_and_attachments(raw) == (len(raw), 0)
    assert Counting.passed < 2 * len(raw)
