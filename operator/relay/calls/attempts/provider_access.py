"""Reaches providers: connections, credentials and time limits."""

import hashlib
import time
from collections.abc import Iterable
from typing import Final

from relay.accounting.logs import WorkerLog
from relay.calls.attempts.provider_keys import ProviderKeys
from relay.calls.attempts.provider_pools import ProviderPools
from relay.http.connection_pool import Origin, Pool
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.routing.snapshot import Upstream
from relay.settings import Settings

MAX_ERROR_CHARACTERS: Final = 300


class ProviderAccess:
    """The providers as one worker reaches them. Timeouts in seconds."""

    __slots__ = (
        "_keyless",
        "_keys",
        "_log",
        "_pools",
        "first_byte_timeout",
        "idle_timeout",
        "outbox",
    )

    def __init__(
        self, settings: Settings, wheel: DeadlineWheel, outbox: Outbox, log: WorkerLog
    ) -> None:
        self.outbox = outbox
        self._pools = ProviderPools(settings, wheel, outbox)
        self._keys = ProviderKeys(settings.upstream_keys_directory)
        self._keyless: set[str] = set()
        self._log = log
        self.first_byte_timeout: float = settings.first_byte_timeout_seconds
        self.idle_timeout: float = settings.upstream_idle_timeout_seconds

    def install(self, upstreams: Iterable[Upstream]) -> None:
        """Makes exactly these providers those that take new calls."""
        upstreams = list(upstreams)
        self._pools.install(upstream.origin for upstream in upstreams)
        self.refresh_keys(upstreams)

    def pool(self, origin: Origin) -> Pool:
        """Returns the provider's connections."""
        return self._pools.of(origin)

    def auth_line(self, upstream: Upstream) -> bytes | None:
        """Returns the provider's credential as a header line, empty when it takes none, None when the key is missing."""
        line = self._line(upstream)
        if line is None:
            # the file may have been mounted since the last check; read it now
            self.refresh_keys([upstream])
            line = self._line(upstream)
            if line is None:
                self._note_missing_key(upstream)
        return line

    def credential(self, upstream: Upstream) -> bytes:
        """Returns the provider's key as it is shown; empty where there is none."""
        return (self._keys.line(upstream) or b"")[len(upstream.auth_prefix) :].strip()

    def shared_secret(self, upstreams: Iterable[Upstream]) -> bytes:
        """Returns a secret that all pods of the tenant have in common, and no caller knows: made of these providers' credentials.

        Empty where none of them has one.
        """
        lines = [line for line in map(self._keys.line, upstreams) if line]
        return hashlib.sha256(b"".join(sorted(lines))).digest() if lines else b""

    def _line(self, upstream: Upstream) -> bytes | None:
        origin = upstream.origin
        if origin.shows_secrets and not self._pools.of(origin).identity.is_complete:
            return None
        return self._keys.line(upstream)

    def _note_missing_key(self, upstream: Upstream) -> None:
        """Logs a missing key once, until its file holds another key."""
        key_file = upstream.key_file or upstream.name
        if key_file not in self._keyless:
            self._keyless.add(key_file)
            self._log.event("warning", "upstream_key_missing", provider=upstream.name)

    def tend(self, now: float) -> None:
        """Replaces idle connections that are due; call it about once a second."""
        self._pools.tend(now)
        for name, error in self._pools.errors():
            self._log.repeated(
                "warning",
                "provider_unreachable",
                by=("provider",),
                provider=name,
                message=error[:MAX_ERROR_CHARACTERS],
            )

    def refresh_keys(self, upstreams: Iterable[Upstream]) -> None:
        """Reads the key files of these providers that have changed."""
        for name in self._keys.refresh(upstreams):
            self._keyless.discard(name)
            self._log.event("info", "upstream_key_read", key_file=name)
        for name, news in self._pools.refresh(time.time()):
            self._keyless.discard(name)
            self._log.event(news.level, news.event, provider=name, message=news.message)

    def missing_keys(self, upstreams: Iterable[Upstream]) -> list[str]:
        """Returns which of these providers lack a file: a key, a certificate, credentials. Re-reads the files first."""
        upstreams = list(upstreams)
        self.refresh_keys(upstreams)
        return [
            upstream.name
            for upstream in upstreams
            if self._keys.line(upstream) is None or not self._pools.is_complete(upstream.origin)
        ]

    def open_connections(self) -> list[tuple[str, int]]:
        """Returns the number of connections per provider in force."""
        return self._pools.open_connections()
