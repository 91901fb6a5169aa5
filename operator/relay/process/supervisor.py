"""The parent process: takes documents, keeps workers alive, and answers for them on the admin port.

Workers are forked, so that what all of them import is in memory once: a tenant's relay costs one set of libraries however
many processes it has. The supervisor therefore starts no thread, and each worker owns a listening socket that the
supervisor keeps open: a crash loses the calls under way and none that wait to be accepted.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from typing import Any, Final

from relay.accounting.logs import Log
from relay.accounting.metric_catalogue import Labels
from relay.accounting.metric_report import Report, merge, received, without_gauges
from relay.process.document_acceptance import NOBODY, Acceptance, Accepted, Leader
from relay.process.document_files import DocumentMount, LeaderFile, StateFile
from relay.process.forking import become_worker
from relay.process.isolation_probe import IsolationProbe
from relay.process.money.lease_round import LeaseRound
from relay.process.money.pod_money import PodMoney
from relay.process.pod_state.call_memory import PodCallMemory
from relay.process.pod_state.open_breakers import OpenBreakers
from relay.process.pod_state.preflights import PodPreflights
from relay.process.pod_state.quota_use import PodQuotaUse
from relay.process.provider_probing import ProviderProbing, stamps_of
from relay.process.shipping.shipping import Shipping
from relay.process.traffic.client_certificate import CertificateMount
from relay.process.traffic.traffic_port import CLOSED, Serving, mode_of
from relay.process.worker import run_worker
from relay.process.worker_channel import Message, WorkerChannel
from relay.settings import Settings
from relay_contract.document import Acknowledgement, ServedCertificate
from relay_contract.provider_probe import PROBE_SECONDS, STREAM_PROBE_SECONDS
from relay_contract.seal import DocumentRejected

ACKNOWLEDGE_SECONDS: Final = 5.0
"""Longest a push waits for every worker; compiling the largest document takes tens of milliseconds."""
ANSWER_SECONDS: Final = 2.0
"""Longest the supervisor waits for a worker's answer; a scrape then shows its last known counts."""
RESTART_SECONDS: Final = (0.1, 5.0)
"""First and longest pause before a worker that keeps crashing is started again; the first crash costs none."""
STUCK_SECONDS: Final = 30.0
"""A worker that does not answer for this long, though asked every second or so, is stuck: the kubelet may restart us."""
LEDGER_SECONDS: Final = 5.0
"""More than a worker waits for the ledger."""
STABLE_SECONDS: Final = 30.0
"""A worker that lived this long starts the pauses anew."""


class NotProgrammed(Exception):
    """Not every worker runs the document yet; the message says how many do."""


