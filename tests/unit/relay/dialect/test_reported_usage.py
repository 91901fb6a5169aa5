"""Tokens as providers report them, and numbers that cannot be tokens."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.reported_usage import (
    HIDDEN_INPUT_TOKENS,
    MOST_OUTPUT_TOKENS,
    Tokens,
    reported_tokens,
)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Tokens(9, 4)),
        ({"prompt_tokens": 9, "total_tokens": 9}, Tokens(9, 0)),
        ({"prompt_tokens": 9, "completion_tokens": None}, Tokens(9, 0)),
        ({"prompt_tokens": 9.0, "completion_tokens": 4.0}, Tokens(9, 4)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "input_tokens_details": {"cached_tokens": 5},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Tokens(9, 4, 5, 2),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Tokens(9, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10}}, Tokens(9, 0)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": "9"}}, Tokens(9, 0)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 6}, Tokens(9, 0, 6)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 103,
                "completion_tokens_details": {"reasoning_tokens": 90},
            },
            Tokens(9, 94, 0, 90),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 13,
                "completion_tokens_details": {"reasoning_tokens": 90},
            },
            Tokens(9, 4, 0, 4),
        ),
        ({"prompt_tokens": 9, "cached_tokens": 6}, Tokens(9, 0, 6)),
        ({"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 6}, Tokens(15, 4, 6)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "total_tokens": 13,
                "cache_read_input_tokens": 6,
            },
            Tokens(9, 4, 6),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 103}, Tokens(9, 94)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 5}, Tokens(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 10**9}, Tokens(9, 4)),
        ({"total_tokens": 9}, Tokens(9, 0)),
        ({"total_tokens": -9}, None),
        ({"other": 1}, None),
        (None, None),
        ([], None),
    ],
)
def test_tokens_are_read_from_either_api(usage: object, tokens: Tokens | None) -> None:
    assert reported_tokens(usage) == tokens


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize(
    "number",
    [
        "9223372036854775807",
        "18446744073709551616",
        "1e30",
        "-1",
        "4294967296",
        "0.5",
        '"4"',
        "true",
    ],
)
def test_a_number_that_is_no_count_is_as_good_as_none(name: str, number: str) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, name: orjson.Fragment(number)}
    assert reported_tokens(orjson.loads(orjson.dumps(usage))) is None


def test_nothing_is_not_zero() -> None:
    assert reported_tokens({"prompt_tokens": None, "completion_tokens": 4}) is None


def test_what_is_believed_grows_with_the_call_and_the_answer() -> None:
    most = HIDDEN_INPUT_TOKENS + 100
    assert reported_tokens({"prompt_tokens": most}, call_bytes=100) == Tokens(most, 0)
    assert reported_tokens({"prompt_tokens": most}, call_bytes=99) is None
    most = 3 * MOST_OUTPUT_TOKENS + 100
    usage = {"prompt_tokens": 1, "completion_tokens": most}
    assert reported_tokens(usage, answer_bytes=100, choices=3) == Tokens(1, most)
    assert reported_tokens(usage, answer_bytes=99, choices=3) is None


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    usage=st.fixed_dictionaries(
        {"prompt_tokens": NUMBERS, "completion_tokens": NUMBERS},
        optional={
            "prompt_tokens_details": st.dictionaries(st.just("cached_tokens"), NUMBERS),
            "completion_tokens_details": st.dictionaries(st.just("reasoning_tokens"), NUMBERS),
        },
    )
)
def test_no_number_leaves_its_range(usage: dict[str, Any]) -> None:
    tokens = reported_tokens(usage)
    if tokens is not None:
        assert 0 <= tokens.cached <= tokens.input <= HIDDEN_INPUT_TOKENS
        assert 0 <= tokens.reasoning <= tokens.output <= 2 * MOST_OUTPUT_TOKENS
        assert {type(count) for count in tokens._counts()} == {int}


@given(
    counts=st.tuples(*[st.integers(0, 10**7)] * 3),
    weights=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_cached_tokens_count_by_their_weight(
    counts: tuple[int, int, int], weights: list[float]
) -> None:
    cached, uncached, output = counts
    tokens = Tokens(cached + uncached, output, cached)
    assert tokens.charged(1.0) == cached + uncached + output
    assert tokens.charged(0.0) == uncached + output
    assert tokens.charged(weights[0]) <= tokens.charged(weights[1])


def test_a_weight_is_taken_to_the_nearest_token() -> None:
    assert [Tokens(10, 0, 10).charged(weight) for weight in (0.1, 0.25, 0.9)] == [1, 2, 9]
