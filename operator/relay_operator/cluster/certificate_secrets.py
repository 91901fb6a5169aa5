"""The certificate that a tenant names for TLS with its callers, read from its Secret. The key is checked and forgotten."""

import base64

from relay_contract import certificate
from relay_contract.certificate import CertificateUnusable
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.decisions.relay_pods.certificate import SecretCertificate


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
        return SecretCertificate(
            secret=label,
            problem=str(error),
            has_expired=error.has_expired,
            comes_later=error.usable_from > 0,
        )
    return SecretCertificate(
        secret=label, digest=found.digest, not_before=found.not_before, not_after=found.not_after
    )


def _entry(secret: Manifest, name: str) -> bytes | None:
    value = (secret.get("data") or {}).get(name)
    return None if value is None else base64.b64decode(value)
