"""The control API, on its own port: read and change the behaviour, read and reset what was seen."""

import asyncio
from typing import Any

from aiohttp import web
from tests.simulator.behaviour import BehaviourRejected
from tests.simulator.connection import Connections
from tests.simulator.provider import Provider


class Control:
    """Handlers over one provider. Every answer is JSON."""

    def __init__(self, provider: Provider, connections: Connections) -> None:
        self._provider = provider
        self._connections = connections

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self.health),
                web.get("/behaviour", self.read_behaviour),
                web.put("/behaviour", self.change_behaviour),
                web.get("/stats", self.stats),
                web.get("/requests", self.requests),
                web.post("/reset", self.reset),
                web.post("/release", self.release),
            ]
        )
        return application

    async def health(self, _: web.Request) -> web.Response:
        """200 while the process lives."""
        return web.json_response({"status": "ok"})

    async def read_behaviour(self, _: web.Request) -> web.Response:
        """The behaviour in force."""
        return web.json_response(self._behaviour())

    async def change_behaviour(self, request: web.Request) -> web.Response:
        """Fields in the body change, others stay; 422 names the field that was refused."""
        try:
            behaviour = self._provider.behaviour.updated_from_json(await request.read())
        except BehaviourRejected as error:
            return web.json_response({"error": str(error)}, status=422)
        self._provider.behave(behaviour, now=_now())
        return web.json_response(self._behaviour())

    async def stats(self, _: web.Request) -> web.Response:
        """Counts since the last reset, and how many answers wait for POST /release."""
        held = len(self._connections.held)
        return web.json_response({**self._provider.records.as_json(), "held": held})

    async def requests(self, _: web.Request) -> web.Response:
        """The last requests, oldest first."""
        return web.json_response([record.as_json() for record in self._provider.records.last])

    async def reset(self, _: web.Request) -> web.Response:
        """As at the start of the process; answers in flight keep what they began with."""
        self._provider.reset(now=_now())
        return web.json_response({"released": self._connections.release()})

    async def release(self, _: web.Request) -> web.Response:
        """Everything held by hold_after_events goes on."""
        return web.json_response({"released": self._connections.release()})

    def _behaviour(self) -> dict[str, Any]:
        return self._provider.behaviour.model_dump(mode="json")


def _now() -> float:
    return asyncio.get_running_loop().time()
