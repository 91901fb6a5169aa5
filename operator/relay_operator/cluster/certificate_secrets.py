"""The certificate that a tenant names for TLS with its callers, read from its Secret. The key is checked and forgotten."""

import base64
import binascii
from dataclasses import dataclass

from relay_contract import certificate
from relay_contract.certificate import Certificate, CertificateUnusable
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCertificate:
    """What a Secret holds: a certificate that can be served, or the problem that keeps it from being one.

    secret is its namespace and name.
    """

    secret: str
    exists: bool
    problem: str = ""
    certificate: Certificate | None = None


async def read(api: ApiServer, tenant: Tenant, *, now: float) -> SecretCertificate | None:
    """Reads the Secret that the tenant names and judges it as a relay does; None where the tenant asks for no TLS.

    Raises ApiServerRefused or Unavailable.
    """
    tls = tenant.spec.network.tls
    if tls is None:
        return None
    namespace = names.tenant_namespace(tenant.metadata.name)
    secret = await api.get("Secret", tls.secret_name, namespace=namespace)
    label = f"{namespace}/{tls.secret_name}"
    if secret is None:
        return SecretCertificate(secret=label, exists=False)
    chain, key = (
        _entry(secret, name) for name in (certificate.CERTIFICATE_FILE, certificate.KEY_FILE)
    )
    try:
        found = certificate.check(chain, key, now=now)
    except CertificateUnusable as error:
        return SecretCertificate(secret=label, exists=True, problem=str(error))
    return SecretCertificate(secret=label, exists=True, certificate=found)


def _entry(secret: Manifest, name: str) -> bytes | None:
    value = (secret.get("data") or {}).get(name)
    try:
        return None if value is None else base64.b64decode(value)
    except (binascii.Error, TypeError, ValueError):
        return None
