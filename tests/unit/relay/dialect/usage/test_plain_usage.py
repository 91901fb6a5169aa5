"""The reading in C of what most answers report finds the same buckets as that of all of them, or leaves it to that."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.build import debian_packages
from tests.unit.relay.dialect.usage.plain_usages import (
    BESIDE,
    DETAILS,
    ODD,
    PARTS,
    PlainUsage,
    loaded,
    read,
)
from tests.unit.relay.dialect.usage.test_billed_usage import CORPUS

from hatch_build import PLAIN_USAGE, compile_extension
from relay_contract.billing.token_buckets import MAX_TOKENS

OPENAI = {
    "prompt_tokens": 97,
    "completion_tokens": 61,
    "total_tokens": 158,
    "prompt_tokens_details": {"cached_tokens": 32, "audio_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 1},
}
PLAIN = [
    OPENAI,
    {"prompt_tokens": 97, "completion_tokens": 61},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {**OPENAI, "prompt_tokens_details": None, "completion_tokens_details": None},
    {**OPENAI, "prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 40},
    {**OPENAI, "prompt_tokens_details": {"cached_tokens": 9}, "prompt_cache_hit_tokens": 40},
    {**OPENAI, "prompt_tokens_details": {"cache_write_tokens": 30, "cached_tokens": 60}},
    {**OPENAI, "prompt_tokens_details": {}, "cache_creation_input_tokens": 30},
    # what the model thought, beside the output and in the total
    {**OPENAI, "total_tokens": 178},
    {"prompt_tokens": 1, "completion_tokens": MAX_TOKENS - 1, "total_tokens": MAX_TOKENS},
]
NUMBERS = st.integers(0, 60) | st.sampled_from(ODD)
ANY_DETAILS = st.dictionaries(st.sampled_from(PARTS), NUMBERS, max_size=3)
TOTALS = st.sampled_from(("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens"))


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


@pytest.fixture(scope="session")
def plain_usage(tmp_path_factory: pytest.TempPathFactory) -> PlainUsage:
    """The function in C, built from these sources."""
    debian_packages.ensure_compiler(print)
    return loaded(compile_extension(PLAIN_USAGE, tmp_path_factory.mktemp("plain-usage")))


@pytest.mark.parametrize("usage", PLAIN)
def test_what_most_answers_report_is_read_at_once(
    plain_usage: PlainUsage, usage: dict[str, Any]
) -> None:
    packed = read(usage)
    assert packed is not None
    assert plain_usage(usage) == packed


@given(usage=reported())
def test_whatever_is_read_at_once_is_what_all_rules_make_of_it(
    plain_usage: PlainUsage, usage: dict[str, Any]
) -> None:
    packed = plain_usage(usage)
    assert packed is None or packed == read(usage)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_the_corpus_is_read_alike_or_left_to_the_rules(
    plain_usage: PlainUsage, case: dict[str, Any]
) -> None:
    packed = plain_usage(case["usage"])
    assert packed is None or packed == read(case["usage"])


@pytest.mark.parametrize(
    "usage", [None, 7, "text", [], {}, {"prompt_tokens": None, "input_tokens": 7}, {1: 2, None: 3}]
)
def test_what_is_no_usage_of_a_chat_is_left_to_the_rules(
    plain_usage: PlainUsage, usage: object
) -> None:
    assert plain_usage(usage) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": MAX_TOKENS, "completion_tokens": 1},
        {**OPENAI, "total_tokens": 150},
        {**OPENAI, "prompt_tokens_details": {"cached_tokens": 98}},
        {**OPENAI, "completion_tokens_details": {"reasoning_tokens": 62}},
        {**OPENAI, "prompt_tokens_details": {"cached_tokens": -1}},
        {**OPENAI, "prompt_tokens_details": {}, "num_cached_tokens": 2**70},
    ],
)
def test_what_is_in_doubt_is_left_to_the_rules(
    plain_usage: PlainUsage, usage: dict[str, Any]
) -> None:
    assert read(usage) is None
    assert plain_usage(usage) is None
