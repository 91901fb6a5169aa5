"""The relay's own credentials in what servers say: hidden however JSON spells them, and nothing else is changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.dialect.answers.hidden_secret import without_secret

SECRET = 'sk/canary+<"secret\\>&9d1c='


def numbered(signs: str, digits: str) -> Callable[[Any], str]:
    """Returns how an encoder writes JSON that gives these signs by their number."""

    def written(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=False)
        for sign in signs:
            text = text.replace(sign, digits % ord(sign))
        return text

    return written


def dotnet(value: Any) -> str:
    # quotes of a text, and not those around it
    return numbered("<>&'+`", "\\u%04X")(value).replace('\\"', "\\u0022")


SPELLINGS = [
    json.dumps,
    numbered("<>&", "\\u%04x"),
    numbered("<>&='", "\\u%04x"),
    dotnet,
    lambda value: json.dumps(value).replace("/", "\\/"),
]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_no_spelling_of_a_credential_is_left(spelled: Any) -> None:
    said = {"text": f"Authorization: Bearer {SECRET}!", SECRET: [SECRET, "sk/canary"]}
    told = without_secret(SECRET.encode(), spelled(said).encode())
    assert json.loads(told) == {
        "text": "Authorization: Bearer [hidden]!",
        "[hidden]": ["[hidden]", "sk/canary"],
    }


def test_a_credential_as_it_is_is_hidden_in_what_is_no_json() -> None:
    assert without_secret(SECRET.encode(), SECRET.encode() * 2) == b"[hidden][hidden]"


@pytest.mark.parametrize("secret", [b"", b"e", b"release"])
def test_a_short_credential_would_hide_words_and_hides_nothing(secret: bytes) -> None:
    assert without_secret(secret, b"the release notes") == b"the release notes"
