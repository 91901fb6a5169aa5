"""`python -m bench.fleet.server PORT`: serves an API server in memory, and plays the controllers that a fleet meets.

Beside the API it takes what to do: POST /control/tenant, POST /control/copy?to=N, POST /control/merge, GET /control/state.
"""

import asyncio
import base64
import gc
import sys
from collections import Counter
from typing import Any

from aiohttp import web
from bench.fleet.controllers import Controllers
from bench.fleet.copies import Copies
from bench.fleet.fleet_server import FleetServer
from bench.fleet.http_api import HttpApi
from bench.tenants import objects
from tests.demo import stage

_MODEL = 0
"""The tenant that an operator brings up; all others are copies of it."""
_MOST_BYTES = 2**26
_YOUNG_OBJECTS = 200_000
_AT_ONCE = 50
_QUOTA = 10**6


class Control:
    """Answers the bench's own requests under /control: changes what the server holds, and tells its state."""

    def __init__(self, server: FleetServer, api: HttpApi) -> None:
        self._server, self._api = server, api

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/control/tenant", self._tenant),
            web.post("/control/copy", self._copy),
            web.post("/control/merge", self._merge),
            web.get("/control/state", self._state),
        ]

    async def _tenant(self, _: web.Request) -> web.Response:
        self._server.put(objects.tenant(_MODEL))
        return web.json_response({})

    async def _copy(self, request: web.Request) -> web.Response:
        """Copies the tenant that there is, until there are so many. No operator runs meanwhile."""
        copies = Copies(self._server, _MODEL, namespace=stage.OPERATOR_NAMESPACE)
        for number in range(_MODEL + 1, int(request.query["to"])):
            copies.add(number)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return web.json_response({})

    async def _merge(self, request: web.Request) -> web.Response:
        """Changes objects of a kind, one of each namespace that is named, as a user does."""
        asked: dict[str, Any] = await request.json()
        for space in asked["namespaces"]:
            key = asked["kind"], space, asked["name"]
            self._server.patch(key, asked["patch"], ("kubectl", "Update"))
        return web.json_response({})

    async def _state(self, _: web.Request) -> web.Response:
        """Tells how many Tenants and routes are ready, how many canaries have calls, and of the requests so far."""
        ready: Counter[str] = Counter()
        weighted = 0
        for kind in ("Tenant", "RelayRoute"):
            for one in self._server.list(kind):
                status = one.get("status", {})
                told = {entry["type"]: entry["status"] for entry in status.get("conditions", ())}
                ready[kind] += told.get("Ready") == "True"
                weighted += bool(status.get("weights", {}).get("canaryPercent"))
        state = {"ready": ready, "weighted": weighted, "requests": self._api.requests}
        return web.json_response(state)


def _a_cluster() -> FleetServer:
    server = FleetServer()
    namespace = {"name": stage.OPERATOR_NAMESPACE}
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    for one in objects.providers():
        if one["kind"] == "Provider":
            # all tenants share it, which is what costs an operator
            one["spec"]["limits"] = {"requestsPerMinute": _QUOTA}
        entries = one.pop("stringData", None)
        if entries is not None:
            one["data"] = {
                name: base64.b64encode(text.encode()).decode() for name, text in entries.items()
            }
        server.put(one)
    return server


async def main(port: int) -> None:
    """Serves until killed; prints a line when it does."""
    server = _a_cluster()
    api = HttpApi(server)
    app = web.Application(client_max_size=_MOST_BYTES)
    app.add_routes(Control(server, api).routes())
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await Controllers(server).run()


if __name__ == "__main__":
    gc.set_threshold(_YOUNG_OBJECTS, 50, 50)
    asyncio.run(main(int(sys.argv[1])))
