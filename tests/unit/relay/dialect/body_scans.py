"""Request bodies for the tests of both scans, and their meaning by Python's own decoder."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from hypothesis import strategies as st

from hatch_build import BODY_SCAN
from relay.dialect import body_fields
from relay.dialect.body_fields import MAX_OPENING_MESSAGES, PlainAnswer, Reports, Span, Spans

Scan = Callable[[bytes], Spans | None]
Removal = Callable[[bytes, tuple[bytes, ...]], bytes]
Members = Callable[[bytes], tuple[Span, ...] | None]
Pairs = list[tuple[str, Any]]
"""An object as it is written, with every key that stands twice."""

FIELDS = {
    "model": body_fields.MODEL,
    "stream": body_fields.STREAM,
    "stream_options": body_fields.STREAM_OPTIONS,
    "max_completion_tokens": body_fields.MAX_COMPLETION_TOKENS,
    "max_tokens": body_fields.MAX_TOKENS,
    "max_output_tokens": body_fields.MAX_OUTPUT_TOKENS,
    "n": body_fields.N,
    "best_of": body_fields.BEST_OF,
    "previous_response_id": body_fields.PREVIOUS_RESPONSE_ID,
    "conversation": body_fields.CONVERSATION,
    "prompt_cache_key": body_fields.PROMPT_CACHE_KEY,
    "messages": body_fields.MESSAGES,
    "instructions": body_fields.INSTRUCTIONS,
}
OPENING_FIELDS = {"input": body_fields.INPUT, "prompt": body_fields.PROMPT}
KEYS = st.sampled_from(
    (*FIELDS, *OPENING_FIELDS, "include_usage", "role", "content", "x", "models", "")
)
ROLES = st.sampled_from(("system", "developer", "user", "assistant", "User", ""))
TEXTS = st.text(max_size=20) | st.sampled_from(
    (
        "model",
        '"model":"x"',
        "\ud800",
        "\udc00\ud800",
        "\U0001f600" * 5,
        "日本語" * 16,
        "\\" * 37,
        '"é\\' * 15,
    )
)
BLANKS = st.sampled_from(("", "", " ", "\r\n\t"))
SPELLING = st.sampled_from(("plain", "ascii", "escaped"))


class BodyReader(Protocol):
    """The functions that read bodies, as the module in C has them and the modules in Python."""

    scan: Scan
    string_at: Callable[[bytes, Span | None, int], str | None]
    text_at: Callable[[bytes, Span | None, int], tuple[bytes, int] | None]
    base64_at: Callable[[bytes, int, int], int]
    reports_in_answer: Callable[[bytes, bytes, bytes], Reports | None]
    plain_answer: Callable[[bytes], PlainAnswer | None]
    without: Removal
    members: Members


def loaded(path: Path) -> BodyReader:
    """Returns the functions of a built extension."""
    spec = importlib.util.spec_from_file_location(BODY_SCAN, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reader: BodyReader = cast(BodyReader, module)
    return reader


class Object:
    """An object under construction; a dict would lose the keys that stand twice."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    return st.lists(st.tuples(KEYS, values), max_size=5).map(Object)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | ROLES,
    lambda inner: st.lists(inner, max_size=3) | _objects(inner),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.tuples(ROLES, VALUES).map(lambda it: Object([("role", it[0]), ("content", it[1])])) | VALUES,
    max_size=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Valid bodies: fields in any order, also twice, their keys in any spelling, blanks anywhere."""
    fields = st.tuples(KEYS, VALUES) | st.tuples(
        st.sampled_from(("messages", "input", "prompt")), MESSAGES
    )
    pairs = draw(st.lists(fields, max_size=8))
    text = draw(BLANKS) + spelled(draw, Object(pairs)) + draw(BLANKS)
    return text.encode()


def spelled(draw: st.DrawFn, value: Any) -> str:
    """Returns the value as JSON, its strings in any spelling and blanks anywhere."""
    if isinstance(value, Object):
        pairs = (_string(draw, key) + ":" + spelled(draw, item) for key, item in value.pairs)
        return "{" + _padded(draw, pairs) + "}"
    if isinstance(value, list):
        return "[" + _padded(draw, (spelled(draw, item) for item in value)) + "]"
    return _string(draw, value) if isinstance(value, str) else json.dumps(value)


def _padded(draw: st.DrawFn, items: Any) -> str:
    blank = draw(BLANKS)
    return ",".join(blank + item + blank for item in items)


def _string(draw: st.DrawFn, text: str) -> str:
    match draw(SPELLING):
        case "plain" if re.search("[\ud800-\udfff]", text) is None:
            return json.dumps(text, ensure_ascii=False)
        case "escaped" if text.isascii():
            return '"' + "".join(f"\\u{ord(letter):04X}" for letter in text) + '"'
        case _:
            return json.dumps(text)


def meaning(raw: bytes) -> Pairs | None:
    """Returns the fields of a valid body, None for another text (RFC 8259: UTF-8, no byte order mark)."""
    try:
        text = raw.decode()
        if text.startswith("\ufeff"):
            return None
        document = json.loads(text, object_pairs_hook=Object, parse_constant=_refused)
    except ValueError:
        return None
    return document.pairs if isinstance(document, Object) else None


def _refused(constant: str) -> float:
    raise ValueError(constant)


def last(pairs: Pairs, name: str) -> Any:
    """Returns the value that counts of a key; raises KeyError."""
    return dict(pairs)[name]


PREFACES = ("system", "developer")


def opening(value: Any) -> Any:
    """Returns the part of input or prompt that identifies a conversation; KeyError for none."""
    if isinstance(value, list):
        rest = (item for item in value[:MAX_OPENING_MESSAGES] if role(item) not in PREFACES)
        try:
            value = next(rest)
        except StopIteration:
            raise KeyError from None
    return last(value.pairs, "content") if isinstance(value, Object) else value


def openings(messages: Any) -> list[Any]:
    """Returns the contents of the opening messages, `...` for a message without; none without a user's."""
    found: list[Any] = []
    for message in messages[:MAX_OPENING_MESSAGES] if isinstance(messages, list) else []:
        if role(message) in (*PREFACES, "user"):
            found.append(dict(message.pairs).get("content", ...))
        if role(message) == "user":
            return found
    return []


def role(message: Any) -> str:
    """Returns the role of a message, empty where it has none that is a string."""
    found = dict(message.pairs).get("role") if isinstance(message, Object) else None
    return found if isinstance(found, str) else ""


def plain(value: Any) -> Any:
    """Returns a value that compares by what it says."""
    if isinstance(value, Object):
        return ("object", [(key, plain(item)) for key, item in value.pairs])
    if isinstance(value, list):
        return [plain(item) for item in value]
    return repr(value)


def at(raw: bytes, span: tuple[int, int]) -> Any:
    """Returns the value that stands there, `...` for an empty span."""
    text = raw[slice(*span)].decode()
    if not text:
        return "..."
    assert text == text.strip(), "a span with blanks around the value"
    return plain(json.loads(text, object_pairs_hook=Object))
