"""Signs messages as Standard Webhooks 1.0 have it: HMAC-SHA256 over id, timestamp and body, one signature a secret."""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path
from typing import Final

from relay_operator.errors import OperatorError

PREFIX: Final = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
_MOST_FILE_BYTES = 4096


class SecretUnusable(OperatorError):
    """The file of the signing secret is missing, or holds none. The message never has its content."""


def read_secrets(path: str) -> tuple[bytes, ...]:
    """Reads the secrets of a file: one, or while they are rotated several, separated by white space."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST_FILE_BYTES).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnusable(
            f"the webhook's secret cannot be read from {path} ({type(error).__name__})"
        ) from error
    found = tuple(_decoded(word, path) for word in text.split())
    if not found:
        raise SecretUnusable(f"{path} is empty; put a secret there, {PREFIX} and base64")
    return found


def _decoded(word: str, path: str) -> bytes:
    try:
        secret = base64.b64decode(word.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise SecretUnusable(
            f"the webhook's secret in {path} is not base64 after {PREFIX}"
        ) from error
    if not word.startswith(PREFIX) or not _FEWEST_BYTES <= len(secret) <= _MOST_BYTES:
        raise SecretUnusable(
            f"the webhook's secret in {path} must be {PREFIX} and base64 of "
            f"{_FEWEST_BYTES} to {_MOST_BYTES} random bytes"
        )
    return secret


def headers(secrets: tuple[bytes, ...], *, id_: str, at: int, body: bytes) -> dict[str, str]:
    """Returns the three headers of an attempt; at is the moment of sending, in seconds since the epoch."""
    signed = b".".join((id_.encode(), str(at).encode(), body))
    signatures = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in signatures),
    }
