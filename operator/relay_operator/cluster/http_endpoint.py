"""The operator's own HTTP port: health, its metrics, and the relays for Prometheus (HTTP service discovery)."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY

from relay_contract import endpoints
from relay_operator import names
from relay_operator.cluster.discovery.targets import ALL, SLO, Scrape, Targets
from relay_operator.cluster.metrics import exposition

_SHUTDOWN_SECONDS = 1.0
"""Scrapers keep their connections open; the shutdown does not wait for them."""


class OperatorEndpoint:
    """Serves until stopped. ailment() says why the process had better be restarted; nothing while it is well.

    Until ready is set discovery gives no list, since Prometheus would drop every target that is missing in one. It keeps
    those that it had when it is given none.
    """

    def __init__(
        self,
        *,
        targets: Callable[[], Targets],
        ailment: Callable[[], str],
        ready: asyncio.Event,
        port: int,
    ) -> None:
        self._targets = targets
        self._ailment = ailment
        self._ready = ready
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Opens the port."""
        # nobody reads a body here; a compressed one would be unpacked all the same before it is dropped
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        """Closes the port; without effect before start()."""
        if self._runner is not None:
            await self._runner.cleanup()

    def application(self) -> web.Application:
        """Returns the paths and their handlers."""
        app = web.Application()
        app.router.add_get(names.DISCOVERY_PATH, self._relays)
        app.router.add_get(names.SLO_DISCOVERY_PATH, self._slo_relays)
        app.router.add_get(endpoints.METRICS_PATH, self._metrics)
        app.router.add_get(endpoints.HEALTH_PATH, self._health)
        app.router.add_get(endpoints.READY_PATH, self._readiness)
        return app

    async def _relays(self, _: web.Request) -> web.Response:
        return self._discovered(ALL)

    async def _slo_relays(self, _: web.Request) -> web.Response:
        return self._discovered(SLO)

    def _discovered(self, scrape: Scrape) -> web.Response:
        if not self._ready.is_set():
            return _not_ready()
        answer = self._targets().answer(scrape)
        return web.Response(body=answer, content_type="application/json", charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.Response:
        named = request.query.getall("name[]", [])
        text = await exposition.written(REGISTRY.restricted_registry(named) if named else REGISTRY)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, _: web.Request) -> web.Response:
        ailment = self._ailment()
        return web.Response(text=f"{ailment or 'ok'}\n", status=503 if ailment else 200)

    async def _readiness(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self._ready.is_set() else _not_ready()


def _not_ready() -> web.Response:
    return web.Response(text="initial list of resources is not complete\n", status=503)
