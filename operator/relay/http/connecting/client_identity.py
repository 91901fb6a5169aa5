"""Keeps what connections to one provider identify themselves with: a certificate, and credentials for the proxy.

Both are files that are mounted, changed and removed while the relay runs. What vanishes or cannot be used leaves the last
good one in use; nothing of it is logged.
"""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from relay.http.tls import provider_context
from relay_contract import certificate
from relay_contract.certificate import CertificateUnusable

MAX_CREDENTIALS_BYTES = 2048
_Stamp = tuple[tuple[int, int], ...]


class News(NamedTuple):
    """A change for the log; message is empty where there is nothing to explain."""

    level: str
    event: str
    message: str = ""


class ClientIdentity:
    """The TLS context and the proxy credentials of a provider's next connections.

    tls is None at a provider without TLS; proxy_authorization is a whole header line or empty.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ca_bundle: str | None,
        uses_tls: bool,
        certificate_files: tuple[str, str] | None = None,
        credentials_file: str | None = None,
    ) -> None:
        self._directory = directory
        self._ca_bundle = ca_bundle
        self._certificate_files = certificate_files
        self._credentials_file = credentials_file
        self._certificate_seen: _Stamp | None = None
        self._credentials_seen: _Stamp | None = None
        self._has_certificate = False
        self.tls = provider_context(ca_bundle) if uses_tls else None
        self.proxy_authorization = b""

    @property
    def is_complete(self) -> bool:
        """Returns whether everything is there that the provider and its proxy are to be shown."""
        shown = self._has_certificate or self._certificate_files is None
        return shown and (bool(self.proxy_authorization) or self._credentials_file is None)

    def refresh(self, now: float) -> Iterator[News]:
        """Reads the files that have changed; now in seconds since the epoch. Costs a stat for each."""
        if self._certificate_files is not None:
            yield from self._read_certificate(self._certificate_files, now)
        if self._credentials_file is not None:
            yield from self._read_credentials(self._credentials_file)

    def _read_certificate(self, files: tuple[str, str], now: float) -> Iterator[News]:
        stamp = self._stamp(files)
        if stamp is None or stamp == self._certificate_seen:
            return
        try:
            chain, key = (self._content(name, certificate.MAX_PEM_BYTES) for name in files)
        except OSError:
            return
        # a pair that cannot be used is looked at again when one of its files changes
        self._certificate_seen = stamp
        try:
            certificate.check(chain, key, now=now)
            tls = provider_context(self._ca_bundle)
            certificate.load(tls, chain, key)
        except (CertificateUnusable, ssl.SSLError) as error:
            yield News("error", "provider_certificate_refused", _words(error))
            return
        # a context of its own for each pair: connections that are open keep theirs
        self.tls = tls
        self._has_certificate = True
        yield News("info", "provider_certificate_read")

    def _read_credentials(self, name: str) -> Iterator[News]:
        stamp = self._stamp((name,))
        if stamp is None or stamp == self._credentials_seen:
            return
        try:
            content = self._content(name, MAX_CREDENTIALS_BYTES)
        except OSError:
            return
        self._credentials_seen = stamp
        if b":" not in content or len(content) > MAX_CREDENTIALS_BYTES:
            yield News(
                "error", "proxy_credentials_refused", "they are not of the form user:password"
            )
            return
        # RFC 7617: encoded, whatever is in it cannot end the line
        line = b"proxy-authorization: Basic " + base64.b64encode(content) + b"\r\n"
        if line != self.proxy_authorization:
            self.proxy_authorization = line
            yield News("info", "proxy_credentials_read")

    def _content(self, name: str, most_bytes: int) -> bytes:
        with (self._directory / name).open("rb") as file:
            return file.read(most_bytes + 1)

    def _stamp(self, names: tuple[str, ...]) -> _Stamp | None:
        try:
            stats = [(self._directory / name).stat() for name in names]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)


def _words(error: CertificateUnusable | ssl.SSLError) -> str:
    return error.reason if isinstance(error, ssl.SSLError) else str(error)
