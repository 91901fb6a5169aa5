"""The seal around a document: an Ed25519 signature over its canonical text (RFC 8032)."""

import base64
import hashlib
import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from relay_contract.document import MAX_DOCUMENT_BYTES, Document, Part, canonical_payload


class DocumentRejected(Exception):
    """A sealed document was refused; the one in force stays.

    code is one of bad_envelope, bad_signature, invalid_document, wrong_tenant, stale_epoch,
    stale_generation, conflicting_generation.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Envelope(Part):
    payload: str
    signature: str


def payload_digest(payload: str) -> str:
    """Returns the SHA-256, in hex, of a document's canonical text."""
    return hashlib.sha256(payload.encode()).hexdigest()


def seal(document: Document, private_key: Ed25519PrivateKey) -> str:
    """Returns the signed envelope, as text for a ConfigMap or a push (Ed25519, RFC 8032, over the payload's UTF-8)."""
    return seal_payload(canonical_payload(document), private_key)


def seal_payload(payload: str, private_key: Ed25519PrivateKey) -> str:
    """Returns the signed envelope of a document's canonical text."""
    signature = base64.b64encode(private_key.sign(payload.encode())).decode()
    return json.dumps({"payload": payload, "signature": signature}, ensure_ascii=False)


def unseal(envelope: str | bytes, public_keys: Iterable[Ed25519PublicKey]) -> tuple[Document, str]:
    """Returns the document and its digest if one of the public keys signed it.

    Raises DocumentRejected with bad_envelope, bad_signature or invalid_document.
    """
    if len(envelope) > 2 * MAX_DOCUMENT_BYTES:
        raise DocumentRejected(
            "bad_envelope", f"the envelope exceeds {2 * MAX_DOCUMENT_BYTES} bytes"
        )
    try:
        parsed = _Envelope.model_validate_json(envelope)
        signature = base64.b64decode(parsed.signature, validate=True)
    except (ValidationError, ValueError) as error:
        raise DocumentRejected(
            "bad_envelope", "not an envelope with payload and signature"
        ) from error
    if not any(vouches(key, signature, parsed.payload.encode()) for key in public_keys):
        raise DocumentRejected("bad_signature", "no trusted key signed this document")
    try:
        document = Document.model_validate_json(parsed.payload)
    except ValidationError as error:
        raise DocumentRejected("invalid_document", _first_error(error)) from error
    return document, payload_digest(parsed.payload)


def parse_public_keys(text: str) -> tuple[Ed25519PublicKey, ...]:
    """Returns the keys of ENV_DOCUMENT_PUBLIC_KEYS; raises ValueError when one is no raw Ed25519 key in base64."""
    return tuple(
        Ed25519PublicKey.from_public_bytes(base64.b64decode(part.strip(), validate=True))
        for part in text.split(",")
        if part.strip()
    )


def vouches(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    """Tells whether the key made the signature."""
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
