"""Points of sessions on a route's scale."""

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
