"""Seals what a client carries for the relay, so that it can neither be read nor changed (AES-GCM, NIST SP 800-38D)."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
"""NIST SP 800-38D, section 8.2."""


def key_for(purpose: bytes, secret: bytes) -> bytes:
    """Derives the key of one purpose from what the tenant's relays share; empty without a secret."""
    return hmac.new(secret, purpose, hashlib.sha256).digest() if secret else b""


def sealed_text(key: bytes, plain: bytes, bound: bytes, nonce: bytes) -> str:
    """Returns what is sealed, fit for a header. bound is what it is good for; no nonce is used twice with a key."""
    return _text(nonce + AESGCM(key).encrypt(nonce, plain, bound))


def opened_text(key: bytes, sealed: str, bound: bytes) -> bytes | None:
    """Returns what was sealed; None of a text that was not sealed for this, and without a key."""
    if not key or not sealed.isascii():
        return None
    try:
        raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
        # the last digit may have bits that say nothing: one text for each content, and no other opens
        if _text(raw) != sealed:
            return None
        return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound)
    except (binascii.Error, ValueError, InvalidTag):
        return None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
