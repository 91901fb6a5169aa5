"""Rule for the certificates that a relay serves its callers with: the relay loads by it, the operator explains by it."""

import hashlib
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"
"""Entries of a Secret of type kubernetes.io/tls, and the files of its mount."""
MAX_PEM_BYTES: Final = 1024 * 1024
"""A Secret holds no more."""


class CertificateUnusable(Exception):
    """A certificate cannot be served; the message names the entry and what is wrong with it.

    usable_from is the time, in seconds since the epoch, at which it can; 0 when only other entries help. has_expired tells
    that it could.
    """

    def __init__(
        self, message: str, *, usable_from: float = 0.0, has_expired: bool = False
    ) -> None:
        super().__init__(message)
        self.usable_from = usable_from
        self.has_expired = has_expired


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that can be served. digest is the SHA-256 of tls.crt; times are seconds since the epoch."""

    digest: str
    not_before: int
    not_after: int


def check(certificate: bytes | None, key: bytes | None, *, now: float) -> Certificate:
    """Checks the two entries, None where there is none: PEM, of one pair that OpenSSL takes, and valid at this time.

    Raises CertificateUnusable.
    """
    missing = [
        name for name, data in ((CERTIFICATE_FILE, certificate), (KEY_FILE, key)) if not data
    ]
    if not certificate or not key:
        raise CertificateUnusable(f"there is no entry {' and no entry '.join(missing)}")
    facts = _facts(certificate, key, now)
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    except ssl.SSLError as error:
        raise CertificateUnusable(f"OpenSSL does not take the pair: {error.reason}") from error
    return facts


def load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Loads a pair into a context; raises ssl.SSLError.

    The library reads files only; this one has no name and is gone with its descriptor.
    """
    with os.fdopen(os.memfd_create("pair"), "wb") as file:
        file.write(key + b"\n" + certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def _facts(certificate: bytes, key: bytes, now: float) -> Certificate:
    leaf = _leaf(certificate)
    if _public_of_key(key) != _public_of_certificate(leaf):
        raise CertificateUnusable(
            f"{KEY_FILE} is not the key of the first certificate in {CERTIFICATE_FILE}"
        )
    not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not_after.timestamp() <= now:
        raise CertificateUnusable(
            f"the certificate in {CERTIFICATE_FILE} expired at {_text(not_after)}", has_expired=True
        )
    if not_before.timestamp() > now:
        raise CertificateUnusable(
            f"the certificate in {CERTIFICATE_FILE} is not valid before {_text(not_before)}",
            usable_from=not_before.timestamp(),
        )
    return Certificate(
        digest=hashlib.sha256(certificate).hexdigest(),
        not_before=int(not_before.timestamp()),
        not_after=int(not_after.timestamp()),
    )


def _leaf(certificate: bytes) -> x509.Certificate:
    if len(certificate) > MAX_PEM_BYTES:
        raise CertificateUnusable(f"{CERTIFICATE_FILE} is larger than {MAX_PEM_BYTES} bytes")
    try:
        return x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise CertificateUnusable(f"{CERTIFICATE_FILE} holds no certificate in PEM") from error


def _public_of_certificate(leaf: x509.Certificate) -> bytes:
    try:
        return leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(
            f"the certificate in {CERTIFICATE_FILE} has a public key of an unknown kind"
        ) from error


def _public_of_key(key: bytes) -> bytes:
    if len(key) > MAX_PEM_BYTES:
        raise CertificateUnusable(f"{KEY_FILE} is larger than {MAX_PEM_BYTES} bytes")
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError as error:
        raise CertificateUnusable(f"{KEY_FILE} is encrypted with a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(f"{KEY_FILE} holds no private key in PEM") from error
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
