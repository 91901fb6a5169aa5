"""The certificates of one cluster: an authority, a separate front-proxy authority, one pair per component.

Source: Kubernetes' page "PKI certificates and requirements".
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.cluster.addresses import API_SERVICE

LIFETIME = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(hours=1)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


@dataclass(frozen=True, slots=True)
class Authority:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate to issue. stem names its files; hosts become subject alternative names."""

    stem: str
    common_name: str
    organization: str | None = None
    usages: tuple[x509.ObjectIdentifier, ...] = CLIENT
    hosts: tuple[str, ...] = ()


def write_certificates(directory: Path, node_name: str, node_address: str, dns_domain: str) -> None:
    """Writes every key and certificate of the cluster to directory, as NAME.key (mode 0600) and NAME.crt."""
    directory.mkdir(parents=True)
    authority = _new_authority(directory, "ca", "kubernetes")
    front_proxy = _new_authority(directory, "front-proxy-ca", "front-proxy-ca")
    for leaf in _leaves(node_name, node_address, dns_domain):
        _issue(directory, leaf, authority)
    _issue(directory, Leaf("front-proxy", "front-proxy-client"), front_proxy)
    signing_key = rsa.generate_private_key(65537, 2048)
    _write_key(directory / "sa.key", signing_key)
    (directory / "sa.pub").write_bytes(
        signing_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def _leaves(node_name: str, node_address: str, dns_domain: str) -> tuple[Leaf, ...]:
    kubernetes = "kubernetes"
    api_names = (
        kubernetes,
        f"{kubernetes}.default",
        f"{kubernetes}.default.svc",
        f"{kubernetes}.default.svc.{dns_domain}",
    )
    return (
        Leaf(
            "apiserver",
            "kube-apiserver",
            usages=SERVER,
            hosts=("127.0.0.1", node_address, API_SERVICE, "localhost", node_name, *api_names),
        ),
        Leaf("admin", "kubernetes-admin", "system:masters"),
        Leaf("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Leaf("controller-manager", "system:kube-controller-manager"),
        Leaf("scheduler", "system:kube-scheduler"),
        Leaf("kube-proxy", "system:kube-proxy"),
        Leaf(
            "kubelet",
            f"system:node:{node_name}",
            "system:nodes",
            usages=CLIENT + SERVER,
            hosts=(node_address, node_name, "127.0.0.1"),
        ),
    )


def _new_authority(directory: Path, stem: str, common_name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    _write_key(directory / f"{stem}.key", key)
    builder = _builder(name, key, Authority(name, key), is_authority=True)
    _write_certificate(directory / f"{stem}.crt", builder, key)
    return Authority(name, key)


def _issue(directory: Path, leaf: Leaf, authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(directory / f"{leaf.stem}.key", key)
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)]
    if leaf.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, leaf.organization))
    builder = _builder(x509.Name(attributes), key, authority, is_authority=False).add_extension(
        x509.ExtendedKeyUsage(list(leaf.usages)), critical=False
    )
    if leaf.hosts:
        names = [_general_name(host) for host in leaf.hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    _write_certificate(directory / f"{leaf.stem}.crt", builder, authority.key)


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: Authority,
    *,
    is_authority: bool,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # strict verifiers (Python 3.13 and later) refuse a certificate without it
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .add_extension(_key_usage(is_authority=is_authority), critical=True)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _write_certificate(
    path: Path, builder: x509.CertificateBuilder, signing_key: ec.EllipticCurvePrivateKey
) -> None:
    certificate = builder.sign(signing_key, hashes.SHA256())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
