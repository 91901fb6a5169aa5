"""A worker process: one event loop, one listening socket, every call from its first byte to its last."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from typing import Any, Final

import uvloop

from relay.accounting.logs import WorkerLog
from relay.budgets.purse import Purse
from relay.calls.call_service import CallService
from relay.calls.preflight.preflights import PreflightRow
from relay.process.allocator import keep_freed_memory
from relay.process.drain import Drain
from relay.process.money.lease_client import lease_client
from relay.process.money.worker_money import WorkerMoney
from relay.process.traffic.traffic_port import Serving, TrafficPort
from relay.process.worker_channel import Message, WorkerChannel
from relay.routing.snapshot import SnapshotRejected, compile_snapshot
from relay.settings import Settings
from relay_contract.document import Document
from relay_contract.log_lines.library_log import take_over_library_logs
from relay_contract.provider_probe import PROBE_SECONDS, STREAM_PROBE_SECONDS, ProviderProbe
from relay_contract.quota_use import QuotaLevel

TICK_SECONDS: Final = 1.0
GC_THRESHOLD: Final = 50_000
"""Calls make no cycles; a young collection this rare costs nothing and still catches what libraries leave."""


class Worker:
    """The service with its loop, its socket and its supervisor."""

    def __init__(
        self, settings: Settings, listener: socket.socket, number: int, counters: Any
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self.log = WorkerLog(
            level=settings.log_level,
            pod=settings.pod_name,
            process=f"worker-{number}",
            usage=settings.usage_log,
            loop=self._loop,
        )
        take_over_library_logs(self.log.repeated)
        purse = Purse(counters, number)
        self.service = CallService(settings, self.log, purse)
        self._loop.set_exception_handler(self._unhandled)
        self._channel = WorkerChannel(self._received, self._supervisor_gone)
        self.service.call_memory.send = self._channel.send
        self.service.kept_calls.begin(number, settings.workers, self._channel.send)
        self._port = TrafficPort(
            listener,
            self.service.connections,
            handshake_seconds=settings.header_timeout_seconds,
        )
        self._money = WorkerMoney(purse, lease_client(settings), self._channel.send)
        self._serving: set[asyncio.Task[None]] = set()
        self._drain: Drain | None = None
        self._told_last_call = False
        self.service.preflights.watcher = self._report_preflights
        self._told_preflights: list[PreflightRow] = []
        self._digest = ""
        self._told_breakers: list[tuple[str, str, str, int]] = []
        self._told_use: list[tuple[str, QuotaLevel]] = []
        self.ended = asyncio.Event()

    async def serve(self, control: socket.socket) -> None:
        """Serves until drained, or until the supervisor is gone."""
        await self._loop.create_connection(lambda: self._channel, sock=control)
        self._tick()
        await self.ended.wait()
        await self._money.close()
        self.service.stop()
        self.log.close()

    def _tick(self) -> None:
        self._loop.call_later(TICK_SECONDS, self._tick)
        self.service.tick()
        self._report_trips()
        self._report_quota_use()
        self._money.tick()
        if self._drain is not None:
            self._advance(self._drain, time.monotonic())

    def _advance(self, drain: Drain, now: float) -> None:
        drain.advance(now)
        if not self._told_last_call and not drain.takes_calls(now):
            self._told_last_call = True
            self._channel.send("last_call")
        if drain.over:
            self.ended.set()

    def _report_trips(self) -> None:
        breakers = self.service.open_breakers()
        if breakers != self._told_breakers:
            self._told_breakers = breakers
            self._channel.send("breakers", open=breakers)
        for tenant_uid, route, fingerprint in self.service.take_trips():
            self._channel.send(
                "tripped", tenant_uid=tenant_uid, route=route, fingerprint=fingerprint
            )

    def _report_quota_use(self) -> None:
        use = self.service.quota_use()
        if use != self._told_use:
            self._told_use = use
            self._channel.send("quota_use", rows=use)

    def _report_preflights(self) -> None:
        rows = self.service.preflights.rows()
        if rows != self._told_preflights:
            self._told_preflights = rows
            self._channel.send("preflights", digest=self._digest, rows=rows)

    # -- messages --------------------------------------------------------------------------------------------------

    def _received(self, message: Message) -> None:
        match message["kind"]:
            case "document":
                self._install(message["digest"], message["payload"])
            case "metrics":
                self._channel.send("metrics", id=message["id"], report=self.service.report())
            case "keys":
                missing = self.service.missing_keys()
                self._channel.send("keys", id=message["id"], missing=missing)
            case "provider_probe" | "preflight_duty":
                self._probe(message)
            case "tripped" | "tool_verdict" | "kept_call":
                self._take_in(message)
            case "serve":
                self._serve(Serving(message["name"], message["certificate"], message["key"]))
            case "drain":
                self._begin_drain()
            case _:
                self._money.take_in(message)

    def _take_in(self, message: Message) -> None:
        """Takes in what the other workers' calls have come to."""
        if message["kind"] == "tool_verdict":
            self.service.call_memory.take_in(message)
        elif message["kind"] == "kept_call":
            self.service.kept_calls.take_in(message)
        else:
            self.service.follow_trip(
                message["tenant_uid"], message["route"], message["fingerprint"]
            )

    def _install(self, digest: str, payload: str) -> None:
        try:
            snapshot = compile_snapshot(Document.model_validate_json(payload), digest)
        except (ValueError, SnapshotRejected) as error:
            # the supervisor checked the same payload; a difference is a fault of this program
            self.log.event("error", "document_refused", digest=digest, message=str(error))
            self._channel.send("refused", digest=digest, message=str(error))
            return
        # what was told of a former document is told anew
        self._digest, self._told_preflights = digest, []
        self.service.install(snapshot)
        # whoever is told that this document is in force is told nothing of breakers that stood under a former one
        self._report_trips()
        self._channel.send("in_force", digest=digest, generation=snapshot.document.generation)

    def _probe(self, message: Message) -> None:
        if message["kind"] == "provider_probe":
            self._probe_provider(message["id"], message["provider"], message["stream"])
            return
        passed = [(uid, route, token) for uid, route, token in message["passed"]]
        # whoever has it tells of all, also of what it told before
        self._told_preflights = []
        self.service.preflights.take_duty(on_duty=message["on"], passed=passed)

    def _probe_provider(self, number: int, provider: str, stream: str) -> None:
        def done(found: ProviderProbe) -> None:
            self._channel.send(
                "provider_probe", id=number, probe=found.model_dump(mode="json", by_alias=True)
            )

        if stream:
            streams = self.service.probe_stream(provider, stream, done)
            if streams is not None:
                self._loop.call_later(STREAM_PROBE_SECONDS, streams.give_up)
            return
        probe = self.service.probe_provider(provider, done)
        if probe is not None:
            self._loop.call_later(PROBE_SECONDS, probe.give_up)

    def _serve(self, wanted: Serving) -> None:
        self._port.want(wanted)
        task = self._loop.create_task(self._follow())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _follow(self) -> None:
        served = await self._port.follow()
        self._channel.send("listening", name=served)

    def _begin_drain(self) -> None:
        if self._drain is None:
            self.service.connections.drain()
            self.service.preflights.stop()
            self._drain = Drain(
                self.service.connections,
                self._port,
                drained_answers=self.service.drained_answers,
                now=time.monotonic(),
                accept_seconds=self._settings.drain_accept_seconds,
                drain_seconds=self._settings.drain_seconds,
            )

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Logs in one line what the event loop caught; its own handler writes whole tracebacks."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.service.exceptions.note(error)
        else:
            self.log.event("error", "event_loop", message=str(context.get("message", ""))[:200])

    def _supervisor_gone(self) -> None:
        self.ended.set()


def run_worker(
    settings: Settings, listener: socket.socket, control: socket.socket, number: int, counters: Any
) -> int:
    """Runs a worker in this fresh process until it ends; returns the exit code."""
    # the supervisor decides when workers end: a signal to the whole group must not race it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    keep_freed_memory()

    async def life() -> None:
        await Worker(settings, listener, number, counters).serve(control)

    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(life())
    return os.EX_OK
