"""Usage objects of providers as disjoint buckets: a corpus by hand, and what holds for all of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relay.dialect.endpoints import Endpoint
from relay.dialect.usage.anthropic_usage import anthropic_usage, merged_usage
from relay.dialect.usage.billed_usage import BilledUsage, Reading
from relay.dialect.usage.openai_usage import openai_usage
from relay_contract.billing.token_buckets import BUCKETS, UNITS, TokenBuckets

CORPUS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("corpus.json").read_text(encoding="utf-8")
)


def read(endpoint: str, usage: object) -> Reading:
    if endpoint == "messages":
        return anthropic_usage(usage)
    return openai_usage(usage, Endpoint(endpoint))


def buckets(billed: BilledUsage) -> dict[str, int]:
    """Returns what is in the buckets that are not empty."""
    counts = {name: getattr(billed, name, 0) for name in BUCKETS}
    # the ledger takes what the dialect makes
    assert TokenBuckets.model_validate(counts, strict=True).total == sum(counts.values())
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_usage_of_the_corpus_is_read_to_the_token(case: dict[str, Any]) -> None:
    billed = read(case["endpoint"], case["usage"])
    if case.get("absent"):
        assert billed is None
        return
    if "doubt" in case:
        assert billed == case["doubt"]
        return
    assert isinstance(billed, BilledUsage)
    assert buckets(billed) == case["buckets"]
    assert {unit: getattr(billed, unit) for unit in UNITS if getattr(billed, unit)} == case.get(
        "units", {}
    )
    assert billed.cache_reported == case.get("cache_reported", True)
    assert billed.service_tier == case.get("service_tier")
    assert billed.region == case.get("region")


def test_the_corpus_has_every_endpoint_and_every_doubt() -> None:
    assert {case["endpoint"] for case in CORPUS} == {*Endpoint, "messages"}
    doubts = {case["doubt"] for case in CORPUS if "doubt" in case}
    assert doubts == {"negative", "total", "parts", "range", "shape", "models"}


def test_a_stream_of_anthropic_tells_its_running_total_last() -> None:
    start = {"input_tokens": 50, "cache_read_input_tokens": 7, "output_tokens": 1}
    first = merged_usage(None, start)
    second = merged_usage(first, {"output_tokens": 12, "cache_read_input_tokens": None})
    last = merged_usage(second, {"output_tokens": 15})
    billed = anthropic_usage(last)
    assert isinstance(billed, BilledUsage)
    assert buckets(billed) == {"input": 50, "cache_read": 7, "output": 15}


COUNTS = st.integers(0, 10**6)


@given(
    uncached=COUNTS, cached=COUNTS, written=COUNTS, visible=COUNTS, reasoning=st.integers(1, 10**6)
)
def test_one_answer_has_the_same_buckets_in_every_convention(
    uncached: int, cached: int, written: int, visible: int, reasoning: int
) -> None:
    whole_input, output = uncached + cached + written, visible + reasoning
    assume(visible != reasoning)
    chat = {
        "prompt_tokens": whole_input,
        "completion_tokens": output,
        "total_tokens": whole_input + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    responses = {
        "input_tokens": whole_input,
        "output_tokens": output,
        "total_tokens": whole_input + output,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }
    message = {
        "input_tokens": uncached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": reasoning},
    }
    read_as = [
        read("chat.completions", chat),
        read("chat.completions", {**chat, "completion_tokens": visible}),
        read("responses", responses),
        read("messages", message),
        read("responses", message),
    ]
    every = [buckets(billed) for billed in read_as if isinstance(billed, BilledUsage)]
    assert len(every) == len(read_as)
    assert all(one == every[0] for one in every)
    assert sum(every[0].values()) == whole_input + output


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
DETAILS = st.dictionaries(
    st.sampled_from(["cached_tokens", "audio_tokens", "reasoning_tokens", "cache_write_tokens"]),
    NUMBERS,
)


@given(
    usage=st.dictionaries(
        st.sampled_from(
            [
                "prompt_tokens",
                "completion_tokens",
                "input_tokens",
                "output_tokens",
                "total_tokens",
                "cached_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
            ]
        ),
        NUMBERS,
    ),
    details=NUMBERS | DETAILS,
    endpoint=st.sampled_from([*Endpoint, "messages"]),
)
def test_no_object_gives_buckets_that_the_ledger_would_refuse(
    usage: dict[str, Any], details: Any, endpoint: str
) -> None:
    for name in ("prompt_tokens_details", "completion_tokens_details", "output_tokens_details"):
        billed = read(endpoint, {**usage, name: details, "cache_creation": details})
        if isinstance(billed, BilledUsage):
            buckets(billed)
