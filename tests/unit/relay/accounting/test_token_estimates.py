"""What a call will probably use, and what of that is certain."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.accounting.token_estimates import (
    ATTACHMENT_TOKENS,
    COLD_OUTPUT_TOKENS,
    MOST_OUTPUT_TOKENS,
    CallEstimate,
    TokenEstimator,
)
from relay.dialect.reported_usage import Tokens
from relay.dialect.request_body import OutputBound


def estimate(
    estimator: TokenEstimator,
    model: str = "m",
    *,
    text_bytes: int = 1000,
    attachments: int = 0,
    asked: int | None = None,
    choices: int = 1,
) -> CallEstimate:
    return estimator.estimate(
        model,
        text_bytes=text_bytes,
        attachments=attachments,
        bound=OutputBound(tokens=asked, choices=choices),
    )


def learnt(calls: int, tokens: Tokens, **call: Any) -> TokenEstimator:
    """An estimator that has seen so many calls of model m, all alike."""
    estimator = TokenEstimator()
    for _ in range(calls):
        estimator.learn("m", estimate(estimator, **call), tokens)
    return estimator


def test_estimates_follow_what_calls_use_and_never_exceed_the_callers_bound() -> None:
    cold = TokenEstimator()
    assert estimate(cold, text_bytes=4000).input_tokens == 1001
    assert estimate(cold).output_tokens == COLD_OUTPUT_TOKENS
    warm = learnt(500, Tokens(500, 100))
    assert 450 <= estimate(warm).input_tokens <= 501
    assert 80 <= estimate(warm).output_tokens <= 160
    assert estimate(warm, asked=7).output_tokens == 7
    assert estimate(warm, "other").output_tokens == COLD_OUTPUT_TOKENS


def test_outputs_are_learnt_and_estimated_per_choice() -> None:
    assert estimate(TokenEstimator(), choices=24).output_tokens == 24 * COLD_OUTPUT_TOKENS
    warm = learnt(1000, Tokens(250, 2400), choices=24)
    assert 80 <= estimate(warm).output_tokens <= 160
    assert estimate(warm, choices=3).output_tokens == 3 * estimate(warm).output_tokens


def test_an_embedding_holds_no_output_and_teaches_none() -> None:
    assert estimate(TokenEstimator(), asked=0).output_tokens == 0
    assert estimate(learnt(50, Tokens(250, 0), asked=0)).output_tokens >= COLD_OUTPUT_TOKENS


def test_an_attachment_counts_by_what_attachments_of_the_model_cost() -> None:
    cold = TokenEstimator()
    assert estimate(cold, attachments=2).input_tokens == 251 + 2 * ATTACHMENT_TOKENS
    warm = learnt(1, Tokens(250 + 2 * 25_000, 10), attachments=2)
    assert estimate(warm, attachments=1).input_tokens == 251 + 25_000
    # and changes nothing for text
    assert estimate(warm).input_tokens == 251


def test_input_that_a_call_only_names_does_not_make_the_next_calls_text_heavier() -> None:
    warm = learnt(500, Tokens(50_000, 10), text_bytes=100)
    assert estimate(warm, text_bytes=100_000).input_tokens <= 100_001


@pytest.mark.parametrize(
    ("call", "least"),
    [
        ({}, 7),
        ({"text_bytes": 127}, 0),
        ({"asked": 300}, 307),
        # of a larger bound only what is expected
        ({"asked": 5000}, 7 + COLD_OUTPUT_TOKENS),
        ({"attachments": 3}, 7),
    ],
)
def test_what_is_certain_is_little(call: dict[str, Any], least: int) -> None:
    assert estimate(TokenEstimator(), **call).least_tokens == least


@pytest.mark.parametrize(
    ("call", "most"),
    [
        ({"asked": 40}, 40),
        ({"asked": 0}, 0),
        ({}, MOST_OUTPUT_TOKENS),
        ({"choices": 2}, 2 * MOST_OUTPUT_TOKENS),
    ],
)
def test_what_nobody_counted_is_bounded_by_what_was_asked(call: dict[str, Any], most: int) -> None:
    found = estimate(TokenEstimator(), **call)
    assert found.bounded_output(10**9) == most
    assert found.bounded_output(most // 2) == most // 2


@pytest.mark.parametrize(
    ("call", "most"),
    [
        ({"asked": 40}, MOST_OUTPUT_TOKENS),
        ({"asked": 40, "choices": 2}, 2 * MOST_OUTPUT_TOKENS),
        # an embedding has no output
        ({"asked": 0}, 0),
    ],
)
def test_a_bound_that_the_provider_does_not_know_bounds_nothing(
    call: dict[str, Any], most: int
) -> None:
    found = estimate(TokenEstimator(), **call)
    assert found.bounded_output(10**9, is_bound_known=False) == most


@given(
    calls=st.lists(
        st.tuples(
            st.integers(0, 10**8),
            st.integers(0, 20),
            st.none() | st.integers(0, 10**9),
            st.integers(1, 128),
            st.integers(0, 10**7),
            st.integers(0, 10**7),
        ),
        max_size=30,
    )
)
def test_no_call_teaches_an_estimate_without_bound(
    calls: list[tuple[int, int, int | None, int, int, int]],
) -> None:
    estimator = TokenEstimator()
    for text_bytes, attachments, asked, choices, used, answered in calls:
        found = estimate(
            estimator,
            text_bytes=text_bytes,
            attachments=attachments,
            asked=asked,
            choices=choices,
        )
        assert 1 <= found.input_tokens <= text_bytes + 1 + attachments * 10**7
        assert 0 <= found.output_tokens <= (10**8 * choices if asked is None else asked)
        assert 0 <= found.least_tokens <= text_bytes // 128 + (asked or 0)
        estimator.learn("m", found, Tokens(used, answered))
