"""Notes that the operator leaves for its next life on a tenant's objects, signed, so that nobody else can write one."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class SignedNotes:
    """Notes of one purpose. A note is worth something for the object with the UID that it was signed for alone."""

    def __init__(self, signing_key: Ed25519PrivateKey, *, purpose: str) -> None:
        self._signing_key = signing_key
        self._purpose = purpose

    def sign(self, uid: str, text: str) -> str:
        """Returns the text as an annotation holds it."""
        signature = self._signing_key.sign(self._signed(uid, text))
        return f"{base64.b64encode(signature).decode()} {text}"

    def read(self, uid: str, note: str) -> str | None:
        """Returns the text of a note; None where it is not ours, or was signed for another."""
        signature, _, text = note.partition(" ")
        try:
            self._signing_key.public_key().verify(
                base64.b64decode(signature), self._signed(uid, text)
            )
        except (InvalidSignature, ValueError):
            return None
        return text

    def _signed(self, uid: str, text: str) -> bytes:
        # the purpose is signed too: a document is signed with the same key
        return f"relay-operator {self._purpose}\0{uid}\0{text}".encode()
