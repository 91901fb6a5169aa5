"""The network between relay pods, the operator and what both may try to reach, in place of the operator's own connections."""

import asyncio
from dataclasses import dataclass, field

from tests.unit.relay_operator.relay_pods import RelayPods

from relay_contract.endpoints import TRAFFIC_PORT
from relay_contract.isolation_probe import (
    CONNECT_SECONDS,
    METADATA_ADDRESSES,
    Outcome,
    ProbeAnswer,
    Target,
    TargetKind,
)
from relay_operator.cluster.relays import Pod
from relay_operator.errors import Unavailable

OPERATOR_ADDRESS = "10.244.0.2"
API_SERVER = ("10.96.0.1", 443)


@dataclass(slots=True)
class Network:
    """What enforces policies, on all nodes or not on those in unenforced_on.

    leaks are the kinds of target that a pod reaches all the same, by its name; open_ports are pods whose traffic port everybody
    reaches. lies are what a pod says whatever is true, by its name. gone are kinds of target that nobody reaches; seconds is
    how long the operator takes to connect. asked are the pods in the order in which they were asked, at the time of the loop.
    """

    relays: RelayPods
    is_enforced: bool = True
    unenforced_on: set[str] = field(default_factory=set)
    leaks: dict[str, set[TargetKind]] = field(default_factory=dict)
    open_ports: set[str] = field(default_factory=set)
    lies: dict[str, Outcome] = field(default_factory=dict)
    gone: set[TargetKind] = field(default_factory=lambda: {TargetKind.METADATA})
    seconds: float = 0.01
    asked: list[tuple[str, float]] = field(default_factory=list)
    targets: list[tuple[Target, ...]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    _kinds: dict[tuple[str, int], TargetKind] = field(default_factory=dict)
    _pods: dict[str, Pod] = field(default_factory=dict)
    _arrived: set[str] = field(default_factory=set)

    async def ask(self, pod: Pod, tenant_uid: str, targets: tuple[Target, ...]) -> ProbeAnswer:
        self.asked.append((pod.name, asyncio.get_running_loop().time()))
        self.targets.append(targets)
        self._pods[pod.ip] = pod
        self._kinds |= {(one.address, one.port): one.kind for one in targets}
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(pod, targets)
        finally:
            self.at_once -= 1

    async def _answer(self, pod: Pod, targets: tuple[Target, ...]) -> ProbeAnswer:
        if pod.name in self.relays.silent:
            await asyncio.sleep(4.0)
            raise Unavailable("no answer within 4 s: nothing came in time")
        outcomes = [self._outcome(pod, target) for target in targets]
        is_late = Outcome.NO_ANSWER in outcomes
        await asyncio.sleep(CONNECT_SECONDS if is_late else self.seconds)
        if TargetKind.DECOY in {
            one.kind
            for one, outcome in zip(targets, outcomes, strict=True)
            if outcome is Outcome.CONNECTED
        }:
            self._arrived.add(pod.ip)
        else:
            self._arrived.discard(pod.ip)
        told = [self.lies.get(pod.name, outcome) for outcome in outcomes]
        return ProbeAnswer(outcomes=tuple(told), serving=True)

    def _outcome(self, pod: Pod, target: Target) -> Outcome:
        if target.kind in self.gone:
            return Outcome.NO_ANSWER
        is_let_out = not self._enforces(pod) or target.kind in self.leaks.get(pod.name, ())
        return Outcome.CONNECTED if is_let_out else Outcome.NO_ANSWER

    def _enforces(self, pod: Pod) -> bool:
        return self.is_enforced and pod.host_ip not in self.unenforced_on

    async def connect(self, address: str, port: int) -> tuple[Outcome, float]:
        await asyncio.sleep(self.seconds)
        is_metadata = address in METADATA_ADDRESSES and TargetKind.METADATA in self.gone
        if is_metadata or self._kinds.get((address, port)) in self.gone:
            return Outcome.NO_ANSWER, CONNECT_SECONDS
        pod = self._pods.get(address)
        if port == TRAFFIC_PORT and (pod is None or self._keeps_out(pod)):
            return Outcome.NO_ANSWER, CONNECT_SECONDS
        return Outcome.CONNECTED, self.seconds

    def _keeps_out(self, pod: Pod) -> bool:
        return self._enforces(pod) and pod.name not in self.open_ports

    def arrived_at_decoy(self, address: str) -> bool:
        return address in self._arrived
