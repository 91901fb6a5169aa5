"""Random ids in hexadecimal: requests, traces and spans get one each, so they are drawn from the kernel in bulk."""

import os
from typing import Final

_BULK_BYTES: Final = 4096


class RandomIds:
    """Hands out every digit once. Not for secrets: they stand in headers and logs."""

    __slots__ = ("_digits", "_next")

    def __init__(self) -> None:
        self._digits = ""
        self._next = 0

    def take(self, digits: int) -> str:
        """Returns so many new hexadecimal digits, at most 8192."""
        start = self._next
        end = start + digits
        if end > len(self._digits):
            self._digits = os.urandom(_BULK_BYTES).hex()
            start, end = 0, digits
        self._next = end
        return self._digits[start:end]


_ids: Final = RandomIds()


def random_id(digits: int) -> str:
    """Returns so many new hexadecimal digits. Drawn per process: a worker is a fresh process, never a fork that shares them."""
    return _ids.take(digits)
