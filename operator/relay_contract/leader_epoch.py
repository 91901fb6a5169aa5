"""The number of the operator that leads, with its signature: what a leader shows to relays with each push.

A document carries the number of the leader that composed it. A leader that takes over composes nothing anew: it shows its
number, and from then on a relay refuses what former leaders push, and what they composed and it has not taken.
"""

import base64
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from relay_contract.document import MAX_EPOCH
from relay_contract.seal import DocumentRejected, vouches

MAX_CHARACTERS = 128
"""More than a number and a signature take."""


def show(epoch: int, private_key: Ed25519PrivateKey) -> str:
    """Returns the number with its signature (Ed25519, RFC 8032), for a header."""
    signature = base64.b64encode(private_key.sign(_signed(epoch))).decode()
    return f"{epoch} {signature}"


def proven(shown: str, public_keys: Iterable[Ed25519PublicKey]) -> int:
    """Returns the number that is shown; raises DocumentRejected with bad_signature when no trusted key signed it."""
    number, _, signature = shown[:MAX_CHARACTERS].partition(" ")
    if number.isascii() and number.isdecimal() and 0 < int(number) <= MAX_EPOCH:
        try:
            signed = base64.b64decode(signature, validate=True)
        except ValueError:
            signed = b""
        if any(vouches(key, signed, _signed(int(number))) for key in public_keys):
            return int(number)
    raise DocumentRejected("bad_signature", "no trusted key signed the number of this leader")


def _signed(epoch: int) -> bytes:
    # a document begins with a brace, so neither can pass for the other
    return f"leader {epoch}".encode()
