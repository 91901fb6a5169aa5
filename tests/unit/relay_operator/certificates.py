"""Certificates for the times of a test, as a Secret of type kubernetes.io/tls holds them."""

import base64
import functools
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = 24 * 3600.0


@functools.cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pair(*, since: float, until: float) -> dict[str, str]:
    """Returns the data of a Secret with a certificate that is valid between the two times."""
    key = _key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.relay-finance.svc")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(since, tz=UTC))
        .not_valid_after(datetime.fromtimestamp(until, tz=UTC))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "tls.crt": base64.b64encode(certificate.public_bytes(Encoding.PEM)).decode(),
        "tls.key": base64.b64encode(private).decode(),
    }


def other_key() -> str:
    """Returns a tls.key that belongs to no other certificate."""
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return base64.b64encode(private).decode()
