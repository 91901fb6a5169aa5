"""Tells whether a careless reader may take a key for another one. What is too long to be told counts as one that may be."""

import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

MAX_KEY_CHARACTERS: Final = 256
"""No key that a decision rests on comes near it."""
MAX_KEYS_CHARACTERS: Final = 8 * 1024
"""Of all keys of an object that have to be folded: signs beyond ASCII take some 2 microseconds each."""


def folded(key: str) -> str:
    """Returns what a careless reader may take the key for.

    Go's decoder ignores case and reads the long s as s (GHSA-wvj2-96wp-fq3f), another one ended keys at a NUL
    (GHSA-q382-vc8q-7jhj). It goes sign by sign, since to order the marks that a text stacks on one letter takes the square of their
    number: of a message full of them, hours.
    """
    plain = key if key.isascii() else "".join(unicodedata.normalize("NFKC", sign) for sign in key)
    return "".join(filter(str.isalnum, plain.casefold()))


def looks_like_one_of(names: Collection[str], keys: Iterable[str]) -> bool:
    """Returns whether one of these keys could be taken for one of those names, which are folded."""
    left = MAX_KEYS_CHARACTERS
    for key in keys:
        left -= len(key)
        if left < 0 or len(key) > MAX_KEY_CHARACTERS or "\0" in key or folded(key) in names:
            return True
    return False
