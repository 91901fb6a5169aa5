"""What identifies a conversation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.request_body import CallBody, read_body
from relay.dialect.session_key import DECODED_BYTES, TEXT_CHARACTERS, session_key

TEXTS = st.text() | st.sampled_from(("\ud800", "\U0001f600" * 3000, "\u00e9" * 5000, "a\n" * 5000))
CONTENTS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | TEXTS
    | st.lists(st.dictionaries(st.sampled_from(("type", "text")), TEXTS, max_size=2), max_size=2)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(("system", "developer", "user", "assistant"))},
        optional={"content": CONTENTS},
    )
    | CONTENTS,
    max_size=4,
)


def key_of(raw: bytes, header: bytes | None = None) -> bytes | None:
    body = read_body(raw)
    assert isinstance(body, CallBody)
    return session_key(body, header)


def key(fields: dict[str, Any], header: bytes | None = None, *, ascii_only: bool = True) -> Any:
    raw = json.dumps({"model": "m", **fields}, ensure_ascii=ascii_only)
    return key_of(raw.encode("utf-8"), header)


def text(value: object) -> bytes:
    said = value if isinstance(value, str) else repr(value)
    return said[:TEXT_CHARACTERS].encode("utf-8", "surrogatepass")


def is_small(*contents: object) -> bool:
    """Returns whether contents that are no strings are certainly compared decoded."""
    structures = [json.dumps(content) for content in contents if not isinstance(content, str)]
    return len("".join(structures)) <= DECODED_BYTES


def is_short(*contents: object) -> bool:
    """Returns whether all of the contents is decoded."""
    return is_small(*contents) and all(
        len(content if isinstance(content, str) else repr(content)) < TEXT_CHARACTERS
        for content in contents
    )


@given(messages=MESSAGES)
def test_the_key_is_the_text_of_the_first_messages(messages: list[Any]) -> None:
    contents = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer", "user"):
            contents.append(message.get("content"))
        if role == "user":
            break
    else:
        # without a user's there is nothing that tells one conversation from another
        contents = []
    if is_short(*contents):
        expected = b"m" + b"\0".join(map(text, contents)) if contents else None
        assert key({"messages": messages}) == expected


@given(first=CONTENTS, instructions=CONTENTS, field=st.sampled_from(("input", "prompt")))
def test_the_key_is_the_text_of_the_instructions_and_the_first_input(
    first: Any, instructions: Any, field: str
) -> None:
    whole = {field: {"content": first}, "instructions": instructions}
    if first is None:
        assert key(whole) is None
    elif is_short(first, instructions):
        assert key(whole) == b"i" + text(instructions) + b"\0" + text(first)
        assert key({**whole, field: [{"role": "user", "content": first}, "x"]}) == key(whole)
        if not isinstance(first, list):
            assert key({**whole, field: [first, "x"]}) == key(whole)
            assert key({**whole, field: first}) == key(whole)


@given(content=st.text())
def test_the_key_does_not_depend_on_the_spelling(content: str) -> None:
    repeated = content * (TEXT_CHARACTERS // (len(content) + 1) - 1)
    fields = {"messages": [{"role": "user", "content": repeated}]}
    assert key(fields, ascii_only=True) == key(fields, ascii_only=False)


def test_turns_of_one_conversation_have_one_key() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    later = [*turns, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    assert key({"messages": turns}) == key({"messages": later})
    other = [turns[0], {"role": "user", "content": "w"}]
    assert key({"messages": turns}) != key({"messages": other})
    assert key({"messages": turns}, b"id") == key({"messages": other}, b"id")
    assert key({"input": "x"}) == key({"input": ["x", "y"]})
    assert key({}) is None


def test_a_cache_key_alone_is_no_conversation() -> None:
    cached = {"prompt_cache_key": "the application"}
    system = {"role": "system", "content": "s"}
    one, other = ([system, {"role": "user", "content": said}] for said in ("u", "v"))
    assert key(cached) is None
    assert key({**cached, "messages": [system]}) is None
    assert key({**cached, "instructions": "i"}) is None
    keys = {
        key({**cached, "messages": one}),
        key({**cached, "messages": other}),
        key({"messages": one}),
        key({"prompt_cache_key": "another", "messages": one}),
    }
    assert len(keys) == 4
    assert None not in keys
    assert key({**cached, "messages": one}, b"id") == key({"messages": other}, b"id")


PREFACE = "You are a helpful assistant. " * 1000


@pytest.mark.parametrize("structured", [False, True])
def test_what_an_application_says_first_each_time_is_no_conversation(structured: bool) -> None:
    texts = [PREFACE + question for question in ("one?", "two?", "three?")]
    said: list[Any] = [[{"type": "text", "text": text}] if structured else text for text in texts]
    users = [{"role": "user", "content": one} for one in said]
    developer = {"role": "developer", "content": PREFACE}
    assert len({key({"messages": [user]}) for user in users}) == 3
    assert len({key({"input": [developer, user]}) for user in users}) == 3
    assert len({key({"input": one}) for one in texts}) == 3
    assert key({"input": [developer]}) is None
    assert key({"messages": [developer]}) is None


def test_large_contents_are_told_apart() -> None:
    def asked(question: str) -> Any:
        parts = [{"type": "text", "text": question}, {"image_url": "A" * DECODED_BYTES}]
        return key({"messages": [{"role": "user", "content": parts}]})

    assert asked("what is this") == asked("what is this")
    assert asked("what is this") != asked("what is that")
    assert len(asked("what is this")) < 100


@pytest.mark.parametrize("inside", [b"", b'"\\ud800"', b'"\\ud800",' + b"9" * 5000])
def test_contents_at_the_limit_of_nesting_have_a_key(inside: bytes) -> None:
    content = b"[" * 509 + inside + b"]" * 509
    raw = b'{"model":"m","messages":[{"role":"user","content":%b}]}' % content
    assert key_of(raw) is not None


@given(
    texts=st.lists(
        st.sampled_from(
            ("\\ud83d\\ude00", "\\ude00", "\\ud83d", "\U0001f600", "\u00e9", "a", "\\n")
        ),
        min_size=1,
        max_size=5,
    ),
    padding=st.integers(0, 13),
)
def test_a_long_string_is_cut_between_characters(texts: list[str], padding: int) -> None:
    content = "x" * padding + "".join(texts) * 10_000
    raw = '{"model":"m","messages":[{"role":"user","content":"' + content + '"}]}'
    whole: str = json.loads('"' + content + '"')
    found = key_of(raw.encode())
    assert found is not None
    # and the digest of all of it
    assert found[:-8] == b"m" + text(whole)
