"""Keep-alive connections to one provider: reused last in first out, and opened in advance."""

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import cast

from relay.http.connecting.address_race import AddressRace, Connector
from relay.http.connecting.client_identity import ClientIdentity
from relay.http.connecting.proxy_tunnel import ProxyAddress, authority, connect_through
from relay.http.connecting.resolver import Resolver
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.http.upstream import ConnectionOwner, ResponseReceiver, UpstreamConnection


@dataclass(frozen=True, slots=True)
class Origin:
    """The destination of connections, and what is peculiar to them.

    Two providers with the same address still get separate pools, because the name is part of the key. keepalive is the time
    for which an idle one is kept, in seconds; None leaves it to the pool's limits. certificate_files are those of the
    certificate that the provider is shown and of its key.
    """

    name: str
    scheme: str
    host: str
    port: int
    ca_bundle: str | None
    keepalive: float | None = None
    proxy: ProxyAddress | None = None
    certificate_files: tuple[str, str] | None = None

    @property
    def tls_name(self) -> str:
        """Returns the name in the provider's certificate, which has no dot at its end (RFC 6066 section 3)."""
        return self.host.removesuffix(".")

    @property
    def shows_secrets(self) -> bool:
        """Returns whether connections need more than the provider's address: a certificate, or credentials for a proxy."""
        proxy = self.proxy
        return self.certificate_files is not None or (
            proxy is not None and proxy.credentials_file is not None
        )


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of a pool; times in seconds."""

    connect_timeout: float
    keepalive: float
    age: float
    warm: int


class Pool(ConnectionOwner, Connector):
    """Connections to one provider. A call that finds none idle opens one; the first one free serves the oldest call.

    The tenant's queue bounds the calls in flight, so the pool does not: a limit here would be a second, unfair queue.
    """

    __slots__ = (
        "_closed",
        "_idle",
        "_keepalive",
        "_limits",
        "_open",
        "_opening",
        "_resolver",
        "_waiting",
        "_warm",
        "identity",
        "last_error",
        "origin",
        "outbox",
        "wheel",
    )

    def __init__(
        self,
        origin: Origin,
        *,
        limits: PoolLimits,
        resolver: Resolver,
        identity: ClientIdentity,
        wheel: DeadlineWheel,
        outbox: Outbox,
    ) -> None:
        self.origin = origin
        self._limits = limits
        self._keepalive = limits.keepalive if origin.keepalive is None else origin.keepalive
        # a connection that waits for its call would be too old before it is replaced
        self._warm = limits.warm if self._keepalive >= 1 else 0
        self._resolver = resolver
        self.identity = identity
        self.wheel = wheel
        self.outbox = outbox
        self._idle: deque[UpstreamConnection] = deque()
        self._open: set[UpstreamConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[ResponseReceiver] = deque()
        self._closed = False
        self.last_error = ""

    def acquire(self, call: ResponseReceiver, now: float) -> None:
        """Gets a connection: calls `connected` or `failed` on the receiver, perhaps before this returns."""
        while self._idle:
            connection = self._idle.pop()
            if not self._is_stale(connection, now) and connection.usable:
                call.connected(connection, now)
                return
            connection.close()
        self.acquire_new(call)

    def acquire_new(self, call: ResponseReceiver) -> None:
        """Gets a connection that was not idle: a new one, or one that has just answered another call."""
        self._waiting.append(call)
        self._start_opening(warming=False)

    def _is_stale(self, connection: UpstreamConnection, now: float) -> bool:
        """Returns whether the provider may be about to close the idle connection."""
        return now - connection.idle_since > min(self._keepalive, connection.idle_seconds)

    def cancel(self, call: ResponseReceiver) -> None:
        """Stops waiting; a connection that is being opened for the receiver will serve another."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(call)

    def release(self, connection: UpstreamConnection, now: float) -> None:
        if connection.transport.is_closing():
            return
        if self._closed or now - connection.born > self._limits.age or self._is_used_up(connection):
            connection.close()
        elif self._waiting:
            call = self._waiting.popleft()
            try:
                call.connected(connection, now)
            except Exception as raised:  # the call's own fault: the pool serves the others
                call.crashed(raised)
        else:
            connection.idle_since = now
            self._idle.append(connection)

    def _is_used_up(self, connection: UpstreamConnection) -> bool:
        """Returns whether the connection has had its one call."""
        return not self._keepalive and connection.served

    def lost(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def tend(self, now: float) -> None:
        """Closes idle connections past their time and replaces the warm ones; call it every second."""
        while self._idle and self._is_stale(self._idle[0], now):
            self._idle.popleft().close()
        if self._closed or not self.identity.is_complete:
            return
        missing = self._warm - len(self._idle) - len(self._opening)
        # an unreachable provider is tried once a second, not in a burst
        if missing > 0 and not self._waiting:
            self._start_opening(warming=True)

    def close(self) -> None:
        """Closes idle connections, and the others when their calls end; waiting calls are still served."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @property
    def closed(self) -> bool:
        """Returns whether the pool is closed and its last connection gone."""
        return self._closed and not self._open and not self._opening

    def open_connections(self) -> int:
        """Returns the number of open connections."""
        return len(self._open)

    def _start_opening(self, *, warming: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._open_one(warming=warming))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_one(self, *, warming: bool) -> None:
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                connection = await self._connect()
            if not connection.usable:
                raise ConnectionResetError("closed by the provider at once")
        except (OSError, TimeoutError, ValueError) as error:
            # ssl.SSLError is an OSError; a host name that cannot be encoded raises ValueError
            self._note(error)
            if not warming and self._waiting:
                call = self._waiting.popleft()
                try:
                    call.failed("unreachable")
                except Exception as raised:  # as in release
                    call.crashed(raised)
            return
        self.adopt(connection)

    def _note(self, error: Exception) -> None:
        proxy = self.origin.proxy
        timed_out = isinstance(error, TimeoutError) and not str(error)
        words = f"no answer within {self._limits.connect_timeout:g} s" if timed_out else str(error)
        through = (
            f"through proxy {authority(proxy.host, proxy.port)}: " if proxy is not None else ""
        )
        self.last_error = through + (words or type(error).__name__)

    def adopt(self, connection: UpstreamConnection) -> None:
        """Adds an open connection, ready for a call."""
        self._open.add(connection)
        self.release(connection, time.monotonic())

    async def _connect(self) -> UpstreamConnection:
        origin, proxy = self.origin, self.origin.proxy
        # behind a proxy the relay needs no address of the provider, and may know none
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        addresses = await self._resolver.addresses(host, port)
        if len(addresses) == 1:
            return await self.connect_to(addresses[0])
        winner = await AddressRace(self, addresses).run()
        self._resolver.avoid(host, port, winner.beaten)
        return winner.connection

    async def connect_to(self, address: str) -> UpstreamConnection:
        connection = UpstreamConnection(self)
        origin, tls = self.origin, self.identity.tls
        if origin.proxy is not None and tls is not None:
            await connect_through(
                connection,
                address=address,
                port=origin.proxy.port,
                target=(origin.host, origin.port),
                tls_name=origin.tls_name,
                authorization=self.identity.proxy_authorization,
                tls=tls,
            )
            return connection
        await asyncio.get_running_loop().create_connection(
            lambda: cast(asyncio.Protocol, connection),
            address,
            origin.port,
            ssl=tls,
            server_hostname=origin.tls_name if tls is not None else None,
        )
        return connection
