"""Relay pods that stand in at addresses of this machine and judge documents as relays do: what each was pushed, by which leader, and when."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web
from bench.rollback.responder import clock
from bench.tenants.stand_in import QUERY_PORT, AdminPort, StandIn, prometheus

from relay.process.admin import STATUSES
from relay.process.document_acceptance import NOBODY, Acceptance, Accepted, Leader
from relay_contract import endpoints
from relay_contract.seal import DocumentRejected

PODS: Final = 2
_SHUTDOWN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push to a pod. at is by a clock that nobody sets, number the leader's that pushed; refused is the relay's code, empty for one
    that was taken; depth and weights are of the document.
    """

    at: float
    address: str
    number: int
    refused: str
    depth: int
    weights: Mapping[str, int]


@dataclass(slots=True)
class _Begun:
    """A pod's judgement, what it has accepted, and the latest leader that it has met."""

    acceptance: Acceptance
    accepted: Accepted | None = None
    leader: Leader = NOBODY

    def refusal(self, envelope: bytes, shown: str) -> str:
        """Judges a push; returns the code of its refusal, empty if it is in force."""
        try:
            by = self.acceptance.leader(shown)
            self.leader = max(by, self.leader, key=lambda one: one.epoch)
            self.accepted = self.acceptance.judge(
                envelope, self.accepted, brought_by=by, latest=self.leader
            )
        except DocumentRejected as error:
            return error.code
        return ""


class Referee(StandIn):
    """All pods, and Prometheus beside them. addresses are those of the pods."""

    def __init__(self) -> None:
        super().__init__()
        # other tests may run on this machine
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"
        self.addresses = [f"{network}.{number + 1}" for number in range(PODS)]
        self.pushes: list[Pushed] = []
        self._pods_begun: dict[str, _Begun] = {}

    @property
    def prometheus_url(self) -> str:
        return f"http://{self.addresses[0]}:{QUERY_PORT}"

    def begin_pod(self, address: str, acceptance: Acceptance) -> None:
        """Lets a pod take documents by the relay's own judgement, with the key and for the Tenant that its Deployment names."""
        self._pods_begun[address] = _Begun(acceptance)

    def take(self, address: str, envelope: bytes, shown: str) -> tuple[int, dict[str, Any]]:
        refused = self._pods_begun[address].refusal(envelope, shown)
        if refused:
            status, answer = int(STATUSES[refused]), self._kept(address)
        else:
            status, answer = super().take(address, envelope, shown)
        tenant = orjson.loads(orjson.loads(envelope)["payload"])["tenant"]
        self.pushes.append(
            Pushed(
                at=clock(),
                address=address,
                number=int(shown.partition(" ")[0] or 0),
                refused=refused,
                depth=tenant["queue"]["maxDepth"],
                weights={one["name"]: one.get("canaryPercent", 0) for one in tenant["routes"]},
            )
        )
        return status, answer

    def _kept(self, address: str) -> dict[str, Any]:
        """Returns what a relay answers that keeps its document, with the proofs that an operator believes."""
        pod, begun = self.pod(address), self._pods_begun[address]
        proofs = {"inForce": orjson.loads(pod.envelope), "leader": begun.leader.shown}
        return pod.acknowledgement() | proofs

    def taken(self, address: str) -> list[Pushed]:
        """Returns the pushes that a pod has taken."""
        return [one for one in [*self.pushes] if one.address == address and not one.refused]

    def depth(self, address: str) -> int:
        """Returns the depth in the document that a pod has in force; 0 without one."""
        return next((one.depth for one in reversed(self.taken(address))), 0)

    def weights(self, address: str, route: str) -> list[tuple[int, float]]:
        """Returns the weights that a canary has had in a pod, one after the other, and since when."""
        found: list[tuple[int, float]] = []
        for one in self.taken(address):
            weight = one.weights.get(route, 0)
            if weight != (found[-1][0] if found else 0):
                found.append((weight, one.at))
        return found

    def in_force(self, address: str) -> bytes:
        """Returns the sealed document that a pod has in force."""
        return self.pod(address).envelope


@contextlib.contextmanager
def refereed() -> Iterator[Referee]:
    """Serves the pods and Prometheus, in a thread, until the end of the block."""
    referee = Referee()
    loop = asyncio.new_event_loop()
    runners = loop.run_until_complete(_serve(referee))
    thread = threading.Thread(target=loop.run_forever, name="referee")
    thread.start()
    try:
        yield referee
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(_end(runners))
        loop.close()


async def _serve(referee: Referee) -> list[web.AppRunner]:
    admin, queries = AdminPort(referee).app(), prometheus(referee)
    runners = []
    for app, addresses, port in (
        (admin, referee.addresses, endpoints.ADMIN_PORT),
        (queries, referee.addresses[:1], QUERY_PORT),
    ):
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        for address in addresses:
            await web.TCPSite(runner, address, port).start()
        runners.append(runner)
    return runners


async def _end(runners: list[web.AppRunner]) -> None:
    for runner in runners:
        await runner.cleanup()
    # questions that wait for news
    waiting = asyncio.all_tasks() - {asyncio.current_task()}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
