"""Conversations: what identifies one, where it falls on a route's scale, and who created a stored response."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import xxhash

TEXT_BYTES: Final = 4096
"""So much of the first messages tells conversations apart; hashing a 100 KB prompt would cost more than the call."""
POINTS: Final = 2**32


def session_key(document: Mapping[str, Any], header: bytes | None) -> bytes | None:
    """prompt_cache_key, else X-Session-ID, else the system and first user message; None when there is none of them."""
    cache_key = document.get("prompt_cache_key")
    if isinstance(cache_key, str) and cache_key:
        return b"k" + _text(cache_key)
    if header:
        return b"h" + header
    messages = document.get("messages")
    if not isinstance(messages, list):
        return _first_input(document)
    parts: list[bytes] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer", "user"):
            parts.append(_text(message.get("content")))
        if role == "user":
            break
    return b"m" + b"\0".join(parts) if parts else None


def _first_input(document: Mapping[str, Any]) -> bytes | None:
    """Of /v1/responses and /v1/completions: instructions and the first item of the input."""
    first = document.get("input", document.get("prompt"))
    if isinstance(first, list):
        first = first[0] if first else None
    if isinstance(first, dict):
        first = first.get("content")
    instructions = document.get("instructions")
    if first is None and instructions is None:
        return None
    return b"i" + _text(instructions) + b"\0" + _text(first)


def _text(value: object) -> bytes:
    text = value if isinstance(value, str) else repr(value)
    return text[:TEXT_BYTES].encode("utf-8", "surrogatepass")


def session_seed(salt: str, fingerprint: str) -> int:
    """What seeds the hash of every session of a route and its canary.

    The fingerprint is part of it, so that the sessions that meet one canary are not those that met the last.
    """
    return xxhash.xxh3_64_intdigest(f"{fingerprint}\0{salt}".encode())


def session_point(key: bytes, *, seed: int) -> float:
    """Where a session falls, 0 <= point < 100: uniform over keys, the same in every process and pod."""
    return (xxhash.xxh3_64_intdigest(key, seed) >> 32) * 100 / POINTS


class ResponseOwners:
    """Which side created a stored response, for calls that continue it by previous_response_id."""

    __slots__ = ("_capacity", "_owners")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._owners: OrderedDict[str, str] = OrderedDict()

    def created(self, response_id: str, fingerprint: str) -> None:
        """The response lives at that side; the oldest is forgotten beyond the capacity."""
        self._owners[response_id] = fingerprint
        self._owners.move_to_end(response_id)
        if len(self._owners) > self._capacity:
            self._owners.popitem(last=False)

    def owner(self, response_id: str) -> str | None:
        """The fingerprint of the side that created it, if remembered."""
        return self._owners.get(response_id)
