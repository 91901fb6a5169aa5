"""The admin port: probes, metrics and document pushes. Only the operator, Prometheus and the kubelet reach it."""

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from relay.accounting.metric_catalogue import Page
from relay.accounting.metric_report import render, render_gauge
from relay.process.admin_connections import AdminConnections
from relay.process.pod_state.waited_state import WaitedState
from relay.process.supervisor import NotProgrammed, Supervisor
from relay.process.traffic.listening import listening_socket
from relay.settings import Settings
from relay_contract.document import MAX_DOCUMENT_BYTES
from relay_contract.endpoints import (
    BREAKERS_PATH,
    CONFIG_PATH,
    HEALTH_PATH,
    ISOLATION_PATH,
    LEADER_HEADER,
    METRICS_PATH,
    PREFLIGHTS_PATH,
    PROVIDER_PROBE_PATH,
    QUOTA_USE_PATH,
    READY_PATH,
    SLO_METRICS_PATH,
)
from relay_contract.isolation_probe import MAX_REQUEST_BYTES, ProbeRefused
from relay_contract.seal import DocumentRejected

STATUSES: Final[Mapping[str, HTTPStatus]] = {
    "bad_envelope": HTTPStatus.BAD_REQUEST,
    "bad_signature": HTTPStatus.FORBIDDEN,
    "wrong_tenant": HTTPStatus.FORBIDDEN,
    "stale_epoch": HTTPStatus.CONFLICT,
    "stale_generation": HTTPStatus.CONFLICT,
    "conflicting_generation": HTTPStatus.CONFLICT,
    "invalid_document": HTTPStatus.UNPROCESSABLE_ENTITY,
}
PROBE_STATUSES: Final[Mapping[str, HTTPStatus]] = {
    "bad_envelope": HTTPStatus.BAD_REQUEST,
    "bad_signature": HTTPStatus.FORBIDDEN,
    "bad_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "wrong_tenant": HTTPStatus.FORBIDDEN,
    "stale_challenge": HTTPStatus.CONFLICT,
    "busy": HTTPStatus.TOO_MANY_REQUESTS,
}
MAX_NAME: Final = 253
MAX_ENVELOPE_BYTES: Final = 2 * MAX_DOCUMENT_BYTES
"""The document inside is a string of JSON, in which a byte may take two."""
SHUTDOWN_SECONDS: Final = 1.0
"""Longest that an answer under way holds up the exit, once the last call has ended."""
_TEXT: Final = {"content-type": "text/plain; version=0.0.4; charset=utf-8"}


