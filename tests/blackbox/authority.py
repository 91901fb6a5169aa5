"""Certificates for both sides of the relay."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Authority:
    """A certificate authority and the certificates it issues."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the suite's authority")])
        self._certificate = self._signed(self._name, self._key.public_key(), None, DAY)

    @property
    def pem(self) -> str:
        """Returns the authority's certificate for a CA bundle."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self, directory: Path, *, host: str = "localhost", valid_for: datetime.timedelta = DAY
    ) -> None:
        """Writes tls.crt and tls.key for the host to the directory, each replaced in one step."""
        for file, data in self.pair(host=host, valid_for=valid_for).items():
            fresh = directory / f".{file}.new"
            fresh.write_bytes(data)
            fresh.replace(directory / file)

    def pair(
        self,
        *,
        host: str = "localhost",
        valid_for: datetime.timedelta = DAY,
        valid_in: datetime.timedelta = -2 * DAY,
        passphrase: bytes | None = None,
        key: PrivateKey | None = None,
    ) -> dict[str, bytes]:
        """Returns the entries of a Secret of type kubernetes.io/tls; the key is a new elliptic one unless another is given."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._signed(name, key.public_key(), host, valid_for, valid_in)
        secrecy = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return {
            "tls.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secrecy),
            "tls.crt": certificate.public_bytes(Encoding.PEM),
        }

    def trusting(self) -> ssl.SSLContext:
        """Returns a client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.pem)

    def _signed(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        host: str | None,
        valid_for: datetime.timedelta,
        valid_in: datetime.timedelta = -2 * DAY,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid_in)
            .not_valid_after(now + valid_for)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())
