"""The identity of a conversation in the calls of the OpenAI API."""

from collections.abc import Mapping
from typing import Any, Final

TEXT_BYTES: Final = 4096
"""Part of each of the first messages that is hashed; hashing a 100 KB prompt would cost more than the call."""


def session_key(document: Mapping[str, Any], header: bytes | None) -> bytes | None:
    """Returns the key of the conversation that a call's decoded body belongs to.

    That is prompt_cache_key, else the header X-Session-ID, else the system and the first user message; None when there
    is none of them.
    """
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
    """Returns instructions and the first item of the input, for /v1/responses and /v1/completions."""
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
