"""Serves an application on a port, with bounds on its connections."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

from aiohttp import StreamReader, web

from relay_contract.descriptor_limit import raise_descriptor_limit
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.ingest.listening.connections import Connection, Connections, Phase, places
from relay_ledger.settings import Settings

LOOK_SECONDS: Final = 1.0
BACKLOG: Final = 1024
"""Connections that wait to be taken; a burst of them is not to keep relays' out."""
MAX_HEADERS: Final = 64
MAX_FIELD_BYTES: Final = 4096


class BoundedHandler(web.RequestHandler):
    """The library's connection, with notes of what it does."""

    __slots__ = ("_body", "_connection", "_connections")

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self._connection: Connection | None = None
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or ends it."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        super().connection_made(transport)
        self._connection = self._connections.admit(self, address)
        if self._connection is None:
            self.end()

    def data_received(self, data: bytes) -> None:
        """Notes that a head begins; what is left of a body that was answered early is none."""
        connection = self._connection
        # the library calls this without data to go on with what it has
        begins = bool(data) and (self._body is None or self._body.is_eof())
        if begins and connection is not None and connection.phase is Phase.IDLE:
            self._connections.moves_to(connection, Phase.HEAD)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Lets its place go."""
        if self._connection is not None:
            self._connections.leaves(self._connection)
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the answer, and notes that the next request is waited for."""
        self._body = request.content
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self.moves_to(Phase.IDLE)

    def moves_to(self, phase: Phase) -> None:
        """Notes that its request is in hand, or answered."""
        if self._connection is not None:
            self._connections.moves_to(self._connection, phase)

    def end(self) -> None:
        """Ends the connection at once."""
        if self.transport is not None:
            self.transport.abort()


@asynccontextmanager
async def listening(
    application: web.Application,
    host: str,
    port: int,
    drain_seconds: float,
    *,
    settings: Settings,
    metrics: LedgerMetrics,
    log: LedgerLog,
) -> AsyncIterator[int]:
    """Serves on a port and yields its number; at the end answers what is in hand, in bounded time."""

    def ended(reason: str, address: str) -> None:
        metrics.connection_ended(reason)
        log.repeated("connection_ended", by=("reason",), reason=reason, address=address)

    most, most_per_address = places(
        raise_descriptor_limit(),
        most=settings.max_connections,
        most_per_address=settings.connections_per_address,
    )
    connections = Connections(most=most, most_per_address=most_per_address, ended=ended)
    application.middlewares.append(_noted)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        server, loop = runner.server, asyncio.get_running_loop()
        assert server is not None
        # a kernel without IPv6 knows no "::"
        listen = host if host != "::" or socket.has_dualstack_ipv6() else "0.0.0.0"
        listener = await loop.create_server(
            lambda: BoundedHandler(
                connections,
                server,
                loop=loop,
                access_log=None,
                # a compressed body would unpack to more than its sender paid for, with a token or without
                auto_decompress=False,
                max_headers=MAX_HEADERS,
                max_field_size=MAX_FIELD_BYTES,
            ),
            None if listen == "::" else listen,
            port,
            backlog=BACKLOG,
        )
        looking = asyncio.create_task(_looking(connections))
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
    finally:
        await runner.cleanup()


@web.middleware
async def _noted(request: web.Request, handler: Any) -> web.StreamResponse:
    """Notes that a head is there."""
    cast(BoundedHandler, request.protocol).moves_to(Phase.REQUEST)
    return cast(web.StreamResponse, await handler(request))


async def _looking(connections: Connections) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        connections.look()
