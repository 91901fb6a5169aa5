"""The reading in C of what most answers report finds what all rules find, or leaves it to them."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.relay.dialect.body_scans import BodyReader, Object, spelled
from tests.unit.relay.dialect.usage.plain_usages import (
    BESIDE,
    DETAILS,
    ODD,
    PARTS,
    answer,
    read,
    read_at_once,
)
from tests.unit.relay.dialect.usage.test_billed_usage import CORPUS

from relay.dialect import body_texts_pure
from relay.dialect.reported_usage import HIDDEN_INPUT_TOKENS, MOST_OUTPUT_TOKENS
from relay.dialect.usage.billed_usage import labels_of
from relay_contract.billing.token_buckets import MAX_TOKENS

OPENAI = {
    "prompt_tokens": 97,
    "completion_tokens": 61,
    "total_tokens": 158,
    "prompt_tokens_details": {"cached_tokens": 32, "audio_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 1},
}
MOST = {"prompt_tokens": HIDDEN_INPUT_TOKENS, "completion_tokens": MOST_OUTPUT_TOKENS}
PLAIN = [
    OPENAI,
    MOST,
    {"prompt_tokens": 97, "completion_tokens": 61},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {**OPENAI, "prompt_tokens_details": None, "completion_tokens_details": None},
    {**OPENAI, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 40},
    {**OPENAI, "prompt_tokens_details": {"cached_tokens": 9}, "prompt_cache_hit_tokens": 40},
    {**OPENAI, "prompt_tokens_details": {"cache_write_tokens": 30, "cached_tokens": 60}},
    {**OPENAI, "prompt_tokens_details": {}, "cache_creation_input_tokens": 30},
    # what the model thought, beside the output and in the total
    {**OPENAI, "total_tokens": 178},
    {**OPENAI, "completion_tokens_details": {}, "reasoning_tokens": 7},
    {**OPENAI, "queue_time": 0.25, "x": [{"prompt_tokens": 1}], "prompt_tokens_detail": {}},
]
NUMBERS = st.integers(0, 60) | st.sampled_from(ODD)
ANY_DETAILS = st.dictionaries(st.sampled_from(PARTS), NUMBERS, max_size=3)
TOTALS = st.sampled_from(("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens"))
NAMES = st.sampled_from(("prompt_tokens", "completion_tokens", "total_tokens", *DETAILS, *PARTS))
SMALL = st.integers(0, 3) | st.none()


@st.composite
def reported(draw: st.DrawFn) -> dict[str, Any]:
    """Usage objects of which most can be true, and the others are wrong in some place."""
    names = draw(st.sets(st.sampled_from((*PARTS, *BESIDE)), max_size=2))
    usage: dict[str, Any] = {name: draw(NUMBERS) for name in names}
    for name in DETAILS:
        if draw(st.booleans()):
            usage[name] = draw(ANY_DETAILS | NUMBERS)
    counts = st.integers(50, 500)
    usage |= {"prompt_tokens": draw(counts), "completion_tokens": draw(counts)}
    thought = draw(st.just(0) | st.integers(0, 60))
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"] + thought
    wrong = draw(st.none() | TOTALS)
    if wrong is not None:
        usage[wrong] = draw(NUMBERS)
    missing = draw(st.none() | TOTALS)
    return {name: value for name, value in usage.items() if name != missing}


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Usage objects with members that stand twice, in any spelling, with blanks anywhere."""
    details = st.lists(st.tuples(NAMES, SMALL), max_size=3).map(Object)
    pairs = draw(st.lists(st.tuples(NAMES, SMALL | details), max_size=6))
    pairs += [("prompt_tokens", draw(st.integers(3, 9))), ("completion_tokens", 5)]
    return spelled(draw, Object(draw(st.permutations(pairs))))


@pytest.mark.parametrize("usage", PLAIN)
def test_what_most_answers_report_is_read_at_once(
    compiled: BodyReader, usage: dict[str, Any]
) -> None:
    plain = compiled.plain_answer(answer(json.dumps(usage)))
    assert plain is not None
    assert read_at_once(plain) == read(usage)


