"""One pool of connections per provider in force, and those of former documents while calls still use them."""

from collections.abc import Iterable

from relay.http.connection_pool import Origin, Pool, PoolLimits
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.http.resolver import Resolver
from relay.http.tls import provider_context
from relay.settings import Settings


class ProviderPools:
    """The connection pools of one worker."""

    __slots__ = ("_current", "_leaving", "_limits", "_outbox", "_resolver", "_wheel")

    def __init__(self, settings: Settings, wheel: DeadlineWheel, outbox: Outbox) -> None:
        self._limits = _pool_limits(settings)
        self._resolver = Resolver(settings.dns_ttl_seconds)
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
            if former is not None:
                self._retire(former)
            pools[origin.name] = self._new(origin)
        for pool in self._current.values():
            self._retire(pool)
        self._current = pools

    def of(self, origin: Origin) -> Pool:
        """Returns the origin's pool, also for a call whose snapshot named a provider that the one in force does not."""
        pool = self._current.get(origin.name)
        if pool is not None and (pool.origin is origin or pool.origin == origin):
            return pool
        for leaving in self._leaving:
            if leaving.origin == origin:
                return leaving
        pool = self._new(origin)
        self._retire(pool)
        return pool

    def tend(self, now: float) -> None:
        """Replaces idle connections that are due; call it about once a second."""
        for pool in self._current.values():
            pool.tend(now)
        self._leaving = [pool for pool in self._leaving if not pool.closed]

    def open_connections(self) -> list[tuple[str, int]]:
        """Returns the number of connections per provider in force."""
        return [(name, pool.open_connections()) for name, pool in self._current.items()]

    @property
    def leaving(self) -> int:
        """The number of pools of former documents that still have connections."""
        return len(self._leaving)

    def _new(self, origin: Origin) -> Pool:
        tls = provider_context(origin.ca_bundle) if origin.scheme == "https" else None
        return Pool(
            origin,
            limits=self._limits,
            resolver=self._resolver,
            tls=tls,
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
