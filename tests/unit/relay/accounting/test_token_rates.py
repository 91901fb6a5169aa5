"""Tokens of what no provider counted, by the ratios that its counted answers had."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.accounting.token_estimates import CallEstimate, TokenEstimator
from relay.accounting.token_rates import (
    EACH,
    LEAST_CALLS,
    LEAST_CALLS_OF_KEY,
    LEAST_PER_BYTE,
    MOST_CALLS,
    MOST_INPUT_PER_BYTE,
    MOST_OUTPUT_PER_BYTE,
    MOST_PER_PIECE,
    MOST_THOUGHTS,
    LearntCall,
    ModelRates,
)
from relay.dialect.reported_usage import Tokens
from relay.dialect.request_body import OutputBound


def expected(*, text_bytes: int = 4000, attachments: int = 0) -> CallEstimate:
    return TokenEstimator().estimate(
        "m",
        text_bytes=text_bytes,
        attachments=attachments,
        bound=OutputBound(tokens=None, choices=1),
    )


def learn(rates: ModelRates, calls: int, *, key: str = "k", **call: Any) -> ModelRates:
    """Learns so many calls, all alike; without changes each byte of text, and each piece, has half a token."""
    fields = {
        "input": 500,
        "output": 500,
        "call_bytes": 1000,
        "pieces": 1000,
        "text_bytes": 1000,
    } | call
    tokens = Tokens(fields.pop("input"), fields.pop("output"), reasoning=fields.pop("reasoning", 0))
    for _ in range(calls):
        rates.learn(LearntCall(key, tokens, **fields))
    return rates


def by_bytes(rates: ModelRates, key: str = "k") -> int:
    """The output of a document of 10,000 bytes."""
    return rates.output_tokens(key, pieces=0, text_bytes=10_000)


def test_pieces_that_hide_how_little_text_they_have_are_counted() -> None:
    learnt = learn(ModelRates(), LEAST_CALLS, pieces=0)
    assert learnt.output_tokens("k", pieces=20, text_bytes=0) == 20


def test_before_anything_is_learnt_the_documented_ratio_counts() -> None:
    cold = ModelRates()
    assert by_bytes(cold) == 2500
    # a token with each piece, or as many as are in pieces of eight bytes and more
    assert cold.output_tokens("k", pieces=100, text_bytes=400) == 100
    assert cold.output_tokens("k", pieces=100, text_bytes=4000) == 1000
    assert cold.input_tokens("k", expected(text_bytes=4000)) == 1001
    assert by_bytes(learn(cold, LEAST_CALLS - 1)) == 2500


def test_a_few_counted_calls_say_what_the_next_are_estimated_by() -> None:
    warm = learn(ModelRates(), LEAST_CALLS)
    assert by_bytes(warm) == 5000
    assert warm.output_tokens("k", pieces=100, text_bytes=100) == 50
    assert warm.input_tokens("k", expected(text_bytes=4000)) == 2001
    # others of the tenant are estimated by it as long as they have none of their own
    assert by_bytes(warm, "another") == 5000


def test_the_more_constant_ratio_of_the_two_counts() -> None:
    a_token_each, bursts = ModelRates(), ModelRates()
    for number in range(1, 21):
        varying = 100 * number
        learn(
            a_token_each,
            1,
            output=varying,
            pieces=varying,
            text_bytes=3 * varying + 7**number % 900,
        )
        learn(bursts, 1, output=varying, pieces=3 + 7**number % 11, text_bytes=3 * varying)
    assert a_token_each.output_tokens("k", pieces=70, text_bytes=9999) == 70
    assert bursts.output_tokens("k", pieces=2, text_bytes=300) == 100


def test_an_answer_without_pieces_is_estimated_by_its_bytes_however_constant_pieces_are() -> None:
    warm = learn(ModelRates(), 10, output=100, pieces=100, text_bytes=200)
    assert warm.output_tokens("k", pieces=0, text_bytes=300) == 150


def test_a_key_is_estimated_by_its_own_calls_once_it_has_some() -> None:
    rates = learn(ModelRates(), MOST_CALLS, key="german", output=400)
    learn(rates, LEAST_CALLS_OF_KEY - 1, key="json", output=250)
    assert by_bytes(rates, "json") == 4000
    learn(rates, 1, key="json", output=250)
    assert by_bytes(rates, "json") == 2500
    assert by_bytes(rates, "german") == 4000


@pytest.mark.parametrize("odd", [1, 100_000])
def test_one_callers_odd_texts_move_nobody_elses_estimates(odd: int) -> None:
    rates = ModelRates()
    for number in range(4 * LEAST_CALLS_OF_KEY):
        learn(rates, 1, key=f"usual-{number}")
    learn(rates, 100 * MOST_CALLS, key="odd", input=odd, output=odd)
    # who is new, and who has too few calls of its own
    for key in ("new", "usual-3"):
        assert by_bytes(rates, key) == 5000
        assert rates.input_tokens(key, expected(text_bytes=4000)) == 2001


def test_what_is_odd_about_fewer_than_half_of_a_keys_calls_moves_nothing() -> None:
    rates = ModelRates()
    for number in range(300):
        odd = number % 5 < 2
        learn(rates, 1, output=100_000 if odd else 500, input=1 if odd else 500)
    assert (by_bytes(rates), rates.input_tokens("k", expected(text_bytes=4000))) == (5000, 2001)


def test_a_model_that_changes_its_tokens_is_followed() -> None:
    rates = learn(ModelRates(), MOST_CALLS)
    assert by_bytes(learn(rates, MOST_CALLS, output=250)) == 2500


@pytest.mark.parametrize(
    ("odd", "per_byte", "per_piece", "input_per_byte"),
    [
        (10**6, MOST_OUTPUT_PER_BYTE, MOST_PER_PIECE, MOST_INPUT_PER_BYTE),
        (1, LEAST_PER_BYTE, 1 / 8, LEAST_PER_BYTE),
    ],
)
def test_ratios_that_no_text_has_are_bounded(
    odd: int, per_byte: float, per_piece: float, input_per_byte: float
) -> None:
    rates = learn(ModelRates(), 20, input=odd, output=odd)
    assert by_bytes(rates) == round(10_000 * per_byte)
    assert rates.input_tokens("k", expected(text_bytes=64_000)) == 64_000 * input_per_byte + 1
    # where only pieces were counted
    pieces = learn(ModelRates(), 20, output=odd, text_bytes=0)
    assert pieces.output_tokens("k", pieces=800, text_bytes=1) == round(800 * per_piece)


THOUGHTS = (50, 900, 100, 4000, 300, 700, 2000, 60, 500)
"""Their median is 500."""


def thinking(*, shows: bool) -> ModelRates:
    """What answers teach of a model that thinks now more, now less; half a token is in a byte that it shows."""
    rates = ModelRates()
    for thought in THOUGHTS:
        shown = 200 + (thought if shows else 0)
        sizes: dict[str, Any] = {"pieces": shown, "text_bytes": 2 * shown}
        learn(rates, 1, output=200 + thought, reasoning=thought, **sizes)
    return rates


def test_thoughts_that_are_not_shown_are_as_many_as_usual() -> None:
    rates = thinking(shows=False)
    assert by_bytes(rates) == 5500
    assert rates.output_tokens("k", pieces=40, text_bytes=90) == 540
    # before anything of the answer has come nothing is booked of it
    assert rates.output_tokens("k", pieces=0, text_bytes=0) == 0
    many = learn(ModelRates(), 20, output=10**6, reasoning=10**6 - 500)
    learn(many, 20, output=10**6 + 500, reasoning=10**6 - 500, text_bytes=2000)
    assert by_bytes(many) <= 10_000 * MOST_OUTPUT_PER_BYTE + MOST_THOUGHTS


def test_thoughts_that_are_shown_are_text_like_any_other() -> None:
    rates = thinking(shows=True)
    assert by_bytes(rates) == 5000
    assert rates.output_tokens("k", pieces=40, text_bytes=90) == 40


def test_attachments_keep_what_was_expected_of_them() -> None:
    warm = learn(ModelRates(), 20)
    call = expected(text_bytes=4000, attachments=3)
    assert warm.input_tokens("k", call) == call.input_tokens


def test_what_nobody_looked_at_teaches_nothing() -> None:
    rates = learn(ModelRates(), 20, call_bytes=0, pieces=0, text_bytes=0)
    assert by_bytes(rates) == 2500
    assert rates.output_tokens("k", pieces=9, text_bytes=20) == 9
    assert rates.input_tokens("k", expected(text_bytes=4000)) == 1001


def test_of_many_calls_few_are_learnt_from() -> None:
    rates = ModelRates()
    assert all(rates.count_call() for _ in range(MOST_CALLS))
    later = [rates.count_call() for _ in range(100 * EACH)]
    assert sum(later) == 100
    # callers who take turns are all seen
    assert {place % 10 for place, is_learnt in enumerate(later) if is_learnt} == set(range(10))


COUNT = st.integers(0, 10**7)


@given(
    calls=st.lists(st.tuples(st.sampled_from("abc"), COUNT, COUNT, COUNT, COUNT, COUNT)),
    pieces=COUNT,
    text_bytes=COUNT,
)
def test_no_call_teaches_an_estimate_without_bound(
    calls: list[tuple[str, int, int, int, int, int]], pieces: int, text_bytes: int
) -> None:
    rates = ModelRates()
    for key, used, answered, call_bytes, seen, answer_bytes in calls:
        tokens = Tokens(used, answered, reasoning=answered // 3 if seen % 2 else 0)
        rates.learn(
            LearntCall(key, tokens, call_bytes=call_bytes, pieces=seen, text_bytes=answer_bytes)
        )
    found = rates.output_tokens("a", pieces=pieces, text_bytes=text_bytes)
    most = max(pieces * MOST_PER_PIECE, text_bytes * MOST_OUTPUT_PER_BYTE) + MOST_THOUGHTS
    assert 0 <= found <= most
    assert 1 <= rates.input_tokens("a", expected(text_bytes=text_bytes)) <= text_bytes + 1
