"""Bodies: the fields that are read, and edits that change no other byte."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.endpoints import Endpoint
from relay.dialect.refusals import Refusal
from relay.dialect.request_body import MOST_CHOICES, CallBody, read_body, upstream_body

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "a", "stream_options"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def spelled(document: dict[str, Any], *, ascii_only: bool, spaced: bool) -> bytes:
    separators = (" , ", " : ") if spaced else (",", ":")
    return json.dumps(document, ensure_ascii=ascii_only, separators=separators).encode(
        "utf-8", "surrogatepass"
    )


def read(raw: bytes) -> CallBody:
    body = read_body(raw)
    assert isinstance(body, CallBody)
    return body


def edit(
    raw: bytes,
    model: str,
    *,
    force_usage: bool = False,
    endpoint: Endpoint = Endpoint.CHAT,
    context: bytes = b"",
) -> bytes:
    """Returns the body as the provider gets it."""
    pieces = upstream_body(
        read(raw),
        endpoint=endpoint,
        model=model,
        model_json=json.dumps(model).encode(),
        force_usage=force_usage,
        context=context,
    )
    return b"".join(pieces)


@given(
    before=st.dictionaries(TEXT, VALUES, max_size=3),
    after=st.dictionaries(TEXT, VALUES, max_size=3),
    ascii_only=st.booleans(),
    spaced=st.booleans(),
    force=st.booleans(),
)
def test_an_edited_body_differs_in_the_edits_only(
    before: dict[str, Any], after: dict[str, Any], ascii_only: bool, spaced: bool, force: bool
) -> None:
    document = {**before, "model": "asked", **{k: v for k, v in after.items() if k != "model"}}
    document["model"] = "asked"
    raw = spelled(document, ascii_only=ascii_only, spaced=spaced)
    edited = json.loads(edit(raw, "real", force_usage=force))
    options = document.get("stream_options")
    expected = {**document, "model": "real"}
    if force:
        kept = options if isinstance(options, dict) else {}
        expected["stream_options"] = {**kept, "include_usage": True}
    assert edited == expected


@given(document=st.dictionaries(TEXT, VALUES, max_size=4), spaced=st.booleans())
def test_a_body_that_needs_no_edit_is_the_same_object(
    document: dict[str, Any], spaced: bool
) -> None:
    raw = spelled({**document, "model": "m"}, ascii_only=True, spaced=spaced)
    body = read_body(raw)
    if isinstance(body, CallBody):
        kept = upstream_body(
            body, endpoint=Endpoint.CHAT, model="m", model_json=b'"m"', force_usage=False
        )
        assert kept[0] is raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","seed":12345678901234567890123,"x":1e0,"y":"\\u00e9"}',
        b'{ "tools": [{"model": "model"}], "model"\t:\n"m" , "z": {"model": 1}}',
        b'{"messages":[{"content":"say \\"model\\": \\"m\\""}],"model":"m"}',
    ],
)
def test_every_byte_but_the_models_value_stays(raw: bytes) -> None:
    edited = edit(raw, "real", force_usage=False)
    first, last = read(raw).model_span
    assert raw[first:last] == b'"m"'
    assert edited == raw[:first] + b'"real"' + raw[last:]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"forbidden","model":"m"}',
        b'{"model":"m","model":"m"}',
        b'{"mod\\u0065l":"forbidden","model":"m"}',
        b'{"model":"m","mod\\u0065l":"m"}',
    ],
)
def test_two_models_are_refused(raw: bytes) -> None:
    assert read_body(raw) is Refusal.ambiguous_model


def test_a_lone_surrogate_is_passed_on() -> None:
    raw = b'{"messages":[{"content":"cut \\ud83d"}],"model":"m"}'
    edited = edit(raw, "real", force_usage=False)
    assert edited == raw.replace(b'"m"', b'"real"')


def test_an_escaped_key_is_found() -> None:
    assert edit(b'{"mod\\u0065l" : "m"}', "real") == b'{"mod\\u0065l" : "real"}'


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"", Refusal.invalid_json),
        (b"[]", Refusal.invalid_json),
        (b'{"model":', Refusal.invalid_json),
        (b"\xff", Refusal.invalid_json),
        (b"{}", Refusal.missing_model),
        (b'{"model":1}', Refusal.missing_model),
        (b'{"model":""}', Refusal.missing_model),
        (b'{"model":"\\ud83d"}', Refusal.invalid_model),
    ],
)
def test_an_unusable_body_is_refused_with_its_reason(raw: bytes, refusal: Refusal) -> None:
    assert read_body(raw) is refusal


def test_stream_options_are_completed_in_place() -> None:
    raw = b'{"stream_options" : {"x":1} ,"model":"m","n":1e2}'
    edited = edit(raw, "m", force_usage=True)
    assert edited == b'{"stream_options" : {"x":1,"include_usage":true} ,"model":"m","n":1e2}'


CHAT, COMPLETIONS = Endpoint.CHAT, Endpoint.COMPLETIONS
RESPONSES, EMBEDDINGS = Endpoint.RESPONSES, Endpoint.EMBEDDINGS


def bound(endpoint: Endpoint, fields: dict[str, Any]) -> tuple[int | None, int]:
    found = read(orjson.dumps({"model": "m", **fields})).output_bound(endpoint)
    return found.tokens, found.choices


@pytest.mark.parametrize(
    ("endpoint", "fields", "expected"),
    [
        (CHAT, {}, (None, 1)),
        (CHAT, {"max_tokens": 5}, (5, 1)),
        (CHAT, {"max_completion_tokens": 5}, (5, 1)),
        (CHAT, {"max_completion_tokens": 7, "n": 3}, (21, 3)),
        (CHAT, {"n": 3}, (None, 3)),
        (CHAT, {"max_completion_tokens": 0, "max_tokens": 4, "n": 1}, (4, 1)),
        (CHAT, {"max_completion_tokens": None, "max_tokens": 4, "n": None}, (4, 1)),
        (COMPLETIONS, {"max_tokens": 5, "n": 2, "best_of": 4}, (20, 4)),
        (COMPLETIONS, {"max_tokens": 5, "prompt": "a"}, (5, 1)),
        (COMPLETIONS, {"max_tokens": 5, "prompt": ["a"]}, (5, 1)),
        (COMPLETIONS, {"max_tokens": 5, "prompt": [1, 2, 3]}, (5, 1)),
        (COMPLETIONS, {"max_tokens": 5, "prompt": [[1, 2, 3]]}, (5, 1)),
        (RESPONSES, {"max_output_tokens": 6, "n": 3}, (6, 1)),
        (RESPONSES, {"max_output_tokens": 6, "input": ["a", "b"]}, (6, 1)),
        (EMBEDDINGS, {"max_tokens": 5, "n": 3}, (0, 1)),
        (CHAT, {"max_tokens": 2**64 - 1}, (2**64 - 1, 1)),
    ],
)
def test_the_callers_bound_counts_for_every_choice(
    endpoint: Endpoint, fields: dict[str, Any], expected: tuple[int | None, int]
) -> None:
    assert bound(endpoint, fields) == expected


@pytest.mark.parametrize(
    ("endpoint", "fields", "expected"),
    [
        # the provider may know either of the two
        (CHAT, {"max_completion_tokens": 1, "max_tokens": 1000}, (1000, 1)),
        (CHAT, {"max_tokens": 1, "max_completion_tokens": 1000}, (1000, 1)),
        # the other endpoints' fields are ignored
        (CHAT, {"max_output_tokens": 1}, (None, 1)),
        (COMPLETIONS, {"max_completion_tokens": 1}, (None, 1)),
        (RESPONSES, {"max_tokens": 1, "max_completion_tokens": 1}, (None, 1)),
        # what a provider may read as a larger bound, or as none
        (CHAT, {"max_completion_tokens": 1, "max_tokens": -1}, (None, 1)),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": 1000.0}, (None, 1)),
        (CHAT, {"max_completion_tokens": 1, "max_tokens": "1000"}, (None, 1)),
        (CHAT, {"max_tokens": True}, (None, 1)),
        (CHAT, {"max_tokens": [6]}, (None, 1)),
        # each prompt and each choice may be as long as the bound
        (CHAT, {"max_tokens": 1, "n": 24.0}, (None, 1)),
        (CHAT, {"max_tokens": 1, "n": "24"}, (None, 1)),
        (COMPLETIONS, {"max_tokens": 1, "prompt": ["a", "b"]}, (None, 1)),
        (COMPLETIONS, {"max_tokens": 1, "prompt": [[1, 2], [3]]}, (None, 1)),
        (COMPLETIONS, {"max_tokens": 1, "best_of": 20.0}, (None, 1)),
        # more choices than any provider gives
        (CHAT, {"max_tokens": 1, "n": 10**18}, (MOST_CHOICES, MOST_CHOICES)),
    ],
)
def test_a_bound_that_may_not_hold_is_none(
    endpoint: Endpoint, fields: dict[str, Any], expected: tuple[int | None, int]
) -> None:
    assert bound(endpoint, fields) == expected


@pytest.mark.parametrize("digits", [20, 5000])
def test_a_bound_beyond_64_bits_is_none(digits: int) -> None:
    raw = b'{"model":"m","max_tokens":%b}' % (b"9" * digits)
    assert read(raw).output_bound(CHAT).tokens is None


@pytest.mark.parametrize("blanks", [b"", b" \n", b"\t" * 5000])
def test_blanks_do_not_hide_a_list_of_prompts(blanks: bytes) -> None:
    pieces = (b'{"model":"m","x":[],"prompt":', b"[", b'"a:[b"', b",", b'"c"', b'],"max_tokens":1}')
    assert read(blanks.join(pieces)).output_bound(COMPLETIONS).tokens is None


TOLD = 'For "finance".\nTools: naïve.'


@given(
    messages=st.lists(VALUES, max_size=3), size=st.sampled_from([0, 40_000]), spaced=st.booleans()
)
def test_a_chat_is_told_of_its_tenant_before_its_own_messages(
    messages: list[Any], size: int, spaced: bool
) -> None:
    document = {"x": "a" * size, "model": "m", "messages": messages, "stream": True}
    raw = spelled(document, ascii_only=True, spaced=spaced)
    sent = edit(raw, "n", force_usage=True, context=json.dumps(TOLD).encode())
    told = [{"role": "system", "content": TOLD}] if messages else []
    options = {"include_usage": True}
    assert json.loads(sent) == {
        **document,
        "model": "n",
        "messages": told + messages,
        "stream_options": options,
    }


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ({}, TOLD),
        ({"instructions": None}, TOLD),
        ({"instructions": ""}, TOLD + "\n\n"),
        ({"instructions": 'Be "brief".'}, TOLD + '\n\nBe "brief".'),
        ({"instructions": ["no text"]}, ["no text"]),
    ],
)
def test_a_response_is_told_of_its_tenant_before_its_own_instructions(
    given_text: dict[str, Any], expected: Any
) -> None:
    raw = json.dumps({"model": "m", "input": "hello", **given_text}).encode()
    context = json.dumps(TOLD).encode()
    sent = edit(raw, "m", endpoint=Endpoint.RESPONSES, context=context)
    assert json.loads(sent) == {"model": "m", "input": "hello", "instructions": expected}


@pytest.mark.parametrize("endpoint", [Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS])
def test_what_no_model_reads_as_instructions_is_told_to_none(endpoint: Endpoint) -> None:
    raw = b'{"model":"m","input":"a","prompt":"b","messages":[1],"instructions":"c"}'
    assert edit(raw, "m", endpoint=endpoint, context=b'"told"') == raw
