"""Points of sessions on a route's scale, and the creators of stored responses."""

from collections import OrderedDict
from typing import Final

import xxhash

POINTS: Final = 2**32


def session_seed(salt: str, fingerprint: str) -> int:
    """Returns the seed of the hash of every session of a route and its canary.

    The fingerprint is part of it, so that the sessions that meet one canary are not those that met the last.
    """
    return xxhash.xxh3_64_intdigest(f"{fingerprint}\0{salt}".encode())


def session_point(key: bytes, *, seed: int) -> float:
    """Returns a session's point, 0 <= point < 100: uniform over keys, the same in every process and pod."""
    return (xxhash.xxh3_64_intdigest(key, seed) >> 32) * 100 / POINTS


class ResponseOwners:
    """The sides that created stored responses, for calls that continue one by previous_response_id."""

    __slots__ = ("_capacity", "_owners")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._owners: OrderedDict[str, str] = OrderedDict()

    def created(self, response_id: str, fingerprint: str) -> None:
        """Notes the side that stores the response; the oldest is forgotten beyond the capacity."""
        self._owners[response_id] = fingerprint
        self._owners.move_to_end(response_id)
        if len(self._owners) > self._capacity:
            self._owners.popitem(last=False)

    def owner(self, response_id: str) -> str | None:
        """Returns the fingerprint of the side that created the response, if remembered."""
        return self._owners.get(response_id)
