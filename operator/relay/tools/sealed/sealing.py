"""Seals what a client carries for the relay, so that it can neither be read nor changed (AES-GCM, NIST SP 800-38D).

Nonces are random, since workers and pods share nothing, and two that are equal under one key would give the key's hash away. So each caller has
a key for its sessions, and each session one for its events. Of n nonces of 96 bits two are equal with a probability of n^2 / 2^97: a worker
takes 800 events a second of a stream (16 each 20 ms) and has 64 streams for a tenant, so a session of a day, of a server that never stops, has 2^32 of them, and the
probability is 2^-33, below the 2^-32 of section 8.3. 2^32 sessions of one API key take over a year at 100 a second.
"""

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
"""NIST SP 800-38D, section 8.2."""


def key_for(purpose: bytes, secret: bytes, bound: bytes) -> bytes:
    """Derives the key of one purpose and of what is sealed for bound from what the tenant's relays share; empty without a secret."""
    return hmac.new(secret, purpose + b"\0" + bound, hashlib.sha256).digest() if secret else b""


class SessionBinding:
    """The caller and the session that ids of events and of servers' requests are good for.

    secret is that of the session's own seal; while it is empty nothing is sealed. caller names the tenant and its API key.
    """

    __slots__ = ("_secret", "text")

    def __init__(self, *, secret: bytes, caller: str, session: str) -> None:
        self._secret = secret
        self.text = json.dumps([caller, session]).encode()

    def key_for(self, purpose: bytes) -> bytes:
        """Derives the key of one purpose; empty without a secret."""
        return key_for(purpose, self._secret, self.text)


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
