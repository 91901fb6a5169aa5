"""Takeovers of the lead on a real cluster, measured from the moment at which the leader ends."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from bench.rollback import objects, story
from bench.rollback.scene import PERIOD_SECONDS, Scene
from bench.tenants.api_client import CUSTOM, ApiClient
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed
from tests.e2e import leaders

PODS: Final = (1,)
_ROUTES: Final = {1: ["gap-1", "gap-2", "gap-3"]}
_TENANT: Final = f"{CUSTOM}/tenants/{objects.tenant(1)}"
_LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{stage.OPERATOR_NAMESPACE}/leases/relay-operator-leader"
_OPERATORS: Final = f"/api/v1/namespaces/{stage.OPERATOR_NAMESPACE}/pods"
_SELECTOR: Final = "app.kubernetes.io/name=relay-operator"
_READY_SECONDS: Final = 120.0
_LONGEST_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_REPLICAS: Final = 2


class Way(StrEnum):
    """Names how the leader ends; the breach becomes visible a moment later, while nobody leads."""

    KILLED = "killed"
    ENDED = "ended"

    @property
    def before_breach_seconds(self) -> float:
        """Returns how long before the breach is visible the leader ends: within what nobody leads for."""
        return 2.0 if self is Way.KILLED else 0.3


@dataclass(frozen=True, slots=True)
class Run:
    """One takeover: seconds since the former leader's end, and from a visible breach to the end of the canaries' weight."""

    led: float
    acted: float
    rolled_back: float


class Takeovers:
    """Ends leaders, one after the other."""

    def __init__(self, cluster: Cluster, scene: Scene, api: ApiClient) -> None:
        self._cluster, self._scene, self._api = cluster, scene, api
        self._depth = 1

    async def prepare(self) -> None:
        """Waits for both operators, and for the Tenant's document."""
        await self._both_run()
        await self._until("the document", self._programmed, bool, _READY_SECONDS)

    async def measure(self, way: Way) -> Run:
        """Ends the leader in a moment at which canaries turn bad, and measures the next one."""
        await asyncio.to_thread(self._scene.bring_up, _ROUTES)
        await self._both_run()
        before = await self._until("the document", self._programmed, bool, _READY_SECONDS)
        former = await self._holder()
        ends = await self._prepared_end(way, leaders.pod_of(former))
        turning = asyncio.create_task(
            asyncio.to_thread(self._scene.turn_bad, _ROUTES, scrapes_apart=0)
        )
        proof, *_ = story.proving_step(PERIOD_SECONDS)
        # two scrapes before they turn bad, and so many until it is proved
        await asyncio.sleep((2 + proof) * PERIOD_SECONDS - way.before_breach_seconds)
        began = time.monotonic()
        await ends()
        self._depth += 1
        await self._api.merge(_TENANT, {"spec": {"queue": {"maxDepth": self._depth}}})
        await self._until(
            "another leader", self._holder, lambda seen: seen not in ("", former), _LONGEST_SECONDS
        )
        led = time.monotonic() - began
        await self._until(
            "the change in force", self._programmed, lambda seen: seen > before, _LONGEST_SECONDS
        )
        acted = time.monotonic() - began
        runs = await turning
        for one in runs:
            if one.problem:
                raise DemoFailed(f"{one.route}: {one.problem}")
        await self._remove(leaders.pod_of(former))
        return Run(led, acted, max(one.seconds for one in runs))

    async def _prepared_end(self, way: Way, pod: str) -> Callable[[], Any]:
        """Returns what ends a leader at once: looking for its process takes a moment."""
        if way is Way.ENDED:
            return lambda: self._remove(pod)
        number = await asyncio.to_thread(leaders.process, self._cluster, pod)

        async def kill() -> None:
            os.kill(number, signal.SIGKILL)

        return kill

    async def _remove(self, pod: str) -> None:
        # a container that is killed again and again would be restarted later each time
        await asyncio.to_thread(
            self._cluster.kubectl,
            *("delete", "pod", pod, "-n", leaders.NAMESPACE),
            *("--wait=false", "--ignore-not-found"),
        )

    async def _both_run(self) -> None:
        await self._until(
            "both operators",
            self._ready_operators,
            lambda seen: seen == [True] * _REPLICAS,
            _READY_SECONDS,
        )

    async def _ready_operators(self) -> list[bool]:
        found = await self._api.get(_OPERATORS, labelSelector=_SELECTOR)
        return [_is_ready(one) for one in found["items"]]

    async def _holder(self) -> str:
        lease = await self._api.get(_LEASE)
        return str(lease["spec"].get("holderIdentity", ""))

    async def _programmed(self) -> int:
        """Returns the generation of the Tenant's document that its relay pod runs; 0 while that lacks the newest."""
        tenant = await self._api.get(_TENANT)
        relay = tenant.get("status", {}).get("relay", {})
        is_everywhere = relay.get("acknowledged") == relay.get("replicas") == 1
        return int(relay.get("configGeneration", 0)) if is_everywhere else 0

    async def _until(
        self,
        what: str,
        look: Callable[[], Any],
        good: Callable[[Any], bool],
        seconds: float,
    ) -> Any:
        end = time.monotonic() + seconds
        while not good(seen := await look()):
            if time.monotonic() > end:
                raise DemoFailed(f"waited {seconds:.0f} s for {what}; last seen: {seen}")
            await asyncio.sleep(_POLL_SECONDS)
        return seen


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
