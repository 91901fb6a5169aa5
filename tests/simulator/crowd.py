"""The applications of many tenants in one process: lanes of calls, each at a steady rate of its own.

`python -m tests.simulator.crowd --control-port 9001`. PUT /lanes says who calls what, GET /totals how it went.
"""

import argparse
import asyncio
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from tests.simulator.caller import MAX_RATE, Caller, client_session

LONGEST_PAUSE_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 1.0
"""Calls that a busy machine delays for longer are left out, or the rest would come ever later."""


class Lane(BaseModel):
    """One application: whom it calls, with which key, how often, and how many of its calls are streamed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    key: str
    model: str
    rate: Annotated[float, Field(gt=0, le=MAX_RATE)]
    stream_percent: Annotated[int, Field(ge=0, le=100)] = 50


LANES: TypeAdapter[dict[str, Lane]] = TypeAdapter(dict[str, Lane])


class Crowd:
    """The lanes that call now. Totals of a lane go on while it stays the same."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._running: dict[str, tuple[Lane, Caller, asyncio.Task[None]]] = {}

    def set_lanes(self, lanes: Mapping[str, Lane]) -> None:
        """Starts and ends lanes, so that these call; calls under way end by themselves."""
        for name in list(self._running):
            lane, _, task = self._running[name]
            if lanes.get(name) != lane:
                task.cancel()
                del self._running[name]
        for name, lane in lanes.items():
            if name not in self._running:
                caller = Caller(
                    self._session,
                    url=lane.url,
                    model=lane.model,
                    key=lane.key,
                    stream_percent=lane.stream_percent,
                )
                task = asyncio.create_task(_call_steadily(caller, lane.rate))
                self._running[name] = (lane, caller, task)

    def totals(self) -> dict[str, Any]:
        """Returns the counts of each lane since it began."""
        return {name: asdict(caller.totals) for name, (_, caller, _) in self._running.items()}


async def _call_steadily(caller: Caller, rate: float) -> None:
    """Makes calls on schedule until cancelled, a little late if the machine is busy."""
    due = time.monotonic()
    while True:
        now = time.monotonic()
        due = max(due, now - LONGEST_DELAY_SECONDS)
        while due <= now:
            caller.start_call()
            due += 1 / rate
        await asyncio.sleep(min(max(due - now, 0.0), LONGEST_PAUSE_SECONDS))


def application(crowd: Crowd) -> web.Application:
    """Returns the control API."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def totals(_: web.Request) -> web.Response:
        return web.json_response({"at": time.time(), "lanes": crowd.totals()})

    async def set_lanes(request: web.Request) -> web.Response:
        crowd.set_lanes(LANES.validate_json(await request.read()))
        return web.json_response({"at": time.time()})

    made = web.Application()
    made.add_routes(
        [web.get("/healthz", health), web.get("/totals", totals), web.put("/lanes", set_lanes)]
    )
    return made


async def serve(control_port: int) -> None:
    """Calls and answers the control port until SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with client_session() as session:
        crowd = Crowd(session)
        runner = web.AppRunner(application(crowd), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", control_port).start()
        await stopping.wait()
        crowd.set_lanes({})
        await runner.cleanup()


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.crowd")
    parser.add_argument("--control-port", type=int, default=9001)
    asyncio.run(serve(parser.parse_args().control_port))


if __name__ == "__main__":
    main()
