"""Ids of stored responses, marked with who stored them.

A response of /v1/responses is stored by the provider that made it, and a call that continues it by previous_response_id
fails anywhere else. Workers and pods share no memory, so the mark travels in the id itself: `resp_abc` becomes
`resp_abc_rly` and twelve letters, six that are derived from the id and the side, six from the id and the provider. They can be
checked by whoever knows both, and say nothing to anybody else. The provider gets its own id back.
"""

import re
from typing import Final

import xxhash

_MARK_LETTERS: Final = "0123456789abcdefghijklmnopqrstuv"
_LETTERS: Final = 6
_MARKED: Final = re.compile(r"(.+)_rly([0-9a-v]{12})", re.DOTALL)
_SIDE: Final = "side"
_PROVIDER: Final = "provider"


class ResponseId:
    """An id as a caller gave it: the provider's own, and the mark on it, empty if there is none."""

    __slots__ = ("given", "mark", "own")

    def __init__(self, given: str) -> None:
        self.given = given
        found = _MARKED.fullmatch(given)
        self.own: str = given if found is None else found[1]
        self.mark: str = "" if found is None else found[2]

    def is_of_side(self, fingerprint: str) -> bool:
        """Returns whether this side stored the response."""
        return self.mark[:_LETTERS] == _letters(_SIDE, fingerprint, self.own)

    def is_of_provider(self, name: str) -> bool:
        """Returns whether this provider stored the response."""
        return self.mark[_LETTERS:] == _letters(_PROVIDER, name, self.own)


def marked_id(own: str, *, fingerprint: str, provider: str) -> str:
    """Returns the provider's own id with the mark of the side and the provider that stored the response."""
    side = _letters(_SIDE, fingerprint, own)
    return f"{own}_rly{side}{_letters(_PROVIDER, provider, own)}"


def _letters(kind: str, name: str, own: str) -> str:
    number = xxhash.xxh3_64_intdigest(f"{kind}\0{name}\0{own}".encode("utf-8", "surrogatepass"))
    return "".join([_MARK_LETTERS[number >> 5 * place & 31] for place in range(_LETTERS)])
