"""One pool of connections per provider in force, and those of former documents while calls still use them."""

import time
from collections.abc import Iterable, Iterator

from relay.http.connecting.client_identity import ClientIdentity, News
from relay.http.connecting.inner_addresses import is_own
from relay.http.connecting.resolver import Resolver
from relay.http.connection_pool import Origin, Pool, PoolLimits
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.settings import Settings


class ProviderPools:
    """The connection pools of one worker.

    A pool whose provider is to be shown something that is not mounted yet has the former pool stand in: calls go on as
    before until it is there.
    """

    __slots__ = (
        "_current",
        "_directory",
        "_leaving",
        "_limits",
        "_outbox",
        "_resolver",
        "_stand_ins",
        "_wheel",
    )

    def __init__(self, settings: Settings, wheel: DeadlineWheel, outbox: Outbox) -> None:
        self._limits = _pool_limits(settings)
        self._directory = settings.upstream_keys_directory
        self._stand_ins: dict[str, Pool] = {}
        self._resolver = Resolver(settings.dns_ttl_seconds, is_own)
        self._wheel = wheel
        self._outbox = outbox
        self._current: dict[str, Pool] = {}
        self._leaving: list[Pool] = []

    def install(self, origins: Iterable[Origin]) -> None:
        """Keeps a pool for exactly these providers; one that has not changed keeps its connections."""
        pools: dict[str, Pool] = {}
        for origin in origins:
            former = self._current.pop(origin.name, None)
            if former is not None and former.origin == origin:
                pools[origin.name] = former
                continue
            pool = pools[origin.name] = self._new(origin)
            if former is not None:
                self._replace(former, pool)
        for gone in self._current.values():
            self._retire(gone)
        self._current = pools
        for name in self._stand_ins.keys() - pools.keys():
            self._retire(self._stand_ins.pop(name))

    def _replace(self, former: Pool, pool: Pool) -> None:
        """Lets the former pool serve on until the new one has everything that it shows."""
        name = pool.origin.name
        stand_in = self._stand_ins.pop(name, None)
        if stand_in is not None:
            self._retire(former)
            former = stand_in
        if pool.identity.is_complete or not former.identity.is_complete:
            self._retire(former)
        else:
            self._stand_ins[name] = former

    def of(self, origin: Origin) -> Pool:
        """Returns the origin's pool, also for a call whose snapshot named a provider that the one in force does not."""
        pool = self._current.get(origin.name)
        if pool is not None and (pool.origin is origin or pool.origin == origin):
            return self._stand_ins.get(origin.name, pool) if self._stand_ins else pool
        for leaving in self._leaving:
            if leaving.origin == origin:
                return leaving
        pool = self._new(origin)
        for _ in pool.identity.refresh(time.time()):
            pass  # told already, when this provider was in force
        self._retire(pool)
        return pool

    def tend(self, now: float) -> None:
        """Replaces idle connections that are due; call it about once a second."""
        for pool in self._current.values():
            pool.tend(now)
        self._leaving = [pool for pool in self._leaving if not pool.closed]

    def refresh(self, now: float) -> Iterator[tuple[str, News]]:
        """Reads what is to be shown to providers and has changed; tells by provider what there is to log."""
        for name, pool in self._current.items():
            for news in pool.identity.refresh(now):
                yield name, news
            if self._stand_ins and pool.identity.is_complete and name in self._stand_ins:
                self._retire(self._stand_ins.pop(name))

    def is_complete(self, origin: Origin) -> bool:
        """Returns whether everything is there that this provider is to be shown."""
        pool = self._current.get(origin.name)
        return pool is not None and pool.identity.is_complete

    def errors(self) -> Iterator[tuple[str, str]]:
        """Takes the last reason for which a connection could not be made, of each provider that has one."""
        for name, pool in self._current.items():
            error, pool.last_error = pool.last_error, ""
            if error:
                yield name, error

    def open_connections(self) -> list[tuple[str, int]]:
        """Returns the number of connections per provider in force."""
        return [(name, pool.open_connections()) for name, pool in self._current.items()]

    @property
    def leaving(self) -> int:
        """The number of pools of former documents that still have connections."""
        return len(self._leaving)

    def _new(self, origin: Origin) -> Pool:
        identity = ClientIdentity(
            self._directory,
            ca_bundle=origin.ca_bundle,
            uses_tls=origin.scheme == "https",
            certificate_files=origin.certificate_files,
            credentials_file=origin.proxy.credentials_file if origin.proxy is not None else None,
        )
        return Pool(
            origin,
            limits=self._limits,
            resolver=self._resolver,
            identity=identity,
            wheel=self._wheel,
            outbox=self._outbox,
        )

    def _retire(self, pool: Pool) -> None:
        pool.close()
        self._leaving.append(pool)


def _pool_limits(settings: Settings) -> PoolLimits:
    return PoolLimits(
        connect_timeout=settings.connect_timeout_seconds,
        keepalive=settings.upstream_keepalive_seconds,
        age=settings.upstream_age_seconds,
        warm=settings.upstream_warm_connections,
    )
