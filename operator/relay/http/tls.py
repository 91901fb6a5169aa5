"""TLS contexts: verified with SNI towards providers, with the tenant's certificate towards clients."""

import ssl

from relay_contract import certificate

ALPN = ["http/1.1"]


def provider_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Makes a context that verifies chain and host name, against the bundle alone if there is one, else the system's store.

    Raises ValueError when the bundle holds no certificate.
    """
    try:
        context = ssl.create_default_context(cadata=ca_bundle)
    except ssl.SSLError as error:
        raise ValueError(f"caBundle is not PEM: {error.reason}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    return context


def client_context(chain: bytes, key: bytes) -> ssl.SSLContext:
    """Makes the context of client connections from the tenant's certificate chain and key in PEM.

    Each pair has a context of its own: one that takes a second pair of another kind of key goes on serving the first.
    Raises ssl.SSLError for a pair that OpenSSL does not take.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    certificate.load(context, chain, key)
    return context
