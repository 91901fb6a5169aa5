"""Hears from the relay pods of running canaries which breakers are open, as they open: no scrape and no Prometheus between.

A tenant can run anything behind a pod's address. What a pod tells concerns the canaries of its own tenant alone, and the
worst that it can do is to have its tenant's traffic go back to stable.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from relay_operator.cluster.relays import OpenBreakers, Pod, Relays
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import Unavailable
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 15
"""How long a pod holds its answer back while nothing changes."""
_PAUSE_SECONDS = 0.25
"""Between two questions to one pod, however fast it answers."""
_LONGEST_PAUSE_SECONDS = 30.0
_MOST_PODS_OF_A_TENANT = 64


class BreakerWatch:
    """Asks until cancelled. While no canary is measured it asks nobody."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        relays: Relays,
        moves: CanaryMoves,
        watched_state: WatchedState,
        tick_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._relays = relays
        self._moves = moves
        self._watched_state = watched_state
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._told: dict[str, OpenBreakers] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Looks at every tick which pods are to be asked; each is asked in a task of its own."""
        try:
            while True:
                self._ask_only({pod.uid: pod for pod in self._concerned()})
                await asyncio.sleep(self._tick_seconds)
        finally:
            self._ask_only({})

    def _measured(self) -> list[RouteKey]:
        return [key for key, run in self._canaries.runs.items() if run.is_measured]

    def _concerned(self) -> Iterable[Pod]:
        for namespace in {namespace for namespace, _ in self._measured()}:
            if self._watched_state.owns(namespace):
                yield from self._serving(namespace)[:_MOST_PODS_OF_A_TENANT]

    def _serving(self, namespace: str) -> list[Pod]:
        pods = self._watched_state.relay_pods(namespace)
        return [pod for pod in pods if pod.ready and not pod.terminating]

    def _ask_only(self, pods: dict[str, Pod]) -> None:
        for gone in self._asking.keys() - pods.keys():
            self._asking.pop(gone).cancel()
            self._told.pop(gone, None)
        for new in pods.keys() - self._asking.keys():
            self._asking[new] = asyncio.create_task(self._ask(pods[new]))

    async def _ask(self, pod: Pod) -> None:
        pause = _PAUSE_SECONDS
        while True:
            seen = self._told.get(pod.uid)
            try:
                told = await self._relays.breakers(
                    pod, seen=seen.tag if seen else "", wait_seconds=_WAIT_SECONDS
                )
            except Unavailable as error:
                # a relay of an older version does not know the path, so this is no news
                logger.debug("breakers not heard of", extra={"why": str(error)})
                self._told.pop(pod.uid, None)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._told[pod.uid] = told
                pause = _PAUSE_SECONDS
                self._judge(pod.namespace)
            await asyncio.sleep(pause)

    def _judge(self, namespace: str) -> None:
        serving = [pod.uid for pod in self._serving(namespace)]
        told = [self._told[uid] for uid in serving if uid in self._told]
        for key in [one for one in self._measured() if one[0] == namespace]:
            canary = (key[1], self._canaries.runs[key].plan.fingerprint)
            certain = sum(one.failed_probes.get(canary, 0) > 0 for one in told)
            if self._canaries.trip(
                key, pods=certain, expected_pods=len(serving), now=self._clock()
            ):
                self._moves.act_alone(key, told_anew=True)
