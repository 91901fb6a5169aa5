"""Words of providers that are passed on."""

import pytest

from relay.calls.preflight.findings import without_secret
from relay.dialect.answers.error_shape import MAX_MESSAGE_CHARACTERS

KEY = b"sk-upstream-canary-secret"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("wrong key: sk-upstream-canary-secret.", "wrong key: [hidden]"),
        ("key=sk-ups...secret, see\n\tbelow", "[hidden] see\n\tbelow"),
        ("sk-up***cret is\u2003wrong", "[hidden] is\u2003wrong"),
        ("a*b is 2 * 3", "a*b is 2 * 3"),
        ("**", "[hidden]"),
        (" ", " "),
        ("", ""),
    ],
)
def test_words_that_show_of_the_key_are_hidden(said: str, told: str) -> None:
    assert without_secret(said, KEY) == told


def test_a_key_with_a_blank_in_it_is_hidden() -> None:
    assert without_secret("Basic a b c d e f is wrong", b"a b c d e f") == "Basic [hidden] is wrong"


def test_a_short_key_would_hide_everything_and_hides_nothing() -> None:
    assert without_secret("an error", b"e") == "an error"


@pytest.mark.parametrize("word", ["x", "x*", "sk-ups", "**", "x "])
def test_no_more_than_a_message_is_read_of_a_text_of_any_length(word: str) -> None:
    told = without_secret(word * 20_000, KEY)
    assert len(told) <= MAX_MESSAGE_CHARACTERS