@given(usage=reported())
def test_whatever_is_read_at_once_is_what_all_rules_make_of_it(
    compiled: BodyReader, usage: dict[str, Any]
) -> None:
    plain = compiled.plain_answer(answer(json.dumps(usage)))
    assert plain is None or read_at_once(plain) == read(usage)


@given(usage=spellings())
@example('{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens":5}')
@example(
    '{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3},'
    '"prompt_tokens_details":null}'
)
@example(
    '{"prompt_tokens":7,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3},'
    '"prompt_tokens_details":{"audio_tokens":1}}'
)
@example('{"prompt\\u005ftokens":7,"completion_tokens":1}')
@example('{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8.0}')
@example('{"prompt_tokens":7e0,"completion_tokens":1E1,"total_tokens":-0}')
def test_of_members_that_stand_twice_the_last_counts(compiled: BodyReader, usage: str) -> None:
    plain = compiled.plain_answer(answer(usage))
    assert plain is None or read_at_once(plain) == read(json.loads(usage))


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_the_corpus_is_read_alike_or_left_to_the_rules(
    compiled: BodyReader, case: dict[str, Any]
) -> None:
    plain = compiled.plain_answer(answer(json.dumps(case["usage"])))
    assert plain is None or read_at_once(plain) == read(case["usage"])


@pytest.mark.parametrize(
    "usage", ["null", "7", '"text"', "[]", "{}", '{"prompt_tokens":null,"input_tokens":7}']
)
def test_what_is_no_usage_of_a_chat_is_left_to_the_rules(compiled: BodyReader, usage: str) -> None:
    assert compiled.plain_answer(answer(usage)) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": MAX_TOKENS, "completion_tokens": 1},
        {**OPENAI, "total_tokens": 150},
        {**OPENAI, "prompt_tokens_details": {"cached_tokens": 98}},
        {**OPENAI, "completion_tokens_details": {"reasoning_tokens": 62}},
        {**OPENAI, "prompt_tokens_details": {"cached_tokens": -1}},
        {**OPENAI, "prompt_tokens_details": {}, "num_cached_tokens": 2**70},
        # what call and answer have to be large for
        {**MOST, "prompt_tokens": HIDDEN_INPUT_TOKENS + 1},
        {**MOST, "completion_tokens": MOST_OUTPUT_TOKENS + 1},
    ],
)
def test_what_is_in_doubt_is_left_to_the_rules(compiled: BodyReader, usage: dict[str, Any]) -> None:
    assert None in read(usage)
    assert compiled.plain_answer(answer(json.dumps(usage))) is None


@pytest.mark.parametrize(
    ("more", "labels"),
    [
        ((), (b"", b"")),
        (('"model":"gpt-4.1"', '"service_tier":"default"'), (b"gpt-4.1", b"default")),
        (('"model":"gpt-日本"', '"service_tier":null'), ("gpt-日本".encode(), b"")),
        (('"model":""', '"service_tier":7'), (b"", b"")),
        (('"model":"a"', '"model":"b"'), (b"b", b"")),
        ((f'"model":"{"m" * 255}"',), (b"m" * 255, b"")),
    ],
)
def test_model_and_tier_stand_in_the_report(
    compiled: BodyReader, more: tuple[str, ...], labels: tuple[bytes, bytes]
) -> None:
    plain = compiled.plain_answer(answer(json.dumps(OPENAI), *more))
    assert plain is not None
    assert labels_of(plain[0]) == labels


@pytest.mark.parametrize(
    "more",
    ['"model":"gpt\\u002d4"', '"service_tier":"\\ud800"', f'"model":"{"m" * 256}"', '"error":{}'],
)
def test_an_answer_that_is_unlike_most_is_left_to_others(compiled: BodyReader, more: str) -> None:
    assert compiled.plain_answer(answer(json.dumps(OPENAI), more)) is None


def test_without_the_functions_in_c_every_answer_is_left_to_others() -> None:
    assert body_texts_pure.plain_answer(answer(json.dumps(OPENAI))) is None


@pytest.mark.parametrize("size", [0, 40, 42, 43 + 254, 43 + 256])
def test_bytes_that_are_no_report_are_refused(size: int) -> None:
    report = (bytes(41) + b"\xff\x00" + bytes(300))[:size]
    with pytest.raises(ValueError, match="no counts"):
        labels_of(report)
