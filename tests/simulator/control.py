"""The control API on its own port: reads and changes the behaviour, reads and resets records."""

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
        """Returns the application with its routes."""
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
        """Answers 200 while the process lives."""
        return web.json_response({"status": "ok"})

    async def read_behaviour(self, _: web.Request) -> web.Response:
        """Returns the behaviour in force."""
        return web.json_response(self._behaviour())

    async def change_behaviour(self, request: web.Request) -> web.Response:
        """Changes the fields in the body; answers 422 with the name of a field that was refused."""
        try:
            behaviour = self._provider.behaviour.updated_from_json(await request.read())
        except BehaviourRejected as error:
            return web.json_response({"error": str(error)}, status=422)
        self._provider.behave(behaviour, now=_now())
        return web.json_response(self._behaviour())

    async def stats(self, _: web.Request) -> web.Response:
        """Returns counts since the last reset, and how many answers wait for POST /release."""
        held = len(self._connections.held)
        return web.json_response({**self._provider.records.as_json(), "held": held})

    async def requests(self, _: web.Request) -> web.Response:
        """Returns the last requests, oldest first."""
        return web.json_response([record.as_json() for record in self._provider.records.last])

    async def reset(self, _: web.Request) -> web.Response:
        """Resets to the state at the start of the process; answers in flight keep what they began with."""
        self._provider.reset(now=_now())
        return web.json_response({"released": self._connections.release()})

    async def release(self, _: web.Request) -> web.Response:
        """Releases everything held by hold_after_events."""
        return web.json_response({"released": self._connections.release()})

    def _behaviour(self) -> dict[str, Any]:
        return self._provider.behaviour.model_dump(mode="json")


def _now() -> float:
    return asyncio.get_running_loop().time()