class Admin:
    """The routes; everything they know they ask the supervisor."""

    def __init__(self, supervisor: Supervisor, connections: AdminConnections) -> None:
        self._supervisor = supervisor
        self._connections = connections
        self._started = time.time()

    def application(self) -> web.Application:
        """Makes the application."""
        application = web.Application(middlewares=[self._watched])
        application.add_routes(
            [
                web.get(HEALTH_PATH, self._health),
                web.get(READY_PATH, self._ready),
                web.get(METRICS_PATH, self._metrics),
                web.get(SLO_METRICS_PATH, self._slo_metrics),
                web.get(BREAKERS_PATH, self._breakers),
                web.get(PREFLIGHTS_PATH, self._preflights),
                web.get(QUOTA_USE_PATH, self._quota_use),
                web.get(ISOLATION_PATH, self._challenge),
                web.post(ISOLATION_PATH, self._probe_isolation),
                web.get(PROVIDER_PROBE_PATH, self._probe_provider),
                web.get(CONFIG_PATH, self._config),
                web.put(CONFIG_PATH, self._push),
            ]
        )
        return application

    @web.middleware
    async def _watched(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.can_read_body:
            self._connections.answering(request.transport)
        try:
            return await handler(request)
        finally:
            self._connections.answered(request.transport)

    async def _health(self, _: web.Request) -> web.Response:
        stuck = self._supervisor.stuck_workers()
        if not stuck:
            return web.Response(text="ok\n")
        text = f"workers that do not answer: {', '.join(map(str, stuck))}\n"
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text)

    async def _ready(self, _: web.Request) -> web.Response:
        reason = self._supervisor.unready_reason()
        if reason is None:
            return web.Response(text="ready\n")
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=reason + "\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return await self._page("metrics")

    async def _slo_metrics(self, _: web.Request) -> web.Response:
        return await self._page("slo")

    async def _page(self, page: Page) -> web.Response:
        text = render(await self._supervisor.metrics(), page)
        acknowledgement = self._supervisor.acknowledgement()
        text += render_gauge(
            "relay_document_generation",
            "Generation every worker runs, 0 for none.",
            acknowledgement.generation,
        )
        text += render_gauge(
            "process_start_time_seconds", "Start of this relay since the epoch.", self._started
        )
        served = acknowledgement.tls
        if served is not None:
            text += render_gauge(
                "relay_tls_certificate_expiration_timestamp_seconds",
                "End of the time of the certificate that callers are served with, since the epoch; 0 while none is.",
                served.not_after,
            )
        return web.Response(body=text.encode(), headers=_TEXT)

    async def _breakers(self, request: web.Request) -> web.Response:
        return await self._once_changed(request, self._supervisor.open_breakers)

    async def _preflights(self, request: web.Request) -> web.Response:
        return await self._once_changed(request, self._supervisor.preflights)

    async def _quota_use(self, request: web.Request) -> web.Response:
        return await self._once_changed(request, self._supervisor.quota_use)

    async def _probe_provider(self, request: web.Request) -> web.Response:
        name, stream = request.query.get("provider", ""), request.query.get("stream", "")
        if not 0 < len(name) <= MAX_NAME or len(stream) > MAX_NAME:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text="which provider?\n")
        found = await self._supervisor.provider_probing.probe(name, stream)
        return _json(found.model_dump(mode="json", by_alias=True))

    async def _challenge(self, _: web.Request) -> web.Response:
        return _json({"challenge": self._supervisor.isolation.challenge})

    async def _probe_isolation(self, request: web.Request) -> web.Response:
        self._connections.reading_body(request.transport)
        try:
            envelope = await _body(request, MAX_REQUEST_BYTES)
            self._connections.answering(request.transport)
            answer = await self._supervisor.isolation.answer(envelope)
        except ProbeRefused as error:
            told = {"error": {"code": error.code, "message": str(error)}}
            return _json(told, PROBE_STATUSES[error.code])
        return _json(answer.model_dump(mode="json", by_alias=True))

    async def _once_changed(self, request: web.Request, state: WaitedState) -> web.Response:
        answer = await state.answer_once_changed(
            request.query.get("seen", ""), seconds=_seconds(request.query.get("wait", "0"))
        )
        return _json(answer)

    async def _config(self, _: web.Request) -> web.Response:
        return await self._acknowledged()

    async def _push(self, request: web.Request) -> web.Response:
        self._connections.reading_body(request.transport)
        try:
            envelope = await _body(request, MAX_ENVELOPE_BYTES)
            self._connections.answering(request.transport)
            shown = request.headers.get(LEADER_HEADER, "")
            await self._supervisor.offer(envelope, source="push", shown=shown)
        except DocumentRejected as error:
            return self._refused(STATUSES[error.code], error.code, str(error))
        except NotProgrammed as error:
            return self._refused(HTTPStatus.SERVICE_UNAVAILABLE, "not_programmed", str(error))
        except web.HTTPRequestEntityTooLarge:
            message = f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes"
            return self._refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "bad_envelope", message)
        return await self._acknowledged()

    async def _acknowledged(self) -> web.Response:
        acknowledgement = await self._supervisor.acknowledged()
        return web.Response(
            text=acknowledgement.model_dump_json(by_alias=True), content_type="application/json"
        )

    def _refused(self, status: HTTPStatus, code: str, message: str) -> web.Response:
        answer: dict[str, object] = {
            "error": {"code": code, "message": message},
            **self._supervisor.acknowledgement().model_dump(by_alias=True),
        }
        accepted = self._supervisor.accepted
        if status is HTTPStatus.CONFLICT and accepted is not None:
            # only its own signature on it convinces the operator that there is a document to overtake
            answer["inForce"] = orjson.loads(accepted.envelope)
        if status is HTTPStatus.CONFLICT:
            answer["leader"] = self._supervisor.leader.shown
        return _json(answer, status)


def _seconds(text: str) -> float:
    """Reads a query parameter; raises HTTPBadRequest."""
    if not text.isascii() or not text.isdecimal() or len(text) > 4:
        raise web.HTTPBadRequest(text=f"wait={text[:32]!r} is no whole number of seconds\n")
    return float(text)


def _json(told: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=orjson.dumps(told), status=status, content_type="application/json")


async def _body(request: web.Request, most_bytes: int) -> bytes:
    """Reads the body; raises HTTPRequestEntityTooLarge.

    What was read of a request that ends early is freed at once: its frame lives until the garbage collector comes by.
    """
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > most_bytes:
                raise web.HTTPRequestEntityTooLarge(most_bytes, len(body))
    except BaseException:
        body.clear()
        raise
    return bytes(body)


class AdminPort:
    """The open port."""

    def __init__(self, supervisor: Supervisor, settings: Settings) -> None:
        self._connections = AdminConnections(
            most=settings.admin_max_connections, request_seconds=settings.admin_request_seconds
        )
        self._address = (settings.admin_host, settings.admin_port)
        # a compressed envelope would unpack to more than its sender paid for
        self._runner = web.AppRunner(
            Admin(supervisor, self._connections).application(),
            access_log=None,
            auto_decompress=False,
            lingering_time=settings.admin_request_seconds,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Opens the port; raises SystemExit if that is not possible."""
        await self._runner.setup()
        serve = self._runner.server
        assert serve is not None
        host, port = self._address
        try:
            listener = listening_socket(host, port)
        except OSError as error:
            raise SystemExit(f"relay: RELAY_ADMIN_PORT {port}: {error.strerror}") from error
        self.port = listener.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(
            self._connections.protocol(serve), sock=listener
        )

    async def close(self) -> None:
        """Closes the port and its connections."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
