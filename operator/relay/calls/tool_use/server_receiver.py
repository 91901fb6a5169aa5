"""The connection of one message to a tool server, until its answer is read or nobody wants it."""

import time
from abc import abstractmethod

from relay.calls.attempts.provider_access import ProviderAccess
from relay.http.connection_pool import Origin, Pool
from relay.http.upstream import Fault, ResponseReceiver, UpstreamConnection


class ServerReceiver(ResponseReceiver):
    """Sends its message again, once, where the server was closing an idle connection and has not a byte of it."""

    __slots__ = ("_connection", "_is_over", "_is_sent_twice", "_pool", "_providers")

    def __init__(self, providers: ProviderAccess) -> None:
        self._providers = providers
        self._connection: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self._is_over = self._is_sent_twice = False

    def _acquire(self, origin: Origin) -> None:
        """Sends the message as soon as there is a connection."""
        self._pool = self._providers.pool(origin)
        self._pool.acquire(self, time.monotonic())

    @abstractmethod
    def _lost(self) -> None:
        """Called when there will be no answer, or not the rest of one; not after the end."""

    def pause(self) -> None:
        """Stops reading the server for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Reads the server again."""
        if self._connection is not None:
            self._connection.resume()

    def failed(self, fault: Fault) -> None:
        if self._is_over:
            return
        self._connection = None
        pool = self._pool
        if fault == "undelivered" and pool is not None and not self._is_sent_twice:
            self._is_sent_twice = True
            pool.acquire_new(self)
        else:
            self._lost()

    def _let_go(self) -> None:
        """Drops a connection that is not free by itself."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
