"""A worker's end of the traffic port: it serves plain HTTP, TLS or nobody, and changes between them while calls run."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final, cast

from relay.calls.client_connections import ClientConnections
from relay.http.downstream import ClientConnection
from relay.http.tls import client_context
from relay.process.traffic.listening import BACKLOG

PLAIN: Final = "plain"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class Serving:
    """What the port is to serve. name is PLAIN, CLOSED or, with TLS, the digest of the certificate.

    certificate and key are PEM whose bytes are latin-1 characters.
    """

    name: str
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Makes the context of client connections; raises ssl.SSLError."""
        return client_context(self.certificate.encode("latin-1"), self.key.encode("latin-1"))


def mode_of(name: str) -> str:
    """Tells plain, closed and TLS apart, whatever the certificate; empty for a worker that serves nothing yet."""
    return name if name in (PLAIN, CLOSED, "") else "tls"


class _Refusal(asyncio.Protocol):
    """Ends a connection at once: TLS was asked for, and there is no certificate yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class TrafficPort:
    """Accepts connections from a listening socket that outlives every change: none that waits to be accepted is lost."""

    def __init__(
        self,
        listener: socket.socket,
        connections: ClientConnections,
        *,
        handshake_seconds: float,
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._handshake_seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._changes = asyncio.Lock()
        self._wanted: Serving | None = None
        self._server: asyncio.Server | None = None
        self._served: Serving | None = None
        self._is_closed = False

    def want(self, wanted: Serving) -> None:
        """Notes what is to be served from now on; nothing is served without TLS from this moment on unless it says so."""
        self._wanted = wanted
        self._connections.secure_only = wanted.name != PLAIN
        if wanted.name == PLAIN:
            return
        if self._served is not None and self._served.name == PLAIN:
            self._stop()
        self._connections.retire_plain()

    async def follow(self) -> str:
        """Serves what is wanted; returns the name of what is served then."""
        async with self._changes:
            while self._served != self._wanted and not self._is_closed:
                wanted = self._wanted
                assert wanted is not None
                server = await self._open(wanted)
                self._stop()
                self._server, self._served = server, wanted
            if self._is_closed:
                self._stop()
            return self._served.name if self._served is not None else CLOSED

    def close(self) -> None:
        """Accepts no more connections, whatever is wanted later."""
        self._is_closed = True
        self._stop()
        self._listener.close()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = self._served = None

    async def _open(self, wanted: Serving) -> asyncio.Server:
        # a duplicate: a server closes its socket
        listener = self._listener.dup()
        if wanted.name == CLOSED:
            return await self._loop.create_server(_Refusal, sock=listener, backlog=BACKLOG)
        tls = wanted.name != PLAIN
        return await self._loop.create_server(
            lambda: cast(asyncio.Protocol, ClientConnection(self._connections)),
            sock=listener,
            backlog=BACKLOG,
            ssl=wanted.context() if tls else None,
            ssl_handshake_timeout=self._handshake_seconds if tls else None,
        )
