"""Starts the simulator: `python -m tests.simulator --port 9000 --control-port 9001`."""

import asyncio
import contextlib
import json
import logging
import signal
import ssl
import sys
from pathlib import Path
from typing import TextIO

import uvloop
from aiohttp import web
from pydantic_settings import CliApp
from tests.simulator.connection import Connection, Connections
from tests.simulator.control import Control
from tests.simulator.provider import Provider
from tests.simulator.settings import Settings

BACKLOG = 4096


def main(arguments: list[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = CliApp.run(Settings, cli_args=sys.argv[1:] if arguments is None else arguments)
    with contextlib.ExitStack() as files:
        uvloop.run(serve(settings, journal=_journal(settings.journal, files)))


def _journal(path: Path | None, files: contextlib.ExitStack) -> TextIO | None:
    # a line at a time, so that who reads it sees whole entries
    return files.enter_context(path.open("a", buffering=1)) if path else None


async def serve(settings: Settings, *, journal: TextIO | None = None) -> None:
    """Serves both ports; prints a ready line once they are open, and returns once drained."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    provider = Provider(
        settings.behaviour(),
        recorded_requests=settings.recorded_requests,
        allow_override=settings.allow_header_override,
        seed=settings.seed,
        now=loop.time(),
        journal=journal,
    )
    connections = Connections()
    server = await loop.create_server(
        lambda: Connection(provider, connections, loop),
        settings.host,
        settings.port,
        backlog=BACKLOG,
        ssl=_tls(settings),
    )
    runner = web.AppRunner(Control(provider, connections).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, settings.control_host, settings.control_port)
    await site.start()
    ready = {
        "event": "ready",
        "port": server.sockets[0].getsockname()[1],
        "control_port": runner.addresses[0][1],
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stopping.wait()
    server.close()
    await _drained(connections, settings.drain_seconds)
    await runner.cleanup()


async def _drained(connections: Connections, seconds: float) -> None:
    connections.drain()
    try:
        await asyncio.wait_for(connections.emptied.wait(), timeout=seconds)
    except TimeoutError:
        for connection in tuple(connections.open):
            connection.transport.abort()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_client_ca is not None:
        context.load_verify_locations(settings.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


if __name__ == "__main__":
    main()
