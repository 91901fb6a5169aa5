"""Many simulated providers in one process: `python -m tests.simulator.fleet --names one,two --first-port 9100`.

The first name is served on the first port, the next on the next. Each has the control API of a provider under its name on the
control port, such as /one/behaviour.
"""

import argparse
import asyncio
import signal

import uvloop
from aiohttp import web
from tests.simulator.behaviour import Behaviour
from tests.simulator.connection import Connection, Connections
from tests.simulator.control import Control
from tests.simulator.provider import Provider

BACKLOG = 1024


async def serve(
    names: list[str], *, behaviour: Behaviour, first_port: int, control_port: int
) -> None:
    """Serves until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    control = web.Application()
    for port, name in enumerate(names, first_port):
        control.add_subapp(f"/{name}", await _provider(behaviour, port))
    runner = web.AppRunner(control, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", control_port).start()
    await stopping.wait()
    await runner.cleanup()


async def _provider(behaviour: Behaviour, port: int) -> web.Application:
    """Opens the port of a provider; returns its control API."""
    loop = asyncio.get_running_loop()
    provider = Provider(
        behaviour, recorded_requests=0, allow_override=False, seed=None, now=loop.time()
    )
    connections = Connections()
    await loop.create_server(
        lambda: Connection(provider, connections, loop), "0.0.0.0", port, backlog=BACKLOG
    )
    return Control(provider, connections).application()


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.fleet")
    parser.add_argument("--names", required=True, help="names of the providers, comma-separated")
    parser.add_argument("--first-port", type=int, default=9100)
    parser.add_argument("--control-port", type=int, default=9001)
    parser.add_argument("--behaviour", default="{}", help="how all of them begin, as JSON")
    arguments = parser.parse_args()
    uvloop.run(
        serve(
            arguments.names.split(","),
            behaviour=Behaviour().updated_from_json(arguments.behaviour.encode()),
            first_port=arguments.first_port,
            control_port=arguments.control_port,
        )
    )


if __name__ == "__main__":
    main()
