"""TLS contexts: verified with SNI towards providers, with the tenant's certificate towards clients."""

import ssl
from pathlib import Path

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


class ClientTls:
    """The context of new client connections; reloading does not change connections that are open."""

    def __init__(self, directory: Path) -> None:
        self._certificate = directory / "tls.crt"
        self._key = directory / "tls.key"
        self._seen = self._stamp()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(ALPN)
        self.context.load_cert_chain(self._certificate, self._key)

    @staticmethod
    def present(directory: Path) -> bool:
        """Returns whether the tenant's certificate is mounted."""
        return (directory / "tls.crt").exists() and (directory / "tls.key").exists()

    def reload_if_changed(self) -> bool:
        """Uses a new certificate if the files have changed; returns whether they had.

        Raises OSError (ssl.SSLError) if the new files do not fit; the former pair stays in use.
        """
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        # a pair that does not fit is tried again when one of its files changes
        self._seen = stamp
        # a certificate without its key would break every new handshake: try both on a context of their own
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
        self.context.load_cert_chain(self._certificate, self._key)
        return True

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        stats = (path.stat() for path in (self._certificate, self._key))
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
