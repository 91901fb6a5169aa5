"""Tokens as providers report them."""

import pytest

from relay.dialect.reported_usage import Tokens, reported_tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Tokens(9, 4)),
        ({"prompt_tokens": 9, "total_tokens": 9}, Tokens(9, 0)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "input_tokens_details": {"cached_tokens": 5},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Tokens(9, 4, 5, 2),
        ),
        (
            {"prompt_tokens": -1, "completion_tokens": "4", "prompt_tokens_details": None},
            Tokens(0, 0),
        ),
        ({"other": 1}, None),
        (None, None),
    ],
)
def test_tokens_are_read_from_either_api(usage: object, tokens: Tokens | None) -> None:
    assert reported_tokens(usage) == tokens
