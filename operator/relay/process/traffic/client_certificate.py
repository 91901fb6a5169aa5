"""The certificate that callers are served with: read from its mount whenever that changes, and kept while it is bad."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relay.accounting.logs import Log
from relay.process.traffic.traffic_port import CLOSED, PLAIN, Serving
from relay_contract import certificate
from relay_contract.certificate import Certificate, CertificateUnusable
from relay_contract.document import MAX_PROBLEM, Document, ServedCertificate

_Stamp = tuple[tuple[int, int, int] | None, ...]

_FILES: Final = (certificate.CERTIFICATE_FILE, certificate.KEY_FILE)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, as PEM whose bytes are latin-1 characters, and what is known of it."""

    certificate: str
    key: str
    facts: Certificate


class CertificateMount:
    """The mounted Secret, and the last good pair in it.

    The supervisor alone reads it, so that all workers serve the same pair, those too that start when the files have
    gone bad. kept is a directory, if there is one, where the pair outlives this process. problem says why what is
    mounted now is not served; empty while it is.
    """

    def __init__(
        self, directory: Path, kept: Path, log: Log, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._paths = tuple(directory / name for name in _FILES)
        self._directory = directory
        self._kept = kept
        self._log = log
        self._clock = clock
        self._seen: _Stamp | None = None
        self._usable_from = 0.0
        self.pair: Pair | None = self._last_of_an_earlier_process()
        self.problem = ""

    def serving(self, document: Document | None) -> Serving:
        """Returns what the traffic port is to serve; before the first document TLS in a pod that was made for it."""
        is_asked_for = self._directory.is_dir() if document is None else document.tenant.client_tls
        if not is_asked_for:
            return Serving(PLAIN)
        if self.pair is None:
            return Serving(CLOSED)
        return Serving(self.pair.facts.digest, self.pair.certificate, self.pair.key)

    def report(self, wanted: Serving, served: list[str]) -> ServedCertificate | None:
        """Returns what is known of the certificate that the workers serve, each by its name; None without TLS."""
        if wanted.name == PLAIN:
            return None
        problem = self.problem[:MAX_PROBLEM]
        if self.pair is None or any(name != wanted.name for name in served):
            return ServedCertificate(problem=problem)
        facts = self.pair.facts
        return ServedCertificate(digest=facts.digest, not_after=facts.not_after, problem=problem)

    def look(self) -> bool:
        """Reads the files if they have changed, or if their time has come; returns whether another pair is to be served."""
        if not self._directory.is_dir():
            self.problem = "this pod has no mount for a certificate; the next one will"
            return False
        stamp = self._stamp()
        has_come = 0.0 < self._usable_from <= self._clock()
        if stamp == self._seen and not has_come:
            return False
        files = [_read(path) for path in self._paths]
        if self._stamp() != stamp:
            # changed while it was read: two files of different pairs, perhaps
            return False
        self._seen, self._usable_from = stamp, 0.0
        try:
            return self._take(*files)
        except CertificateUnusable as error:
            self._usable_from = error.usable_from
            self._refuse(str(error))
            return False

    def _take(self, chain: bytes | None, key: bytes | None) -> bool:
        facts = certificate.check(chain, key, now=self._clock())
        assert chain is not None
        assert key is not None
        # the channel to the workers carries text, and PEM may stand between any bytes
        pair = Pair(chain.decode("latin-1"), key.decode("latin-1"), facts)
        if pair == self.pair:
            self.problem = ""
            return False
        self.pair, self.problem = pair, ""
        self._keep(chain, key)
        self._log.event(
            "info", "tls_certificate_loaded", digest=facts.digest, not_after=facts.not_after
        )
        return True

    def _last_of_an_earlier_process(self) -> Pair | None:
        chain, key = (_read(self._kept / name) for name in _FILES)
        try:
            facts = certificate.check(chain, key, now=self._clock())
        except CertificateUnusable:
            # none, or one that was written in part
            return None
        assert chain is not None
        assert key is not None
        return Pair(chain.decode("latin-1"), key.decode("latin-1"), facts)

    def _keep(self, chain: bytes, key: bytes) -> None:
        if not self._kept.is_dir():
            return
        try:
            for name, data in zip(_FILES, (chain, key), strict=True):
                descriptor = os.open(
                    self._kept / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
                )
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
        except OSError as error:
            # serving on without the copy is right: only a restart while the mount is bad would notice
            self._log.event("error", "tls_certificate_not_kept", message=str(error))

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:
            kept = self.pair is not None
            self._log.event("error", "tls_certificate_refused", message=problem, last_kept=kept)
        self.problem = problem

    def _stamp(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            # one byte more than is ever taken, so that an oversized file is refused and not cut
            return file.read(certificate.MAX_PEM_BYTES + 1)
    except OSError:
        return None