class WorkerHandle:
    """A worker as the supervisor sees it."""

    def __init__(self, number: int, pid: int, listener: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.listener = listener
        self.started_at = self.heard_at = time.monotonic()
        self.channel: WorkerChannel | None = None
        self.had_last_call = False
        self.serving = ""
        self.digest = ""
        self.generation = 0
        self.report: Report = {}
        self.questions: dict[int, asyncio.Future[Message]] = {}


class Supervisor:
    """One per pod."""

    def __init__(
        self, settings: Settings, acceptance: Acceptance, listeners: list[socket.socket], log: Log
    ) -> None:
        self._settings = settings
        self._acceptance = acceptance
        self._listeners = listeners
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._workers: dict[int, WorkerHandle] = {}
        self._state = StateFile(settings.state_directory)
        self._leader_file = LeaderFile(settings.state_directory)
        self._mount = DocumentMount(settings.document_path)
        self._certificate = CertificateMount(
            settings.tls_directory, settings.kept_tls_directory, log
        )
        self._changed = asyncio.Event()
        self._pushes = asyncio.Lock()
        self._retired: Report = {}
        self._question = 0
        self._crashes = dict.fromkeys(range(len(listeners)), 0)
        self.accepted: Accepted | None = None
        self.leader = NOBODY
        self.rejection: DocumentRejected | None = None
        self.open_breakers = OpenBreakers()
        self.preflights = PodPreflights()
        self.quota_use = PodQuotaUse()
        self._call_memory = PodCallMemory(self._tell)
        self.provider_probing = ProviderProbing(
            self._ask_probe,
            lambda: (
                self.accepted.digest if self.accepted else "",
                stamps_of(settings.upstream_keys_directory),
            ),
        )
        self.isolation = IsolationProbe(acceptance, lambda: self.unready_reason() is None)
        self.shipping = Shipping(settings, log)
        self.draining = False
        money = PodMoney(settings.pod_name or socket.gethostname(), settings.workers)
        self.leases = LeaseRound(
            money,
            ask=self._ask_ledger,
            tell=self._tell,
            workers=self._connected,
            wanted=self._has_limits,
            releases=self._releases_money,
            log=log,
        )
        self.workers_gone = asyncio.Event()

    # -- money -----------------------------------------------------------------------------------------------------

    def _has_limits(self) -> bool:
        spending = self.accepted.document.tenant.spending if self.accepted else None
        return spending is not None and bool(spending.limits)

    def _releases_money(self) -> bool:
        """Returns whether no new calls come any more, so that the ledger may have back what is free."""
        return self.draining and all(one.had_last_call for one in self._workers.values())

    async def _ask_ledger(self, body: str) -> Message:
        """Has one worker ask the ledger; empty without an answer."""
        for number in self._connected():
            return await self._ask(
                self._workers[number], "lease", seconds=LEDGER_SECONDS, body=body
            )
        return {}

    def _connected(self) -> list[int]:
        return [one.number for one in self._workers.values() if one.channel is not None]

    def _tell(self, number: int, kind: str, **fields: Any) -> None:
        worker = self._workers.get(number)
        if worker is not None and worker.channel is not None:
            worker.channel.send(kind, **fields)

    # -- documents -------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Accepts the newest document of those kept and mounted, if one is acceptable, and starts the workers."""
        self._remember_leader()
        candidates = (self._state.read(), self._mount.read())
        envelopes = [envelope for envelope in candidates if envelope is not None]
        self.accepted = self._acceptance.newest(envelopes, latest=self.leader)
        if self.accepted is None and envelopes:
            await self._offer_quietly(envelopes[-1])
        elif self.accepted is not None:
            self._meet_composer(self.accepted)
            self.preflights.follow(self.accepted.document, self.accepted.digest)
            kept = self.accepted.envelope == candidates[0]
            self._log_in_force(self.accepted, "state" if kept else "mount")
        self._certificate.look()
        for number in range(len(self._listeners)):
            self._fork(number)
        self.shipping.start()

    def _remember_leader(self) -> None:
        with contextlib.suppress(DocumentRejected):
            self.leader = self._acceptance.leader(self._leader_file.read())

    def _meet(self, shown: str) -> Leader:
        """Takes in who pushes, before what it pushes; raises DocumentRejected."""
        leader = self._acceptance.leader(shown)
        if leader.epoch > self.leader.epoch:
            self.leader = leader
            self._log.event("info", "leader", epoch=leader.epoch)
            try:
                self._leader_file.write(shown)
            except OSError as error:
                # only after a restart a former leader could be heard
                self._log.event("error", "leader_not_kept", message=str(error))
        return leader

    def _meet_composer(self, accepted: Accepted) -> None:
        """Takes in who composed a document: that one has led, whoever brought it."""
        if accepted.document.epoch > self.leader.epoch:
            self.leader = Leader(accepted.document.epoch)

    async def offer(self, envelope: bytes, *, source: str, shown: str = "") -> Acknowledgement:
        """Puts the document in force in every worker; source says in the log where it came from, shown is what the leader that
        pushes it shows of itself.

        Raises DocumentRejected, or NotProgrammed when the workers did not follow in time (they still will).
        """
        async with self._pushes:
            try:
                accepted = self._acceptance.judge(
                    envelope, self.accepted, brought_by=self._meet(shown), latest=self.leader
                )
            except DocumentRejected as error:
                self.rejection = error
                if source == "push" and error.code == "stale_epoch":
                    # a former leader that goes on: nobody but we see that it does
                    self._log_rejection("warning", error, source)
                raise
            self.rejection = None
            fresh = accepted is not self.accepted
            if fresh:
                self.accepted = accepted
                self._meet_composer(accepted)
                self.preflights.follow(accepted.document, accepted.digest)
                self._certificate.look()
                for worker in self._workers.values():
                    # before the document: no call is taken without TLS under one that asks for it
                    self._send_serving(worker)
                    self._send_document(worker)
                self._keep(accepted)
            acknowledgement = await self._programmed(accepted)
            if fresh:
                self._log_in_force(accepted, source)
            return acknowledgement

    def _log_in_force(self, accepted: Accepted, source: str) -> None:
        self._log.event(
            "info",
            "document_in_force",
            generation=accepted.generation,
            digest=accepted.digest,
            epoch=accepted.document.epoch,
            source=source,
        )

    async def poll(self) -> None:
        """Runs forever: offers the mounted document whenever it changes, and takes in a changed certificate."""
        while True:
            await asyncio.sleep(self._settings.document_poll_seconds)
            if self._mount.changed():
                envelope = self._mount.read()
                if envelope is not None:
                    await self._offer_quietly(envelope)
            self._log.tick(time.monotonic())
            # what a worker counted since the last look is lost if it crashes
            await self.metrics()
            self._look_at_certificate()

    def _look_at_certificate(self) -> None:
        if self._certificate.look():
            for worker in self._workers.values():
                self._send_serving(worker)

    async def _offer_quietly(self, envelope: bytes) -> None:
        try:
            await self.offer(envelope, source="mount")
        except DocumentRejected as error:
            # the mount usually lags behind pushes, so an older file is expected
            level = "debug" if error.code in ("stale_generation", "stale_epoch") else "error"
            self._log_rejection(level, error, "mount")
        except NotProgrammed as error:
            self._log.event("error", "document_not_programmed", message=str(error))

    def _log_rejection(self, level: str, error: DocumentRejected, source: str) -> None:
        # whoever has an old document can send it again and again
        self._log.repeated(
            level,
            "document_rejected",
            by=("code", "source"),
            code=error.code,
            source=source,
            message=str(error),
        )

    def _keep(self, accepted: Accepted) -> None:
        try:
            self._state.write(accepted.envelope)
        except OSError as error:
            # serving on without the copy is right: only a restart before the mount follows would notice
            self._log.event("error", "document_not_kept", message=str(error))

    async def _programmed(self, accepted: Accepted) -> Acknowledgement:
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                while not self._all_run(accepted.digest):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            running = sum(worker.digest == accepted.digest for worker in self._workers.values())
            raise NotProgrammed(
                f"{running} of {self._settings.workers} workers run generation {accepted.generation}"
            ) from None
        return await self.acknowledged()

    def _all_run(self, digest: str) -> bool:
        workers, wanted = self._workers.values(), self._serving().name
        return len(workers) == self._settings.workers and all(
            worker.digest == digest and mode_of(worker.serving) == mode_of(wanted)
            for worker in workers
        )

    def _serving(self) -> Serving:
        """Returns what the traffic port is to serve, as far as is known."""
        return self._certificate.serving(self.accepted.document if self.accepted else None)

    def _served_certificate(self) -> ServedCertificate | None:
        return self._certificate.report(
            self._serving(), [worker.serving for worker in self._workers.values()]
        )

    def acknowledgement(self) -> Acknowledgement:
        """Returns what every worker runs; generation 0 while they do not agree on one."""
        accepted, tls = self.accepted, self._served_certificate()
        if accepted is not None and self._all_run(accepted.digest):
            return Acknowledgement(
                digest=accepted.digest,
                generation=accepted.generation,
                workers=self._settings.workers,
                tls=tls,
            )
        running = [worker for worker in self._workers.values() if worker.digest]
        digests = {worker.digest for worker in running}
        if len(running) == self._settings.workers and len(digests) == 1:
            return Acknowledgement(
                digest=running[0].digest,
                generation=running[0].generation,
                workers=len(running),
                tls=tls,
            )
        return Acknowledgement(digest="", generation=0, workers=0, tls=tls)

    async def acknowledged(self) -> Acknowledgement:
        """Returns `acknowledgement` with the providers that a worker has no key for; all files are re-read first."""
        self._look_at_certificate()
        answers = await asyncio.gather(
            *(self._ask(worker, "keys") for worker in self._workers.values())
        )
        missing = {name for answer in answers for name in answer.get("missing", ())}
        return self.acknowledgement().model_copy(update={"missing_keys": tuple(sorted(missing))})

    def unready_reason(self) -> str | None:
        """Says why this pod should get no traffic; None when it may."""
        if self.draining:
            return "draining: the relay is shutting down"
        if self.accepted is None:
            if self.rejection is not None:
                return f"no valid document: {self.rejection.code}: {self.rejection}"
            return f"no document: nothing was pushed and {self._settings.document_path} has none"
        wanted = self._serving().name
        if wanted == CLOSED:
            return f"no certificate to serve callers with: {self._certificate.problem}"
        ready = [
            worker
            for worker in self._workers.values()
            if worker.digest and mode_of(worker.serving) == mode_of(wanted)
        ]
        if len(ready) < self._settings.workers:
            return f"{len(ready)} of {self._settings.workers} workers are ready"
        return None

    def stuck_workers(self) -> list[int]:
        """Returns the numbers of the workers that no longer answer."""
        now = time.monotonic()
        workers = self._workers.values()
        return [worker.number for worker in workers if now - worker.heard_at > STUCK_SECONDS]

    # -- metrics ---------------------------------------------------------------------------------------------------

    async def metrics(self) -> dict[str, dict[Labels, object]]:
        """Merges the counts of all workers, those that have ended included."""
        reports = await asyncio.gather(*(self._report(w) for w in self._workers.values()))
        return merge([self._retired, *reports, *self.shipping.reports])

    async def _report(self, worker: WorkerHandle) -> Report:
        answer = await self._ask(worker, "metrics")
        if answer:
            worker.report = received(answer["report"])
        return worker.report

    async def _ask_probe(self, provider: str, stream: str) -> object:
        """Has one worker ask a provider for its models, or a model of it for a stream; None without an answer."""
        seconds = STREAM_PROBE_SECONDS if stream else PROBE_SECONDS
        for worker in self._workers.values():
            if worker.channel is not None:
                answer = await self._ask(
                    worker,
                    "provider_probe",
                    seconds=seconds + ANSWER_SECONDS,
                    provider=provider,
                    stream=stream,
                )
                return answer.get("probe")
        return None

    async def _ask(
        self, worker: WorkerHandle, kind: str, *, seconds: float = ANSWER_SECONDS, **fields: str
    ) -> Message:
        """Asks a worker; the answer is empty when it gives none in time."""
        if worker.channel is None:
            return {}
        self._question += 1
        number = self._question
        answer: asyncio.Future[Message] = self._loop.create_future()
        worker.questions[number] = answer
        worker.channel.send(kind, id=number, **fields)
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            worker.questions.pop(number, None)
            return {}

    # -- workers ---------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Lets workers finish what they have and end; no new ones are started."""
        if self.draining:
            return
        self.draining = True
        self.open_breakers.end()
        self.preflights.end()
        self.quota_use.end()
        self._log.event("info", "draining", seconds=self._settings.drain_seconds)
        for worker in self._workers.values():
            # our copy would keep the port open after the worker's own is closed
            worker.listener.close()
        self._tell_all("drain")
        if not self._workers:
            self.workers_gone.set()

    def reap(self) -> None:
        """Replaces workers that have ended."""
        self.shipping.reap()
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def kill(self) -> None:
        """Ends the workers that are left at once."""
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGKILL)

    def _ended(self, worker: WorkerHandle, code: int) -> None:
        if worker.channel is not None:
            # later it would be taken for what the next worker of this number says
            worker.channel.take_rest()
        del self._workers[worker.number]
        self.open_breakers.forget(worker.number)
        self.quota_use.forget(worker.number)
        self.leases.ended(worker.number)
        self._call_memory.ended(worker.number)
        for other in self._connected():
            gone = {"what": "gone", "call": "", "said": []}
            self._tell_of_call(worker.number, other, gone)
        merged = merge([self._retired, without_gauges(worker.report)])
        self._retired = {name: list(series.items()) for name, series in merged.items()}
        for future in worker.questions.values():
            if not future.done():
                future.set_result({})
        worker.report = {}
        self._changed.set()
        self._give_preflight_duty()
        if self.draining:
            if not self._workers:
                self.workers_gone.set()
            return
        lived = time.monotonic() - worker.started_at
        crashes = 0 if lived > STABLE_SECONDS else self._crashes[worker.number] + 1
        self._crashes[worker.number] = crashes
        first, longest = RESTART_SECONDS
        pause = min(longest, first * 2 ** min(crashes, 16)) if crashes > 1 else 0.0
        self._log.event("error", "worker_ended", number=worker.number, code=code, again_in=pause)
        self._loop.call_later(pause, self._fork, worker.number)

    def _fork(self, number: int) -> None:
        if self.draining:
            return
        ours, theirs = socket.socketpair()
        listener, counters = self._listeners[number], self.leases.money.counters
        # the collector then leaves these objects alone, and their pages stay shared
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            ours.close()
            become_worker(
                lambda: run_worker(self._settings, listener, theirs, number, counters),
                keep={0, 1, 2, listener.fileno(), theirs.fileno()},
            )
        gc.unfreeze()
        theirs.close()
        handle = WorkerHandle(number, pid, listener)
        self._workers[number] = handle
        self._loop.create_task(self._connect(handle, ours))

    async def _connect(self, worker: WorkerHandle, control: socket.socket) -> None:
        channel = WorkerChannel(lambda message: self._received(worker, message), lambda: None)
        await self._loop.create_connection(lambda: channel, sock=control)
        if self._workers.get(worker.number) is not worker:
            channel.close()
            return
        worker.channel = channel
        self._send_serving(worker)
        self._send_document(worker)
        self._give_preflight_duty()
        if self.draining:
            channel.send("drain")

    def _send_serving(self, worker: WorkerHandle) -> None:
        if worker.channel is not None:
            wanted = self._serving()
            worker.channel.send(
                "serve", name=wanted.name, certificate=wanted.certificate, key=wanted.key
            )

    def _send_document(self, worker: WorkerHandle) -> None:
        if worker.channel is not None and self.accepted is not None:
            worker.channel.send(
                "document", digest=self.accepted.digest, payload=self.accepted.payload
            )

    def _give_preflight_duty(self) -> None:
        """Lets one worker probe canaries; a worker that is new, or that had no duty, has none."""
        if self.draining or not self.preflights.give_duty(self._connected()):
            return
        worker = self._workers[self.preflights.worker or 0]
        if worker.channel is not None:
            worker.channel.send("preflight_duty", on=True, passed=self.preflights.passed())

    def _tell_all(self, kind: str) -> None:
        for worker in self._workers.values():
            if worker.channel is not None:
                worker.channel.send(kind)

    def _tell_of_call(self, by: int, to: int, message: Message) -> None:
        """Passes on what one worker tells another of a call whose stream goes on."""
        said = {name: message[name] for name in ("what", "call", "said")}
        self._tell(to, "kept_call", by=by, **said)

    def _tell_others(self, worker: WorkerHandle, tripped: Message) -> None:
        fields = {name: tripped[name] for name in ("tenant_uid", "route", "fingerprint")}
        for other in self._workers.values():
            if other is not worker and other.channel is not None:
                other.channel.send("tripped", **fields)

    def _received(self, worker: WorkerHandle, message: Message) -> None:
        if self._workers.get(worker.number) is not worker:
            return
        worker.heard_at = time.monotonic()
        match message["kind"]:
            case "listening":
                worker.serving = message["name"]
            case "in_force":
                worker.digest = message["digest"]
                worker.generation = message["generation"]
            case "last_call":
                worker.had_last_call = True
            case "metrics" | "keys" | "provider_probe" | "lease":
                future = worker.questions.pop(message["id"], None)
                if future is not None and not future.done():
                    future.set_result(message)
            case _:
                self._take_in(worker, message)
        self._changed.set()

    def _take_in(self, worker: WorkerHandle, message: Message) -> None:
        """Takes in what a worker tells of what goes on in it."""
        match message["kind"]:
            case "breakers":
                breakers = {(uid, route, of): n for uid, route, of, n in message["open"]}
                self.open_breakers.report(worker.number, breakers)
            case "quota_use":
                self.quota_use.report(worker.number, message["rows"])
            case "preflights":
                self.preflights.report(worker.number, message["digest"], message["rows"])
            case "tripped":
                self._tell_others(worker, message)
            case "tool_claim" | "tool_ended" | "tool_left":
                self._call_memory.take_in(worker.number, message)
            case "kept_call":
                self._tell_of_call(worker.number, message["to"], message)
            case "money_short" | "money_returned":
                self.leases.take_in(worker.number, message)
